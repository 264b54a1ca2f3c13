"""Batches are token budgets: how many sequences fit depends on how long they are."""

from __future__ import annotations

import random
from collections.abc import Sequence

from truing.models.runs import token_runs
from truing.records import seed_for

_BATCHES_A_CHUNK = 16
"""Sequences are sorted by length within a shuffled run of about this many batches: like lengths together, order still random."""


def token_budget_batches(lengths: Sequence[int], budget: int, seed: int) -> list[list[int]]:
    """Indices of every item once, in batches of at most `budget` tokens, like lengths together, in an order drawn from `seed`.

    An item longer than the budget is a batch of its own.
    """
    generator = random.Random(seed_for(seed, "batches"))
    order = list(range(len(lengths)))
    generator.shuffle(order)
    batches = [
        batch
        for chunk in token_runs(order, lengths, budget * _BATCHES_A_CHUNK)
        for batch in _sorted_batches(chunk, lengths, budget)
    ]
    generator.shuffle(batches)
    return batches


def _sorted_batches(chunk: list[int], lengths: Sequence[int], budget: int) -> list[list[int]]:
    return token_runs(sorted(chunk, key=lambda index: lengths[index]), lengths, budget)
