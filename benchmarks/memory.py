"""W7: peak memory of W1 to W5 against the same peers, read from their results.

    python -m benchmarks.memory [RESULTS.json ...]

Each work measures it as it runs: a fresh process of either side loads the model, does the job once with the first number of
threads, and its largest resident set is taken (VmHWM), interpreter, libraries, model and optimiser included. Nothing is
subtracted; the same process's peak before the job is kept beside it. Prints a line a configuration; the last says the largest
ratio, and the smallest and largest of all.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.paired.settings import RESULTS

WORKS = ("W1", "W2", "W3", "W4", "W5")
FIGURE = 0.6


def _there() -> Iterator[Path]:
    """Results of the works that have some."""
    return (path for work in WORKS if (path := RESULTS / f"{work}.json").exists())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path, nargs="*", default=list(_there()))
    lines = [line for path in parser.parse_args().results for line in configurations(json.loads(path.read_text()))]
    for line in lines:
        print(json.dumps(line))
    print(json.dumps(summary(lines)))


def configurations(results: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Peaks of one work, a line for each case, precision and vocabulary."""
    seen = set()
    for row in results["rows"]:
        key = (row["case"], row["dtype"], row["vocab"])
        if row["memory_ratio"] is None or key in seen:
            continue
        seen.add(key)
        megabytes = {side: round(of["peak_bytes"] / 2**20) for side, of in row["memory"].items()}
        yield {
            "work": results["work"],
            **dict(zip(("case", "dtype", "vocab"), key, strict=True)),
            "ours_mb": megabytes["ours"],
            "peer_mb": megabytes["peer"],
            "memory_ratio": round(row["memory_ratio"], 3),
            "above_baseline": round(row["memory_ratio_above_baseline"], 3),
            "parity": row["parity"]["holds"],
        }


def summary(lines: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The largest ratio of all, which is the worst; `low` and `high` are the range."""
    ratios = [line["memory_ratio"] for line in lines]
    worst = max(lines, key=lambda line: line["memory_ratio"])
    return {
        "work": "W7",
        "ratio": max(ratios),
        "low": min(ratios),
        "high": max(ratios),
        "floor_fraction": None,
        "memory_ratio": max(ratios),
        "parity": all(line["parity"] for line in lines),
        **{name: worst[name] for name in ("case", "dtype", "vocab")},
        "of": worst["work"],
    }


if __name__ == "__main__":
    main()
