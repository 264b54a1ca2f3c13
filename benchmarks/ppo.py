"""W5: PPO with a separate critic and with a value head on the policy's trunk, against TRL 1.12.0's PPOTrainer.

    python -m benchmarks.ppo [--quick] [--case separate shared_trunk]

One update: 32 prompts of 64 tokens (16 with --quick), one completion each of at most 64 tokens (lengths as in W4), 4 epochs of
one optimiser step. Sampling, scoring by a reward model, a reference and a critic, and the epochs are the work. The peer has a
separate critic only: `shared_trunk` is another model with less arithmetic, and its figure says what that choice saves, not how
fast the same thing is. Parity of both is that of the separate critic. The peer cuts the update into 8 to 32 micro-batches.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.grpo import MAX_NEW_TOKENS, MEAN_LENGTH, rollouts
from benchmarks.paired import harness
from benchmarks.paired.models import END, make_model
from benchmarks.paired.settings import Settings
from benchmarks.paired.texts import words

PROMPTS = 32

TUNING = [{"micro_batches": n, "rollout_batch": size} for n, size in ((16, 16), (32, 16), (8, 16), (16, 32))]


def make_job(folder: Path, vocab: int, settings: Settings) -> dict[str, Any]:
    generator = np.random.default_rng(harness.SEED)
    model = make_model(folder / "model", vocab, size=settings.model_size, mean_length=MEAN_LENGTH)
    reward = make_model(folder / "reward" / "member-0", vocab, size=settings.model_size, head="score", seed=1)
    n_prompts = PROMPTS // 2 if settings.quick else PROMPTS
    completions = [[*words(generator, MAX_NEW_TOKENS - 1, vocab), END] for _ in range(n_prompts)]
    return {
        "model": str(model),
        "reward_member": str(reward),
        "updates": 1,
        "epochs": 4,
        "beta": 0.05,
        "value": "separate",
        **rollouts(generator, n_prompts, 1, vocab),
        "completions": completions,
    }


def figure(ratio: float) -> dict[str, float]:
    return {"float32": ratio, "bfloat16": ratio}


WORK = harness.Work(
    name="W5",
    ours="benchmarks.ours.ppo",
    make_job=make_job,
    cases=[
        harness.Case("separate", "trl112", "trl_ppo.py", TUNING, figure(1.7)),
        harness.Case(
            "shared_trunk",
            "trl112",
            "trl_ppo.py",
            TUNING,
            figure(2.8),
            job={"value": "shared_trunk"},
            parity_job={"value": "separate"},
        ),
    ],
)

if __name__ == "__main__":
    harness.main(WORK, __doc__)
