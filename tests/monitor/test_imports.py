import subprocess
import sys

CODE = """
import sys
import truing.stats.correlation, truing.evals.config, truing.evals.evaluate, truing.evals.compare
import truing.monitor.observer, truing.monitor.reward_tests, truing.monitor.watch, truing.redteam.campaign
sys.exit("torch" in sys.modules or "transformers" in sys.modules)
"""


def test_the_monitor_and_the_red_team_need_no_torch() -> None:
    assert subprocess.run([sys.executable, "-c", CODE], check=False).returncode == 0
