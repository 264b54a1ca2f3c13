"""Two accounts, one person? Pairs of raters who agree more, or keep time together more, than their comparisons explain.

Agreement is held against what the rater model expects of these two on these comparisons, each answering for themself: the quality
differences, both reliabilities, both tastes and habits are already in it, so two careful raters are not called one person for both
being right. The answers under test were part of what the model learned from, which makes the test cautious.

    z = sum(agrees - P(agrees)) / sqrt(sum P (1 - P)),    each pair at alpha / 2 / pairs tested (Bonferroni)

Times: the correlation of both raters' log seconds on the comparisons they share, what the length of the text explains taken off.

Legend: M comparisons that two raters share.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy import stats as distributions

from truing.raters.checks import Flag
from truing.raters.columns import Columns
from truing.raters.config import ChecksConfig
from truing.raters.pairwise import RaterModel

Floats = NDArray[np.float64]
LEAST_TIMES = 10


def duplicate_flags(
    columns: Columns,
    model: RaterModel,
    style_JK: Floats,
    config: ChecksConfig,
    log_time_N: Floats | None = None,
) -> list[Flag]:
    """A flag for either rater of each suspicious pair. `log_time_N`: log seconds less what the text's length explains, NaN unknown."""
    pairs = list(overlapping(columns, config.duplicate_overlap))
    limit = config.duplicate_alpha / 2 / max(1, len(pairs))
    flags = []
    for first, second, rows_M2 in pairs:
        a, b = rows_M2.T
        agrees = columns.answer_N[a] == columns.answer_N[b]
        expected = expected_agreement(columns, model, style_JK, a, b)
        p_agreement = _p_agreement(agrees, expected)
        p_time = 1.0 if log_time_N is None else _p_time(log_time_N[a], log_time_N[b])
        if min(p_agreement, p_time) < limit:
            evidence = {
                "shared": float(len(a)),
                "agreement": float(agrees.mean()),
                "expected": float(expected.mean()),
                "p_agreement": p_agreement,
                "p_time": p_time,
            }
            for one, other in ((first, second), (second, first)):
                message = f"answers like {columns.raters[other]}: {agrees.mean():.0%} alike on {len(a)} shared comparisons, "
                message += f"{expected.mean():.0%} expected"
                message += "; they also take their time alike" if p_time < limit else ""
                flags.append(Flag(rater_id=columns.raters[one], kind="duplicate", message=message, evidence=evidence))
    return flags


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


def _p_agreement(agrees: NDArray[np.bool_], expected: Floats) -> float:
    spread = math.sqrt(float((expected * (1 - expected)).sum()))
    excess = float(agrees.sum() - expected.sum()) - 0.5
    return float(distributions.norm.sf(excess / spread)) if spread > 0 else 1.0


def _p_time(first_M: Floats, second_M: Floats) -> float:
    """One-sided p-value of the correlation of times (t test), 1 where there are too few."""
    known = np.isfinite(first_M) & np.isfinite(second_M)
    a, b = first_M[known], second_M[known]
    if len(a) < LEAST_TIMES or np.ptp(a) == 0 or np.ptp(b) == 0:
        return 1.0
    return float(distributions.spearmanr(a, b, alternative="greater").pvalue)


def _rows_by_rater(columns: Columns) -> Mapping[int, dict[int, int]]:
    found: dict[int, dict[int, int]] = {}
    for row, (rater, item) in enumerate(zip(columns.rater_N.tolist(), columns.item_N.tolist(), strict=True)):
        found.setdefault(rater, {})[item] = row
    return found
