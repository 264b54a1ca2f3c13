"""W4: GRPO and RLOO with groups of 8, against TRL's GRPOTrainer and RLOOTrainer.

    python -m benchmarks.grpo [--quick] [--case grpo rloo]

One update: 8 prompts of 64 tokens (4 with --quick), 8 completions each of at most 64 tokens, one optimiser step. Completions
end at any token with the chance of about 1/24, so most are short and a few run to the limit. Sampling is part of the work. Both
sides draw from one distribution, but not the same tokens; each pair has a seed of its own, and how many tokens were drawn is in
the results. The KL tether (beta 0.04; 0.05 for RLOO) needs a reference. The reward is a rule. The peer cuts the update into 8
to 32 micro-batches and has a static or a dynamic cache.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.paired import harness
from benchmarks.paired.models import END, make_model
from benchmarks.paired.settings import Settings
from benchmarks.paired.texts import words

PROMPTS, GROUP, PROMPT_TOKENS, MAX_NEW_TOKENS, MEAN_LENGTH = 8, 8, 64, 64, 24

TUNING = [{"micro_batches": n, "cache": cache} for cache in ("static", "dynamic") for n in (16, 32, 8)]


def make_job(folder: Path, vocab: int, settings: Settings) -> dict[str, Any]:
    generator = np.random.default_rng(harness.SEED)
    model = make_model(folder / "model", vocab, size=settings.model_size, mean_length=MEAN_LENGTH)
    n_prompts = PROMPTS // 2 if settings.quick else PROMPTS
    return {"model": str(model), "updates": 1} | rollouts(generator, n_prompts, GROUP, vocab)


def rollouts(generator: np.random.Generator, n_prompts: int, group: int, vocab: int) -> dict[str, Any]:
    """Prompts, and completions that parity is shown on: geometric lengths, as the model samples them."""
    lengths = np.minimum(generator.geometric(1 / MEAN_LENGTH, n_prompts * group), MAX_NEW_TOKENS)
    return {
        "prompts_per_update": n_prompts,
        "samples_per_prompt": group,
        "max_new_tokens": MAX_NEW_TOKENS,
        "prompts": [words(generator, PROMPT_TOKENS, vocab) for _ in range(n_prompts)],
        "completions": [[*words(generator, int(length) - 1, vocab), END] for length in lengths],
    }


FIGURE = {"float32": 2.5, "bfloat16": 2.5}

WORK = harness.Work(
    name="W4",
    ours="benchmarks.ours.grpo",
    make_job=make_job,
    cases=[
        harness.Case(algorithm, "trl", "trl_grpo.py", TUNING, FIGURE, job={"algorithm": algorithm, "beta": beta})
        for algorithm, beta in (("grpo", 0.04), ("rloo", 0.05))
    ],
)

if __name__ == "__main__":
    harness.main(WORK, __doc__)
