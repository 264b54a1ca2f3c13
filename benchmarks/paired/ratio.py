"""How many times faster: the median over pairs of runs, and an interval that needs no assumption about timings."""

from __future__ import annotations

from collections.abc import Sequence
from math import comb
from statistics import median
from typing import NamedTuple


class Ratio(NamedTuple):
    """The peer's time over truing's: 2 is twice as fast. `coverage` is the chance that [low, high] holds the true median."""

    value: float
    low: float
    high: float
    coverage: float


def paired_ratio(ours: Sequence[float], peer: Sequence[float], level: float = 0.95) -> Ratio:
    """Median of peer / ours over pairs of runs, with the narrowest order-statistic interval that covers its median at `level`.

    Where there are too few pairs for that (five cover 0.9375), the smallest and the largest ratio.
    """
    ratios = sorted(theirs / mine for mine, theirs in zip(ours, peer, strict=True))
    n = len(ratios)
    deepest = max((k for k in range((n + 1) // 2) if _coverage(n, k) >= level), default=0)
    return Ratio(median(ratios), ratios[deepest], ratios[n - 1 - deepest], _coverage(n, deepest))


def _coverage(n: int, k: int) -> float:
    """Chance that the median of a distribution lies between the k-th smallest (from 0) and the k-th largest of n draws."""
    return 1 - 2 * sum(comb(n, below) for below in range(k + 1)) / 2**n
