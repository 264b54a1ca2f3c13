"""What a selected set says of the whole pool: means weighted by inverse selection probability, clustered by prompt.

A batch chosen for being hard overstates how often the reward model errs, and so does its plain mean. With every probability known

    Horvitz-Thompson   1/N sum y_i / pi_i                    unbiased; needs the pool's size (Horvitz & Thompson 1952)
    Hajek              sum(y_i / pi_i) / sum(1 / pi_i)       self-normalised; nearly unbiased, mostly narrower (Hajek 1971)

Intervals are those of a mean of clusters, on the linearised values, as if clusters had been drawn with replacement: a little wide
where the batch is much of the pool.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from truing.data.splits import group_of
from truing.errors import TruingError
from truing.records import Comparison, Estimate
from truing.stats.intervals import mean_interval, weighted_mean_interval

Floats = NDArray[np.float64]


def horvitz_thompson(value_N: ArrayLike, propensity_N: ArrayLike, clusters: Sequence[Hashable], pool_size: int) -> Estimate:
    """The pool's mean of a value known on the N selected. Raises TruingError on a bad probability or fewer than two clusters."""
    weight = inverse_weights(propensity_N)
    return mean_interval(np.asarray(value_N, dtype=np.float64) * weight * (len(weight) / pool_size), clusters)


def hajek(value_N: ArrayLike, propensity_N: ArrayLike, clusters: Sequence[Hashable]) -> Estimate:
    """The same, with the pool's size estimated as well: a rate stays between 0 and 1. Raises as `horvitz_thompson`."""
    return weighted_mean_interval(value_N, inverse_weights(propensity_N), clusters)


def pool_rate(value_N: ArrayLike, selected: Sequence[Comparison]) -> Estimate:
    """Share of the pool, from what was selected of it: of comparisons that a model gets right, of first answers preferred, ...

    `value_N` is 0 to 1 (0.5 = a tie), one a comparison of `selected`. Hajek, clustered by prompt (or its group), interval cut to
    [0, 1]. Raises TruingError where a comparison was not drawn from a pool.
    """
    without = [c.comparison_id for c in selected if c.propensity is None]
    if without:
        raise TruingError(
            f"{len(without)} comparisons have no selection probability, for example {without[0]!r}: not from a pool"
        )
    estimate = hajek(value_N, [c.propensity or 0.0 for c in selected], [group_of(c.prompt) for c in selected])
    return estimate.model_copy(update={"low": max(0.0, estimate.low), "high": min(1.0, estimate.high)})


def effective_sample_size(propensity_N: ArrayLike) -> float:
    """(sum w)^2 / sum w^2 with w = 1 / pi: how many uniformly drawn comparisons weigh as much (Kish 1965)."""
    weight = inverse_weights(propensity_N)
    return float(weight.sum() ** 2 / (weight**2).sum())


def inverse_weights(propensity_N: ArrayLike) -> Floats:
    """1 / pi. Raises TruingError where a probability is not in (0, 1]."""
    pi = np.asarray(propensity_N, dtype=np.float64)
    if not ((pi > 0) & (pi <= 1)).all():
        raise TruingError("a selection probability lies outside (0, 1]: these comparisons were not drawn by `truing select`")
    return np.asarray(1 / pi)
