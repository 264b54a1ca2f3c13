"""Two accounts, one person? Pairs of raters who agree more, or keep time together more, than other pairs do.

Agreement is held against what the rater model expects of these two on these comparisons, each answering for themself: the
quality differences, both reliabilities, tastes and habits are already in it, so two careful raters are not called one person
for both being right. Times are held together by the correlation of log seconds, what the length of the text explains taken off.

No model of answers is exact and hard comparisons slow everybody, so excess is measured from the median pair, in units of how
much pairs differ (an empirical null; Efron 2004), never less than chance alone gives:

    z = (excess - median excess) / (standard error * max(1, spread of pairs))        flagged beyond alpha / 2 / pairs (Bonferroni)

Legend: M comparisons that two raters share, T pairs tested.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import sparse, special

from truing.raters.checks import Flag
from truing.raters.columns import Columns
from truing.raters.config import ChecksConfig
from truing.raters.pairwise import RaterModel

Floats = NDArray[np.float64]
LEAST_TIMES = 10


class _Pair(NamedTuple):
    """Two raters' excess over expectation in agreement and in common time (NaN: too few times), with standard errors."""

    first: int
    second: int
    shared: int
    agreement: float
    expected: float
    agreement_error: float
    time: float
    time_error: float


def duplicate_flags(
    columns: Columns,
    model: RaterModel,
    style_JK: Floats,
    config: ChecksConfig,
    log_time_N: Floats | None = None,
) -> list[Flag]:
    """A flag for either rater of each suspicious pair. `log_time_N`: log seconds less what the text's length explains, NaN
    unknown.
    """
    times = np.full(len(columns.item_N), np.nan) if log_time_N is None else log_time_N
    pairs = [
        _measure(columns, model, style_JK, times, first, second, rows)
        for first, second, rows in overlapping(columns, config.duplicate_overlap)
    ]
    if not pairs:
        return []
    limit = config.duplicate_alpha / 2 / len(pairs)
    p_agreement_T = _p_values([p.agreement - p.expected for p in pairs], [p.agreement_error for p in pairs])
    p_time_T = _p_values([p.time for p in pairs], [p.time_error for p in pairs])
    found = [(pair, p, q) for pair, p, q in zip(pairs, p_agreement_T, p_time_T, strict=True) if min(p, q) < limit]
    return [flag for pair, p, q in found for flag in _flags(columns, pair, float(p), float(q), by_time=q < limit)]


def overlapping(columns: Columns, at_least: int) -> Iterator[tuple[int, int, NDArray[np.intp]]]:
    """Pairs of raters with at least so many comparisons in common, and their judgments of these. Rows (M, 2)."""
    ones = np.ones(len(columns.item_N))
    judged = sparse.csr_array((ones, (columns.rater_N, columns.item_N)), shape=(len(columns.raters), len(columns.comparisons)))
    shared = sparse.triu(judged @ judged.T, k=1).tocoo()
    rows_of = _rows_by_rater(columns)
    for first, second in zip(shared.row[shared.data >= at_least], shared.col[shared.data >= at_least], strict=True):
        common = sorted(rows_of[first].keys() & rows_of[second].keys())
        yield int(first), int(second), np.array([(rows_of[first][i], rows_of[second][i]) for i in common], dtype=np.intp)


def expected_agreement(
    columns: Columns, model: RaterModel, style_JK: Floats, first_M: NDArray[np.intp], second_M: NDArray[np.intp]
) -> Floats:
    """P(same answer) for judgments first_M and second_M of the same comparisons, averaged over what is uncertain of quality."""
    items = columns.item_N[first_M]

    def answers(rows: NDArray[np.intp]) -> Floats:
        return model.answers_by_node(items, columns.rater_N[rows], columns.left_N[rows], style_JK)

    return np.asarray(np.einsum("q,qnl,qnl->n", model.node_weights(), answers(first_M), answers(second_M)))


def _measure(
    columns: Columns,
    model: RaterModel,
    style_JK: Floats,
    times_N: Floats,
    first: int,
    second: int,
    rows_M2: NDArray[np.intp],
) -> _Pair:
    a, b = rows_M2.T
    expected = expected_agreement(columns, model, style_JK, a, b)
    agreement = float((columns.answer_N[a] == columns.answer_N[b]).mean())
    error = math.sqrt(float((expected * (1 - expected)).sum())) / len(a)
    time, time_error = _common_time(times_N[a], times_N[b])
    return _Pair(first, second, len(a), agreement, float(expected.mean()), error, time, time_error)


def _common_time(first_M: Floats, second_M: Floats) -> tuple[float, float]:
    """Fisher's z of the rank correlation of times, and its standard error (Fieller et al. 1957); NaN where there are too few."""
    known = np.isfinite(first_M) & np.isfinite(second_M)
    a, b = first_M[known], second_M[known]
    if len(a) < LEAST_TIMES or np.ptp(a) == 0 or np.ptp(b) == 0:
        return math.nan, math.nan
    from scipy import stats  # half a second to load, for this alone

    correlation = float(stats.spearmanr(a, b).statistic)
    return math.atanh(min(correlation, 1 - 1e-9)), math.sqrt(1.06 / (len(a) - 3))


def _p_values(excess: Sequence[float], errors: Sequence[float]) -> Floats:
    """One-sided, against the median pair and the spread of all; 1 where nothing was measured."""
    excess_T, error_T = np.asarray(excess), np.asarray(errors)
    known = np.isfinite(excess_T) & (error_T > 0)
    p_T = np.ones(len(excess_T))
    if known.any():
        z = (excess_T[known] - max(0.0, float(np.median(excess_T[known])))) / error_T[known]
        spread = max(1.0, float(np.median(np.abs(z))) / float(special.ndtri(0.75)))
        p_T[known] = special.ndtr(-z / spread)
    return p_T


def _flags(columns: Columns, pair: _Pair, p_agreement: float, p_time: float, *, by_time: bool) -> list[Flag]:
    evidence = {"shared": float(pair.shared), "agreement": pair.agreement, "expected": pair.expected}
    evidence |= {"p_agreement": p_agreement, "p_time": p_time}
    alike = f"{pair.agreement:.0%} alike on {pair.shared} shared comparisons, {pair.expected:.0%} expected"
    if by_time:
        alike += "; they take their time alike too"
    names = columns.raters[pair.first], columns.raters[pair.second]
    return [
        Flag(rater_id=one, kind="duplicate", message=f"answers like {other}: {alike}", evidence=evidence)
        for one, other in (names, names[::-1])
    ]


def _rows_by_rater(columns: Columns) -> Mapping[int, dict[int, int]]:
    found: dict[int, dict[int, int]] = {}
    for row, (rater, item) in enumerate(zip(columns.rater_N.tolist(), columns.item_N.tolist(), strict=True)):
        found.setdefault(rater, {})[item] = row
    return found
