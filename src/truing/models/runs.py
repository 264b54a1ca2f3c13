"""Cutting work into pieces of bounded size."""

from __future__ import annotations

from collections.abc import Sequence


def token_runs(indices: Sequence[int], lengths: Sequence[int], budget: int) -> list[list[int]]:
    """Cut `indices`, in their order, into runs whose `lengths` (tokens, by index) sum to at most `budget`.

    An item longer than the budget stands alone.
    """
    runs: list[list[int]] = []
    used = 0
    for index in indices:
        if not runs or used + lengths[index] > budget:
            runs.append([])
            used = 0
        runs[-1].append(index)
        used += lengths[index]
    return runs
