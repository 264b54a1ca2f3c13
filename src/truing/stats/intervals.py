"""Intervals for rates, means and differences. Every function returns an `Estimate`: no number leaves without its interval.

Samples of one prompt resemble each other, so the unit is the prompt ("cluster"), not the sample: `Estimate.n` counts clusters.
Treating clustered samples as independent gives intervals far too narrow (see tests/stats/test_intervals.py for the coverage).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from truing.errors import TruingError
from truing.records import Estimate

Floats = NDArray[np.float64]
LEVEL = 0.95
_TAIL = 0.5 + LEVEL / 2
_DRAWS_AT_ONCE = 4_000_000


def wilson(successes: float, n: float) -> Estimate:
    """Wilson score interval for a rate of independent trials (Wilson 1927).

    Raises TruingError where n = 0.
    """
    if n <= 0:
        raise TruingError("a rate needs at least one trial: nothing was measured")
    return _wilson(successes / n, n, normal_quantile(), max(1, int(n)))


def wilson_clustered(successes: ArrayLike, clusters: Sequence[Hashable]) -> Estimate:
    """Wilson interval for a rate whose trials come in clusters, at the effective sample size n / design effect.

    `successes` are 0 to 1 (0.5 = a tie). Design effect (Kish 1965) = the rate's cluster-robust variance over p(1 - p)/n, at
    least 1.
    A rate of exactly 0 or 1 shows no variance to estimate it from: then each cluster counts once (n = prompts).
    Student's t with clusters - 1 degrees of freedom stands in for the normal quantile elsewhere.
    """
    outcomes = np.asarray(successes, dtype=np.float64)
    index, count = cluster_index(clusters, len(outcomes))
    rate = float(outcomes.mean())
    spread = rate * (1 - rate)
    if spread <= 0 or count == 1:
        return _wilson(rate, count, normal_quantile(), count)
    variance = clustered_variance(outcomes - rate, index, count)
    design_effect = max(1.0, variance / (spread / len(outcomes)))
    return _wilson(rate, len(outcomes) / design_effect, t_quantile(count - 1), count)


def mean_interval(values: ArrayLike, clusters: Sequence[Hashable] | None = None) -> Estimate:
    """Mean with a t interval; with `clusters`, the cluster-robust (ratio) variance and clusters - 1 degrees of freedom.

    Raises TruingError with fewer than two clusters: one unit shows no spread.
    """
    numbers = np.asarray(values, dtype=np.float64)
    index, count = cluster_index(clusters if clusters is not None else range(len(numbers)), len(numbers))
    if count < 2:
        raise TruingError(f"a mean's interval needs at least two independent units (prompts); there is {count}")
    mean = float(numbers.mean())
    half = t_quantile(count - 1) * math.sqrt(clustered_variance(numbers - mean, index, count))
    return Estimate(value=mean, low=mean - half, high=mean + half, n=count)


def weighted_mean_interval(values: ArrayLike, weights: ArrayLike, clusters: Sequence[Hashable]) -> Estimate:
    """sum(w y) / sum(w) with the interval of `mean_interval` on its linearised values: Hajek's estimate where w = 1 / propensity.

    Raises TruingError with fewer than two clusters.
    """
    value, weight = np.asarray(values, dtype=np.float64), np.asarray(weights, dtype=np.float64)
    mean = float(np.average(value, weights=weight))
    return mean_interval(mean + (weight / weight.mean()) * (value - mean), clusters)


def bootstrap_paired(
    first: ArrayLike, second: ArrayLike, clusters: Sequence[Hashable] | None = None, *, seed: int = 0, resamples: int = 2000
) -> Estimate:
    """Mean of first - second, measured on the same prompts, with a percentile bootstrap over prompts (Efron 1979)."""
    differences = np.asarray(first, dtype=np.float64) - np.asarray(second, dtype=np.float64)
    index, count = cluster_index(clusters if clusters is not None else range(len(differences)), len(differences))
    sums, sizes = np.bincount(index, differences, count), np.bincount(index, minlength=count)
    draws = np.random.default_rng(seed).integers(0, count, (resamples, count))
    means = sums[draws].sum(axis=1) / sizes[draws].sum(axis=1)
    low, high = np.quantile(means, [1 - _TAIL, _TAIL])
    return Estimate(value=float(differences.mean()), low=float(low), high=float(high), n=count)


def bootstrap(
    statistic: Callable[[NDArray[np.intp]], float], clusters: Sequence[Hashable], *, seed: int = 0, resamples: int = 500
) -> Floats:
    """Values of `statistic`, called with row indices, over resamples that draw whole clusters with replacement."""
    index, count = cluster_index(clusters, len(clusters))
    order = np.argsort(index, kind="stable")
    rows = np.split(order, np.cumsum(np.bincount(index, minlength=count))[:-1])
    generator = np.random.default_rng(seed)
    draws = generator.integers(0, count, (resamples, count))
    return np.array([statistic(np.concatenate([rows[c] for c in draw])) for draw in draws])


def resampled_totals(features_UF: Floats, multiplicity_U: NDArray[np.intp], *, seed: int = 0, resamples: int = 1000) -> Floats:
    """Column totals over resamples of clusters with replacement, for statistics made of totals. Shape (resamples, F).

    Clusters with the same features are one row of `features_UF` and are drawn together, by a multinomial over
    `multiplicity_U` (how many clusters each row stands for): the same distribution as drawing them one by one.
    """
    generator = np.random.default_rng(seed)
    count = int(multiplicity_U.sum())
    at_once = max(1, _DRAWS_AT_ONCE // len(multiplicity_U))
    sizes = [min(at_once, resamples - start) for start in range(0, resamples, at_once)]
    draws = (generator.multinomial(count, multiplicity_U / count, size) for size in sizes)
    return np.concatenate([draw @ features_UF for draw in draws])


def difference_interval(first: Estimate, second: Estimate) -> Estimate:
    """First - second of two independent estimates, from their own intervals (MOVER; Newcombe 1998, Zou & Donner 2008).

    low = d - sqrt((first - first.low)^2 + (second.high - second)^2), and the mirror of it for high.
    """
    difference = first.value - second.value
    low = difference - math.hypot(first.value - first.low, second.high - second.value)
    high = difference + math.hypot(first.high - first.value, second.value - second.low)
    return Estimate(value=difference, low=low, high=high, n=min(first.n, second.n))


def apart(first: Estimate, second: Estimate) -> bool:
    """True where the two intervals do not touch."""
    return first.low > second.high or second.low > first.high


def cluster_index(clusters: Sequence[Hashable], n: int) -> tuple[NDArray[np.intp], int]:
    """Each row's cluster as 0..count-1 (in order of appearance), and the count. Raises TruingError where there is no row."""
    if n == 0:
        raise TruingError("nothing to estimate from: no samples were given")
    if len(clusters) != n:
        raise ValueError(f"{n} values but {len(clusters)} clusters")
    numbers: dict[Hashable, int] = {}
    index = np.fromiter((numbers.setdefault(c, len(numbers)) for c in clusters), dtype=np.intp, count=n)
    return index, len(numbers)


def clustered_variance(residuals: Floats, index: NDArray[np.intp], count: int) -> float:
    """Cluster-robust variance of a mean with residuals r: k/(k-1) * sum over clusters of (sum r)^2 / n^2."""
    totals = np.bincount(index, residuals, count)
    return float(count / (count - 1) * (totals**2).sum() / len(residuals) ** 2)


def _wilson(rate: float, effective_n: float, quantile: float, units: int) -> Estimate:
    square = quantile**2
    centre = (rate + square / (2 * effective_n)) / (1 + square / effective_n)
    half = quantile / (1 + square / effective_n) * math.sqrt(rate * (1 - rate) / effective_n + square / (4 * effective_n**2))
    return Estimate(value=rate, low=max(0.0, min(rate, centre - half)), high=min(1.0, max(rate, centre + half)), n=units)


def normal_quantile() -> float:
    """Half the width of a 95% interval in standard errors, where they are normal."""
    return float(special.ndtri(_TAIL))


def t_quantile(degrees: int) -> float:
    """The same with Student's t of so many degrees of freedom."""
    return float(special.stdtrit(degrees, _TAIL))
