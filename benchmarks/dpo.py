"""W3: direct preference optimisation with a live and with a cached reference, against TRL's DPOTrainer.

    python -m benchmarks.dpo [--quick] [--case live cached]

12 pairs in 2 optimiser steps of 6, of the same shape as W2's. With a cached reference, the pass that computes it counts as part
of the work on both sides. The peer's pairs are sorted by length within a step and cut into three or six micro-batches.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.paired import harness
from benchmarks.paired.models import make_model
from benchmarks.paired.settings import Settings
from benchmarks.paired.texts import pairs, steps

STEPS, PAIRS_A_STEP = 2, 6

TUNING = [{"micro_batches": n, "attention": attention} for n in (6, 3) for attention in ("sdpa", "eager")]


def make_job(folder: Path, vocab: int, settings: Settings) -> dict[str, Any]:
    return {
        "model": str(make_model(folder / "model", vocab, size=settings.model_size)),
        "beta": 0.1,
        "pairs": pairs(np.random.default_rng(harness.SEED), STEPS * PAIRS_A_STEP, vocab),
        "steps": steps(STEPS, PAIRS_A_STEP),
    }


FIGURE = {"float32": 4.0, "bfloat16": 4.0}

WORK = harness.Work(
    name="W3",
    ours="benchmarks.ours.dpo",
    make_job=make_job,
    cases=[
        harness.Case(reference, "trl", "trl_dpo.py", TUNING, FIGURE, job={"reference": reference})
        for reference in ("live", "cached")
    ],
)

if __name__ == "__main__":
    harness.main(WORK, __doc__)
