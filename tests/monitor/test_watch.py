from pathlib import Path

import numpy as np

from truing.monitor.config import MonitorConfig
from truing.monitor.observer import Monitor, SignalRow
from truing.monitor.watch import WatchInputs, run
from truing.records import Alarm
from truing.store.artifacts import Store
from truing.store.files import read_records, write_records


def test_the_stage_leaves_what_the_monitor_saw(update_of, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    runs = [update_of(rng, u, pay_filler=0.6) for u in range(1, 6)]
    write_records(tmp_path / "rollouts.jsonl", [r for rows in runs for r in rows])
    monitor = Monitor(MonitorConfig())
    alarms = [alarm for update, rows in enumerate(runs, start=1) for alarm in monitor(update, rows)]
    artifact = run(MonitorConfig(), WatchInputs(tmp_path / "rollouts.jsonl", {"ppo": "abc"}), Store(tmp_path), "round-1/monitor")
    assert read_records(artifact.path / "signals.jsonl", SignalRow) == monitor.history
    assert read_records(artifact.path / "alarms.jsonl", Alarm) == alarms
    assert artifact.manifest.metrics["reward_length"] == monitor.history[-1].signals["reward_length"]
