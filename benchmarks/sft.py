"""W1: supervised fine-tuning on conversations of very different lengths, against TRL's SFTTrainer.

    python -m benchmarks.sft [--quick]

48 conversations in 3 optimiser steps of 16. Lengths are lognormal (median 120 tokens, sigma 0.8) between 16 and 512; the loss
is over the assistant's part, the last 20 to 60% of each, most of the tokens being prompt. The peer runs grouped by length and
packed, with four to sixteen micro-batches a step, and its fastest counts.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.paired import harness
from benchmarks.paired.models import END, make_model
from benchmarks.paired.settings import Settings
from benchmarks.paired.texts import lognormal_lengths, steps, words

STEPS, ROWS_A_STEP = 3, 16

TUNING = [
    {"layout": "packed", "micro_batches": 8, "attention": "sdpa"},
    {"layout": "packed", "micro_batches": 8, "attention": "eager"},
    {"layout": "packed", "micro_batches": 4, "attention": "sdpa"},
    {"layout": "grouped", "micro_batches": 16, "attention": "sdpa"},
    {"layout": "grouped", "micro_batches": 16, "attention": "eager"},
    {"layout": "grouped", "micro_batches": 8, "attention": "eager"},
]


def make_job(folder: Path, vocab: int, settings: Settings) -> dict[str, Any]:
    generator = np.random.default_rng(harness.SEED)
    rows = []
    for length in lognormal_lengths(generator, STEPS * ROWS_A_STEP, 120, 0.8, 16, 512):
        assistant = max(2, round(length * generator.uniform(0.2, 0.6)))
        rows.append({"tokens": [*words(generator, length - 1, vocab), END], "trained_from": length - assistant})
    return {
        "model": str(make_model(folder / "model", vocab, size=settings.model_size)),
        "rows": rows,
        "steps": steps(STEPS, ROWS_A_STEP),
    }


WORK = harness.Work(
    name="W1",
    ours="benchmarks.ours.sft",
    make_job=make_job,
    cases=[harness.Case("sft", "trl", "trl_sft.py", TUNING, figure={"float32": 2.0, "bfloat16": 3.0})],
)

if __name__ == "__main__":
    harness.main(WORK, __doc__)
