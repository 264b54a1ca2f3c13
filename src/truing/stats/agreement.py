"""Agreement between raters, and what chance alone would give: percent agreement, Cohen's and Fleiss' kappa, Krippendorff's alpha.

Labels come in long format: row n says that rater `rater_N[n]` gave label `label_N[n]` to item `item_N[n]`. A missing label is a
row that is not there. Items with one label say nothing of agreement and are left out.

Intervals are percentile bootstraps over items, since the labels of one item are not independent. Where a statistic has no value
(every label the same: chance agreement is 1 already) it is NaN, and `undefined` says why.

Legend: N labels given, I items, L label values, U different rows of label counts, B resamples, F totals a statistic is made of.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Annotated, Any, Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import BeforeValidator, PlainSerializer

from truing.errors import TruingError
from truing.records import Record
from truing.stats.intervals import LEVEL, resampled_totals, wilson

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]
Level = Literal["nominal", "ordinal", "interval"]
NullableNumber = Annotated[
    float,
    BeforeValidator(lambda value: math.nan if value is None else value),
    PlainSerializer(lambda value: None if math.isnan(value) else value, when_used="json"),
]
"""NaN in Python, null in JSON."""
RESAMPLES = 1000


class Agreement(Record):
    """A statistic with its 95% interval, from `n` labels on `n_clusters` items; NaN with its reason in `undefined` if none."""

    value: NullableNumber
    low: NullableNumber
    high: NullableNumber
    n: int
    n_clusters: int
    undefined: str = ""


class _Counts(NamedTuple):
    """How often each value was given, for items with at least two labels; equal rows once, with their multiplicity."""

    counts_UL: Floats
    multiplicity_U: Ints
    values_L: NDArray[Any]

    @property
    def n_items(self) -> int:
        return int(self.multiplicity_U.sum())

    @property
    def n_labels(self) -> int:
        return int(self.multiplicity_U @ self.counts_UL.sum(axis=1))


def percent_agreement(
    item_N: ArrayLike, rater_N: ArrayLike, label_N: ArrayLike, *, seed: int = 0, resamples: int = RESAMPLES
) -> Agreement:
    """Probability that two random raters of an item gave it the same label: mean over items (Fleiss 1971, eq. 2 and 3).

    Not corrected for chance. At exactly 0 or 1 a bootstrap sees no spread: the interval is then Wilson's, one trial an item.
    Raises TruingError where there is no label, lengths differ, or a rater labels an item twice.
    """
    data = _count(item_N, rater_N, label_N)
    found = _estimate(data, _pair_agreement(data.counts_UL), lambda totals_BF: totals_BF[:, 0] / totals_BF[:, 1], seed, resamples)
    if found.value in {0.0, 1.0}:
        exact = wilson(found.value * data.n_items, data.n_items)
        return found.model_copy(update={"low": exact.low, "high": exact.high})
    return found


def fleiss_kappa(
    item_N: ArrayLike, rater_N: ArrayLike, label_N: ArrayLike, *, seed: int = 0, resamples: int = RESAMPLES
) -> Agreement:
    """(P - P_e) / (1 - P_e): P = `percent_agreement`, P_e = sum of squared shares of the labels (Fleiss 1971, eq. 3 to 7).

    Items may have different numbers of raters; with the same number it is the paper's. Raises as `percent_agreement`.
    """
    data = _count(item_N, rater_N, label_N)
    features = np.hstack([_pair_agreement(data.counts_UL), data.counts_UL])

    def kappa(totals_BF: Floats) -> Floats:
        observed, labels_BL = totals_BF[:, 0] / totals_BF[:, 1], totals_BF[:, 2:]
        expected = ((labels_BL / labels_BL.sum(axis=1, keepdims=True)) ** 2).sum(axis=1)
        return _corrected(1 - observed, 1 - expected)

    return _estimate(data, features, kappa, seed, resamples)


def cohen_kappa(
    item_N: ArrayLike, rater_N: ArrayLike, label_N: ArrayLike, *, seed: int = 0, resamples: int = RESAMPLES
) -> Agreement:
    """(p_o - p_e) / (1 - p_e) for two raters, p_e from each one's own shares of labels (Cohen 1960, eq. 1).

    Items that only one of them labelled are left out. Raises as `percent_agreement`, and where there are not two raters.
    """
    item, rater, label = _columns(item_N, rater_N, label_N)
    raters, rater = np.unique(rater, return_inverse=True)
    if len(raters) != 2:
        raise TruingError(f"Cohen's kappa is for two raters, not {len(raters)}: choose two, or use fleiss_kappa")
    both = np.intersect1d(item[rater == 0], item[rater == 1])
    values, label = np.unique(label, return_inverse=True)
    size = len(values)
    first, second = (label[rater == r][np.searchsorted(item[rater == r], both)] for r in (0, 1))
    cells = np.bincount(first * size + second, minlength=size**2)
    used = np.flatnonzero(cells)
    row, column = np.divmod(used, size)
    data = _Counts(np.eye(size)[row] + np.eye(size)[column], cells[used], values)

    def kappa(totals_BF: Floats) -> Floats:
        disagree, first_BL, second_BL = totals_BF[:, 0], totals_BF[:, 1 : 1 + size], totals_BF[:, 1 + size :]
        n_B = first_BL.sum(axis=1)
        return _corrected(disagree / n_B, 1 - (first_BL * second_BL).sum(axis=1) / n_B**2)

    features = np.hstack([(row != column)[:, None], np.eye(size)[row], np.eye(size)[column]])
    return _estimate(data, features, kappa, seed, resamples)


def krippendorff_alpha(
    item_N: ArrayLike,
    rater_N: ArrayLike,
    label_N: ArrayLike,
    level: Level = "nominal",
    *,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> Agreement:
    """1 - D_o / D_e, observed over expected disagreement of pairs of labels (Krippendorff 2004, section 11.3).

    An item of m labels adds its pairs with weight 1 / (m - 1). Disagreement of two values: 0 or 1 (nominal); the squared
    difference of their mid-ranks among all labels, in sorted order (ordinal); of the values themselves (interval).
    Raises as `percent_agreement`.
    """
    data = _count(item_N, rater_N, label_N)
    size = len(data.values_L)
    pairs_ULL = data.counts_UL[:, :, None] * (data.counts_UL[:, None, :] - np.eye(size))
    coincidences = pairs_ULL / (data.counts_UL.sum(axis=1) - 1)[:, None, None]

    def alpha(totals_BF: Floats) -> Floats:
        coincidences_BLL = totals_BF.reshape(-1, size, size)
        labels_BL = coincidences_BLL.sum(axis=2)
        distances_BLL = _distances(level, data.values_L, labels_BL)
        expected = np.einsum("bi,bj,bij->b", labels_BL, labels_BL, distances_BLL) / (labels_BL.sum(axis=1) - 1)
        return _corrected((coincidences_BLL * distances_BLL).sum(axis=(1, 2)), expected)

    return _estimate(data, coincidences.reshape(len(coincidences), size**2), alpha, seed, resamples)


def _distances(level: Level, values_L: NDArray[Any], labels_BL: Floats) -> Floats:
    if level == "nominal":
        return np.broadcast_to(1 - np.eye(len(values_L)), (len(labels_BL), len(values_L), len(values_L)))
    if level == "ordinal":
        places_BL = np.cumsum(labels_BL, axis=1) - labels_BL / 2
    else:
        places_BL = np.broadcast_to(values_L.astype(np.float64), labels_BL.shape)
    return np.asarray((places_BL[:, :, None] - places_BL[:, None, :]) ** 2)


def _corrected(disagreement_B: Floats, by_chance_B: Floats) -> Floats:
    """1 - disagreement / what chance gives; NaN where chance gives none."""
    possible = by_chance_B > 1e-12
    return np.where(possible, 1 - disagreement_B / np.where(possible, by_chance_B, 1), np.nan)


def _pair_agreement(counts_UL: Floats) -> Floats:
    """Columns: share of an item's pairs of labels that agree, and 1."""
    m_U = counts_UL.sum(axis=1)
    agree_U = (counts_UL * (counts_UL - 1)).sum(axis=1) / (m_U * (m_U - 1))
    return np.stack([agree_U, np.ones_like(agree_U)], axis=1)


