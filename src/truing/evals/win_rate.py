"""Win-rate of one policy over another on the same prompts, raw and with the effect of length taken out."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit

from truing.errors import TruingError
from truing.records import Estimate, Record
from truing.stats.intervals import cluster_index, t_quantile, wilson_clustered

Floats = NDArray[np.float64]
_PRIOR_SD = 5.0
_STEPS = 50


class WinRate(Record):
    """P(first beats second), ties counting half: as judged, and at equal length. Always shown together."""

    raw: Estimate
    length_controlled: Estimate


def win_rate(wins: ArrayLike, length_differences: ArrayLike, clusters: Sequence[Hashable]) -> WinRate:
    """Raw and length-controlled win-rate. `wins` are 1, 0 or 0.5; `length_differences` = first - second, in tokens."""
    return WinRate(raw=wilson_clustered(wins, clusters), length_controlled=length_controlled(wins, length_differences, clusters))


def length_controlled(wins: ArrayLike, length_differences: ArrayLike, clusters: Sequence[Hashable]) -> Estimate:
    """P(win) = sigmoid(theta + phi * tanh(length difference / sd)), read at difference 0: sigmoid(theta).

    After length-controlled AlpacaEval (Dubois et al. 2024, arXiv:2404.04475), without its prompt-difficulty term; sd is the root
    mean square of the differences. A normal prior of sd 5 on both keeps one-sided data finite. Interval: cluster-robust
    (sandwich) error of theta with t on clusters - 1, put through the sigmoid.
    """
    y, gap = np.asarray(wins, dtype=np.float64), np.asarray(length_differences, dtype=np.float64)
    index, count = cluster_index(clusters, len(y))
    if count < 2:
        raise TruingError("a win-rate needs at least two different prompts")
    scale = float(np.sqrt((gap**2).mean()))
    design = np.stack([np.ones_like(gap), np.tanh(gap / scale) if scale > 0 else np.zeros_like(gap)], axis=1)
    weights, hessian = _fit(design, y)
    scores = (y - expit(design @ weights))[:, None] * design
    totals = np.stack([np.bincount(index, scores[:, k], count) for k in range(2)], axis=1)
    inverse = np.linalg.inv(hessian)
    covariance = inverse @ (totals.T @ totals * count / (count - 1)) @ inverse
    half = t_quantile(count - 1) * math.sqrt(max(covariance[0, 0], 0.0))
    low, value, high = (float(expit(weights[0] + shift)) for shift in (-half, 0.0, half))
    return Estimate(value=value, low=low, high=high, n=count)


def _fit(design: Floats, y: Floats) -> tuple[Floats, Floats]:
    """Newton's method on the penalised logistic likelihood: weights, and the negative Hessian there."""
    weights = np.zeros(design.shape[1])
    prior = np.eye(design.shape[1]) / _PRIOR_SD**2
    hessian = prior
    for _ in range(_STEPS):
        p = expit(design @ weights)
        hessian = design.T @ (design * (p * (1 - p))[:, None]) + prior
        change = np.linalg.solve(hessian, design.T @ (y - p) - prior @ weights)
        weights = weights + change
        if np.abs(change).max() < 1e-10:
            break
    return weights, hessian
