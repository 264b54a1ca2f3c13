"""Time and memory of the pairwise rater model as judgments grow.

    python -m benchmarks.rater_scale --sizes 100000 1000000 10000000 --json

Times are CPU seconds. Each size in a process of its own: three simulated judgments a comparison, a thousand a rater, two style
columns, ties. `peak_mb` is the process's largest resident set, interpreter and data included; `data_mb` what it was when
fitting began. The last line has the growth of time and of memory above the start for each step in size, over the growth in
judgments: at most 1 is linear.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from itertools import pairwise
from typing import Any

import numpy as np

from truing.raters.pairwise import fit_rater_model
from truing.raters.simulate import PlantedRaters

PER_COMPARISON, PER_RATER = 3, 1000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[100_000, 1_000_000, 10_000_000])
    parser.add_argument("--json", action="store_true", help="only the last line")
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        print(json.dumps(measure(arguments.one)))
        return
    rows = []
    for size in arguments.sizes:
        command = [sys.executable, "-m", "benchmarks.rater_scale", "--one", str(size)]
        rows.append(json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout))
        if not arguments.json:
            print(json.dumps(rows[-1]), file=sys.stderr)
    steps = [
        {
            "from": a["judgments"],
            "to": b["judgments"],
            "pass_time": round(b["pass_s"] / a["pass_s"] / (b["judgments"] / a["judgments"]), 3),
            "time": round(b["fit_s"] / a["fit_s"] / (b["judgments"] / a["judgments"]), 3),
            "memory": round(
                (b["peak_mb"] - b["start_mb"]) / (a["peak_mb"] - a["start_mb"]) / (b["judgments"] / a["judgments"]), 3
            ),
        }
        for a, b in pairwise(rows)
    ]
    print(json.dumps({"rows": rows, "growth_over_linear": steps}))


def measure(judgments: int) -> dict[str, Any]:
    """One fit, in this process."""
    start_mb = peak_mb()
    planted = PlantedRaters.draw(judgments // PER_RATER, np.random.default_rng(0))
    data = planted.judge(judgments // PER_COMPARISON, PER_COMPARISON, np.random.default_rng(1))
    data_mb = peak_mb()
    began = time.process_time()
    model = fit_rater_model(data.item_N, data.rater_N, data.answer_N, data.left_N, data.style_JK)
    fit_s = time.process_time() - began
    return {
        "judgments": len(data.item_N),
        "comparisons": len(data.style_JK),
        "raters": judgments // PER_RATER,
        "fit_s": round(fit_s, 2),
        "iterations": model.iterations,
        "converged": model.converged,
        "pass_s": round(fit_s / (model.iterations + 1), 3),
        "start_mb": start_mb,
        "data_mb": data_mb,
        "peak_mb": peak_mb(),
        "reliability_correlation": round(float(np.corrcoef(model.alpha_R, planted.alpha_R)[0, 1]), 3),
    }


def peak_mb() -> int:
    """Largest resident set so far."""
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 2**20)


if __name__ == "__main__":
    main()