def _estimate(data: _Counts, features_UF: Floats, statistic: Callable[[Floats], Floats], seed: int, resamples: int) -> Agreement:
    """The statistic of all items, with the percentile interval over the resamples in which it has a value."""
    if data.n_items < 2:
        return _nothing(data, f"agreement needs at least two items with two labels each; there is {data.n_items}")
    value = float(statistic((data.multiplicity_U @ features_UF)[None])[0])
    if math.isnan(value):
        return _nothing(data, "every label is the same: with no variation, agreement by chance is complete already")
    resampled = statistic(resampled_totals(features_UF, data.multiplicity_U, seed=seed, resamples=resamples))
    low, high = np.nanquantile(resampled, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Agreement(value=value, low=float(low), high=float(high), n=data.n_labels, n_clusters=data.n_items)


def _nothing(data: _Counts, reason: str) -> Agreement:
    return Agreement(value=math.nan, low=math.nan, high=math.nan, n=data.n_labels, n_clusters=data.n_items, undefined=reason)


def _count(item_N: ArrayLike, rater_N: ArrayLike, label_N: ArrayLike) -> _Counts:
    item, _, label = _columns(item_N, rater_N, label_N)
    _, item, labels_I = np.unique(item, return_inverse=True, return_counts=True)
    paired_N = labels_I[item] > 1
    values, label = np.unique(label[paired_N], return_inverse=True)
    _, item = np.unique(item[paired_N], return_inverse=True)
    n_items, size = int((labels_I > 1).sum()), len(values)
    counts_IL = np.bincount(item * size + label, minlength=n_items * size).reshape(n_items, size)
    counts_UL, multiplicity_U = np.unique(counts_IL, axis=0, return_counts=True)
    return _Counts(counts_UL.astype(np.float64), multiplicity_U, values)


def _columns(item_N: ArrayLike, rater_N: ArrayLike, label_N: ArrayLike) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Columns sorted by item, then rater, once checked."""
    item, rater, label = np.asarray(item_N), np.asarray(rater_N), np.asarray(label_N)
    if not len(item) == len(rater) == len(label):
        raise TruingError(f"items, raters and labels differ in length: {len(item)}, {len(rater)}, {len(label)}")
    if len(item) == 0:
        raise TruingError("no agreement without labels: none were given")
    order = np.lexsort((rater, item))
    item, rater, label = item[order], rater[order], label[order]
    if ((item[1:] == item[:-1]) & (rater[1:] == rater[:-1])).any():
        raise TruingError(
            "a rater labels an item twice: keep one label each (a blind repeat is the rater's agreement with themself)"
        )
    return item, rater, label
