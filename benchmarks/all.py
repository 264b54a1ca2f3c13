"""Every work in turn: what `make bench` runs.

    python -m benchmarks.all [--quick]

Makes the peers' environments where they are missing, runs W1 to W6, and prints each one's last line and W7's. Exit code 1 where
one failed or its sides disagreed.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.environments import interpreter
from benchmarks.machine import ROOT
from benchmarks.paired.settings import RESULTS

WORKS = {"W1": "sft", "W2": "reward", "W3": "dpo", "W4": "grpo", "W5": "ppo", "W6": "generate"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a corner of the grid; results are not kept")
    quick = parser.parse_args().quick
    for peer in ("trl", "trl112", "vllm"):
        interpreter(peer)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) if quick else RESULTS
        options = ["--quick"] if quick else []
        codes = [_last_line([module, *options, "--out", str(folder / f"{work}.json")]) for work, module in WORKS.items()]
        written = [str(path) for work in WORKS if work != "W6" and (path := folder / f"{work}.json").exists()]
        codes.append(_last_line(["memory", *written]))
    sys.exit(max(codes))


def _last_line(arguments: list[str]) -> int:
    module, *rest = arguments
    done = subprocess.run(
        [sys.executable, "-m", f"benchmarks.{module}", *rest], check=False, cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    print(done.stdout.strip().splitlines()[-1] if done.stdout.strip() else f"benchmarks.{module}: failed", flush=True)
    return min(done.returncode, 1)


if __name__ == "__main__":
    main()
