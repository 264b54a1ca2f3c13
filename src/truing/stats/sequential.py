"""Tests that may be looked at after every observation: evidence that multiplies, and an error rate that holds whenever one
stops.

Evidence against a hypothesis is the gain of a bet at its odds: a likelihood ratio whose expectation never grows while the
hypothesis holds. Then P(it ever reaches 1 / alpha) <= alpha (Ville 1939); for a fixed bet it is Wald's (1945) sequential
probability ratio test with the lower boundary left out.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]


class SequentialTest(NamedTuple):
    """`p_value` = 1 / the most evidence there ever was (at most 1): valid at any time. `crossed_at` counts observations from
    1.
    """

    p_value: float
    crossed_at: int | None
    n: int


def fair_coin(outcomes: ArrayLike, *, bet: float, alpha: float) -> SequentialTest:
    """Against P(outcome) = 1/2, half a bet on a rate of `bet` and half on 1 - `bet`.

    Rates between 1/2 and about (1/2 + bet) / 2 give no evidence in the long run, so a small departure is not reported however
    long one looks.
    """
    happened = np.asarray(outcomes, dtype=bool)
    both = np.logaddexp(_log_gain(happened, 0.5, bet), _log_gain(happened, 0.5, 1 - bet)) - math.log(2)
    return _test(both, alpha)


def rate_at_least(outcomes: ArrayLike, rate: float, *, bet: float, alpha: float) -> SequentialTest:
    """Against P(outcome) >= `rate`, a bet on the lower rate `bet`."""
    return _test(_log_gain(np.asarray(outcomes, dtype=bool), rate, bet), alpha)


def rate_at_most(outcomes: ArrayLike, rate: float, *, bet: float, alpha: float) -> SequentialTest:
    """Against P(outcome) <= `rate`, a bet on the higher rate `bet`."""
    return rate_at_least(~np.asarray(outcomes, dtype=bool), 1 - rate, bet=1 - bet, alpha=alpha)


def _log_gain(happened: NDArray[np.bool_], rate: float, bet: float) -> Floats:
    return np.cumsum(np.where(happened, math.log(bet / rate), math.log((1 - bet) / (1 - rate))))


def _test(log_evidence: Floats, alpha: float) -> SequentialTest:
    if not len(log_evidence):
        return SequentialTest(1.0, None, 0)
    over = np.flatnonzero(log_evidence >= -math.log(alpha))
    p_value = math.exp(-max(0.0, float(log_evidence.max())))
    return SequentialTest(p_value, int(over[0]) + 1 if len(over) else None, len(log_evidence))
