"""Calibration of stated probabilities: reliability bins and the expected calibration error."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from truing.records import Estimate, Record
from truing.stats.intervals import bootstrap, cluster_index


class ReliabilityBin(Record):
    """Predictions of one bin: their mean probability and how often the event came true."""

    low: float
    high: float
    probability: float
    rate: float
    n: int


def reliability(probabilities: ArrayLike, outcomes: ArrayLike, bins: int = 10) -> tuple[ReliabilityBin, ...]:
    """Non-empty equal-width bins over [0, 1]. `outcomes` are 0 to 1 (soft labels are accepted)."""
    p, y = np.asarray(probabilities, dtype=np.float64), np.asarray(outcomes, dtype=np.float64)
    which = _bin_of(p, bins)
    return tuple(
        ReliabilityBin(
            low=b / bins,
            high=(b + 1) / bins,
            probability=float(p[which == b].mean()),
            rate=float(y[which == b].mean()),
            n=int((which == b).sum()),
        )
        for b in np.unique(which)
    )


def expected_calibration_error(
    probabilities: ArrayLike,
    outcomes: ArrayLike,
    *,
    bins: int = 10,
    clusters: Sequence[Hashable] | None = None,
    seed: int = 0,
) -> Estimate:
    """ECE = sum over bins of (n_b / n) |rate_b - probability_b| (Naeini et al. 2015).

    ECE of a finite sample is biased upward, and a resample's again. Where calibration is perfect, resampling doubles the noise
    in each bin, so the resamples' mean stands at sqrt(2) times the value and the value's own bias is (mean - value) /
    (sqrt(2) - 1): that much is taken off the low end before the bootstrap's spread is. The high end is the basic bootstrap's.
    """
    p, y = np.asarray(probabilities, dtype=np.float64), np.asarray(outcomes, dtype=np.float64)
    keys = clusters if clusters is not None else range(len(p))
    _, count = cluster_index(keys, len(p))
    which = _bin_of(p, bins)

    def error(rows: NDArray[np.intp]) -> float:
        return float(np.abs(np.bincount(which[rows], y[rows] - p[rows], bins)).sum() / len(rows))

    value = error(np.arange(len(p)))
    resampled = bootstrap(error, keys, seed=seed)
    lower, upper = np.quantile(resampled, [0.025, 0.975])
    mean = float(resampled.mean())
    bias = max(0.0, mean - value) / (math.sqrt(2) - 1)
    low, high = max(0.0, value - bias - float(upper) + mean), min(1.0, 2 * value - float(lower))
    return Estimate(value=value, low=min(low, value), high=max(high, value), n=count)


def _bin_of(p: NDArray[np.float64], bins: int) -> NDArray[np.intp]:
    return np.minimum((p * bins).astype(np.intp), bins - 1)
