"""W6: sampling, against transformers' `generate`, its continuous batching, and vLLM on the CPU.

    python -m benchmarks.generate [--quick] [--case generate-64 ...]

64 and 256 completions in groups of 8, prompts of 64 tokens, at most 128 new ones, temperature 1. Completions end at any token
with the chance of about 1/48: ragged, with stragglers. Since each engine draws what it draws, seconds a token drawn are
compared. truing and vLLM return log-probabilities, transformers does not. Parity: greedy completions of 64 tokens to 8 prompts,
by a model that does not end by itself; their log-probabilities agree within 1e-4, which they do only where the tokens are the
same. `generate` takes all completions at once or 64 at a time, with a dynamic or a static cache; its fastest counts.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.paired import harness
from benchmarks.paired.models import END, PAD, make_model
from benchmarks.paired.settings import Settings
from benchmarks.paired.texts import words

GROUP, PROMPT_TOKENS, MAX_NEW_TOKENS, MEAN_LENGTH = 8, 64, 128, 48
COMPLETIONS = (64, 256)

ENGINES: dict[str, tuple[str, str, float]] = {
    "generate": ("trl", "transformers_generate.py", 2.0),
    "continuous": ("trl", "transformers_generate.py", 2.0),
    "vllm": ("vllm", "vllm_generate.py", 1.0),
}


def make_job(folder: Path, vocab: int, settings: Settings) -> dict[str, Any]:
    generator = np.random.default_rng(harness.SEED)
    size = settings.model_size
    return {
        "models": {
            "ragged": str(make_model(folder / "ragged", vocab, size=size, mean_length=MEAN_LENGTH)),
            "endless": str(make_model(folder / "endless", vocab, size=size)),
        },
        "weights": "ragged",
        "prompts": [words(generator, PROMPT_TOKENS, vocab) for _ in range(max(COMPLETIONS) // GROUP)],
        "samples_per_prompt": GROUP,
        "max_new_tokens": MAX_NEW_TOKENS,
        "at_once": 128,
        "parity_prompts": 8,
        "parity_tokens": 64,
        "end": END,
        "pad": PAD,
    }


def tuning(engine: str, completions: int) -> list[dict[str, Any]]:
    if engine != "generate":
        return [{}]
    batches = sorted({completions, 64}, reverse=True)
    return [{"batch": batch, "cache": cache} for cache in ("dynamic", "static") for batch in batches]


def cases() -> list[harness.Case]:
    return [
        harness.Case(
            f"{engine}-{completions}",
            peer,
            script,
            tuning(engine, completions),
            figure={"float32": figure, "bfloat16": figure},
            job={"engine": engine, "completions": completions},
            parity_job={"weights": "endless", "completions": min(COMPLETIONS)},
            fixed_threads=engine == "vllm",
        )
        for engine, (peer, script, figure) in ENGINES.items()
        for completions in COMPLETIONS
    ]


WORK = harness.Work(
    name="W6",
    ours="benchmarks.ours.generate",
    make_job=make_job,
    cases=cases(),
    quick_cases=("generate-64", "vllm-64"),
    per_token=True,
)

if __name__ == "__main__":
    harness.main(WORK, __doc__)
