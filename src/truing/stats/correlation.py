"""Partial correlation within groups, with an interval that holds under clustered, uneven noise."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from truing.records import Estimate
from truing.stats.intervals import cluster_index, t_quantile

Floats = NDArray[np.float64]
MIN_GROUPS = 5
_SAME = 1e-9


def partial_correlation(
    first: ArrayLike, second: ArrayLike, controls: Sequence[ArrayLike] = (), groups: Sequence[Hashable] | None = None
) -> Estimate | None:
    """Correlation of `first` and `second` after group means and a linear fit on `controls` are taken off both.

    With `groups`, all variation is within a group (say, a prompt) and a group counts once in the interval: Fisher's
    z = atanh(r) +- t * se, se from the influence function of r, u = xy - r (x^2 + y^2)/2 for residuals x, y of unit
    sum of squares, summed within each group. Without groups each row is its own group, after one common mean.
    None where fewer than five groups vary, or nothing is left of either variable: there is then nothing to estimate.
    """
    x, y = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    if len(x) == 0:
        return None
    columns = [np.asarray(control, dtype=np.float64) for control in controls]
    if groups is None:
        mean_of, cluster, count = np.zeros(len(x), dtype=np.intp), np.arange(len(x)), len(x)
    else:
        cluster, count = cluster_index(groups, len(x))
        mean_of = cluster
    x, y, *columns = (_centred(column, mean_of) for column in (x, y, *columns))
    scale_x, scale_y = _norm(x), _norm(y)
    x, y = _residual(x, columns), _residual(y, columns)
    if _norm(x) <= _SAME * max(scale_x, 1) or _norm(y) <= _SAME * max(scale_y, 1):
        return None
    x, y = x / _norm(x), y / _norm(y)
    varying = int((np.bincount(cluster, np.abs(x) + np.abs(y), count) > _SAME).sum())
    if varying < MIN_GROUPS:
        return None
    r = float(np.clip(x @ y, -1 + 1e-12, 1 - 1e-12))
    influence = np.bincount(cluster, x * y - r * (x**2 + y**2) / 2, count)
    error = math.sqrt(varying / (varying - 1) * float((influence**2).sum())) / (1 - r**2)
    half = t_quantile(varying - 1) * error
    z = math.atanh(r)
    return Estimate(value=r, low=math.tanh(z - half), high=math.tanh(z + half), n=varying)


def _centred(column: Floats, index: NDArray[np.intp]) -> Floats:
    return column - (np.bincount(index, column) / np.bincount(index))[index]


def _residual(column: Floats, controls: list[Floats]) -> Floats:
    if not controls:
        return column
    design = np.stack(controls, axis=1)
    coefficients, *_ = np.linalg.lstsq(design, column, rcond=None)
    return np.asarray(column - design @ coefficients)


def _norm(column: Floats) -> float:
    return float(np.sqrt((column**2).sum()))
