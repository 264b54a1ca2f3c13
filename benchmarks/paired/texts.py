"""Tokens of made-up conversations: lengths as real ones have them, words at random, seeded."""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.paired.models import END, FIRST_WORD


def lognormal_lengths(generator: np.random.Generator, n: int, median: float, sigma: float, low: int, high: int) -> list[int]:
    """Whole numbers between `low` and `high`; what falls outside is drawn again."""
    lengths: list[int] = []
    while len(lengths) < n:
        length = round(generator.lognormal(np.log(median), sigma))
        if low <= length <= high:
            lengths.append(length)
    return lengths


def words(generator: np.random.Generator, n: int, vocab: int) -> list[int]:
    """Tokens that are neither padding nor an end."""
    return [int(token) for token in generator.integers(FIRST_WORD, vocab, n)]


def pairs(generator: np.random.Generator, n: int, vocab: int) -> list[dict[str, Any]]:
    """Two replies to one prompt: prompts around 256 tokens (96 to 640), replies around 32 (8 to 128), each with its end token."""
    prompts = lognormal_lengths(generator, n, 256, 0.4, 96, 640)
    replies = [lognormal_lengths(generator, n, 32, 0.5, 8, 128) for _ in range(2)]
    return [
        {"prompt": words(generator, prompt, vocab)}
        | {name: [*words(generator, reply - 1, vocab), END] for name, reply in zip(("chosen", "rejected"), both, strict=True)}
        for prompt, *both in zip(prompts, *replies, strict=True)
    ]


def steps(n_steps: int, rows_a_step: int) -> list[list[int]]:
    """Row numbers of each optimiser step, in order."""
    return [list(range(step * rows_a_step, (step + 1) * rows_a_step)) for step in range(n_steps)]
