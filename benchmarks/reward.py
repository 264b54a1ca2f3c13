"""W2: a reward model on pairs with long prompts and short replies, against TRL's RewardTrainer.

    python -m benchmarks.reward [--quick]

24 pairs in 2 optimiser steps of 12; prompts around 256 tokens, replies around 32 (`texts.pairs`). Bradley-Terry loss with the
centring term of both (coefficient 0.01). The peer's pairs are sorted by length within a step and cut into two to twelve
micro-batches.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.paired import harness
from benchmarks.paired.models import make_model
from benchmarks.paired.settings import Settings
from benchmarks.paired.texts import pairs, steps

STEPS, PAIRS_A_STEP = 2, 12

TUNING = [{"micro_batches": n, "attention": attention} for attention in ("sdpa", "eager") for n in (12, 6)]


def make_job(folder: Path, vocab: int, settings: Settings) -> dict[str, Any]:
    return {
        "model": str(make_model(folder / "model", vocab, size=settings.model_size, head="score")),
        "center_coefficient": 0.01,
        "pairs": pairs(np.random.default_rng(harness.SEED), STEPS * PAIRS_A_STEP, vocab),
        "steps": steps(STEPS, PAIRS_A_STEP),
    }


WORK = harness.Work(
    name="W2",
    ours="benchmarks.ours.reward",
    make_job=make_job,
    cases=[harness.Case("reward", "trl", "trl_reward.py", TUNING, figure={"float32": 2.5, "bfloat16": 2.5})],
)

if __name__ == "__main__":
    harness.main(WORK, __doc__)
