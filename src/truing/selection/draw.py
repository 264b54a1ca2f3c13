"""Draw a batch from a pool at random, exactly as large as the budget, with the probability of every comparison known.

    weight_i = (1 - u) score_i / sum(score) + u / N        u: the uniform share (a defensive mixture, Hesterberg 1995)
    pi_i     = min(1, c weight_i)                          c such that the pi sum to the budget

and a systematic sample in random order with these inclusion probabilities (Madow 1949). Since pi_i >= min(1, u budget / N),
no comparison is out of reach and no inverse-probability weight exceeds N / (u budget).

Part of the batch is a uniform sample of the pool by itself: a chosen comparison is marked "uniform" with probability
min(pi) / pi_i, which leaves every comparison of the pool the same chance, min(pi), to be chosen and so marked.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from truing.errors import TruingError
from truing.records import Comparison, seed_for
from truing.selection.config import SelectionConfig
from truing.selection.pool import Floats, Pool
from truing.selection.strategies import STRATEGIES


class Drawn(NamedTuple):
    """A batch in the pool's order, each comparison with `strategy` and `propensity`, and what the pool's probabilities were."""

    batch: list[Comparison]
    propensity_N: Floats
    """Of every comparison of the pool."""


def draw(pool: Pool, config: SelectionConfig) -> Drawn:
    """Score by the strategy and draw. Raises TruingError where the strategy lacks what it reads, or the budget is too large.

    The same pool in the same order, settings and seed give the same batch.
    """
    pi_N = inclusion_probabilities(STRATEGIES[config.strategy](pool), config.budget, config.uniform_share)
    rng = np.random.default_rng(seed_for(config.seed, "select"))
    chosen = systematic_sample(pi_N, rng)
    is_uniform = rng.random(len(chosen)) * pi_N[chosen] <= pi_N.min()
    batch = [
        pool.comparisons[row].model_copy(
            update={"strategy": "uniform" if plain else config.strategy, "propensity": float(pi_N[row])}
        )
        for row, plain in zip(chosen, is_uniform, strict=True)
    ]
    return Drawn(batch, pi_N)


def inclusion_probabilities(score_N: ArrayLike, budget: int, uniform_share: float) -> Floats:
    """Probabilities in (0, 1] that sum to `budget`, as above. Scores that are all 0 give a uniform draw.

    Raises TruingError where a score is negative or not finite, or the budget is more than there is.
    """
    score = np.asarray(score_N, dtype=np.float64)
    if budget > len(score):
        raise TruingError(f"the budget is {budget} comparisons, but the pool holds {len(score)}: sample more, or ask for fewer")
    if not np.isfinite(score).all() or (score < 0).any():
        raise TruingError("a score for selection is negative or not a finite number: look at the reward model's scores")
    largest = float(score.max())
    share = score / largest if largest > 0 else np.ones(len(score))  # scaled first: a sum of huge scores would overflow
    return _capped((1 - uniform_share) * share / share.sum() + uniform_share / len(score), budget)


def _capped(weight_N: Floats, budget: int) -> Floats:
    """min(1, c * weight) summing to the budget: those at 1 are the heaviest, so look for how many there are."""
    order = np.argsort(-weight_N, kind="stable")
    heavy_first = weight_N[order]
    rest = np.cumsum(heavy_first[::-1])[::-1]  # rest[k]: weight of all but the k heaviest
    factors = (budget - np.arange(len(rest))) / rest
    certain = int(np.argmax(factors * heavy_first <= 1)) if (factors * heavy_first <= 1).any() else budget
    pi = np.ones(len(weight_N))
    if certain < len(rest):
        pi[order[certain:]] = np.minimum(1.0, factors[certain] * heavy_first[certain:])
    return pi


def systematic_sample(pi_N: Floats, rng: np.random.Generator) -> NDArray[np.intp]:
    """Row numbers, ascending: exactly sum(pi) of them (a whole number), each row in with probability pi.

    Rows lie in random order on a line, each as long as its pi; those that hold one of the points start, start + 1, ... are in.
    """
    order = rng.permutation(len(pi_N))
    ends = np.cumsum(pi_N[order])
    n = round(float(ends[-1]))
    ends *= n / ends[-1]  # what rounding left must not move the last point out of reach
    at = np.searchsorted(ends, rng.random() + np.arange(n), side="right")
    return np.sort(order[np.minimum(at, len(order) - 1)])
