"""Does the story of the quickstart hold over seeds, untuned?

    python -m benchmarks.quickstart_seeds --out DIR --seeds 0 1 2

Runs the shipped quickstart once a seed, one after the other, each in a process of its own, and prints a JSON line a seed and a
last line of what held for all. Gold is the embedded world's rule; raters are simulated.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

SMOOTHING = 7
"""Updates in the moving average in which gold's peak is sought."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    arguments = parser.parse_args()
    rows = [measure(seed, arguments.out / f"seed-{seed}") for seed in arguments.seeds]
    names = [name for name, value in rows[0].items() if isinstance(value, bool)]
    print(json.dumps({"seeds": len(rows), **{name: sum(row[name] for row in rows) for name in names}}))


def measure(seed: int, out: Path) -> dict[str, Any]:
    """One quickstart: its time, its memory, and whether each part of the story was seen."""
    began = time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "truing", "quickstart", "--out", str(out), "--set", f"run.seed={seed}", "--resume"],
        check=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    wall_s = time.perf_counter() - began
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    report = json.loads((out / "report.json").read_text())
    first, second = report["rounds"][0], report["rounds"][1]
    base = first["policies"]["base"]["gold"]
    sft, end_1, end_2 = first["sft"]["gold"], first["policy"]["gold"], second["policy"]["gold"]
    updates = [json.loads(line) for line in (out / "round-1" / "ppo" / "metrics.jsonl").read_text().splitlines()]
    gold, proxy = (smooth([row[name] for row in updates]) for name in ("gold", "proxy"))
    peak_update = max(range(len(gold)), key=gold.__getitem__) + 1
    first_alarm = min(alarm["update"] for alarm in first["alarms"])
    row = {
        "seed": seed,
        "wall_s": round(wall_s, 1),
        "largest_process_mb": round(peak / 2**20),
        "gold_base": base,
        "gold_sft": sft,
        "gold_round_1": end_1,
        "gold_round_2": end_2,
        "gold_peak_update": peak_update,
        "gold_peak": gold[peak_update - 1],
        "gold_last": gold[-1],
        "proxy_at_peak": proxy[peak_update - 1],
        "proxy_last": proxy[-1],
        "first_alarm_update": first_alarm,
        "reward_accuracy_share": [r["reward"]["accuracy"]["value"] / r["reward"]["noise_ceiling"] for r in (first, second)],
        "gates": [r["gate"]["decision"] for r in (first, second)],
        "sft_above_base": sft["low"] > base["high"],
        "gold_fell_while_proxy_rose": gold[-1] < gold[peak_update - 1] and proxy[-1] > proxy[peak_update - 1],
        "alarm_by_the_peak": first_alarm <= peak_update,
        "round_2_above_sft": end_2["low"] > sft["high"],
        "round_2_above_round_1": end_2["low"] > end_1["high"],
    }
    print(json.dumps(row), flush=True)
    return row


def smooth(values: list[float]) -> list[float]:
    """Centred moving average, shorter at the ends."""
    half = SMOOTHING // 2
    windows = [values[max(0, i - half) : i + half + 1] for i in range(len(values))]
    return [sum(window) / len(window) for window in windows]


if __name__ == "__main__":
    main()
