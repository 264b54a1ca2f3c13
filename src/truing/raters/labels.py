"""Judgments become labels to train on: one preference pair a comparison, with the probability that `chosen` is better and a
weight.

    majority     the share of judgments that chose it, ties half; every pair weighs 1
    dawid_skene  the posterior of the true label given each rater's confusion matrix; every pair weighs 1
    rater_model  P(first preferred) by a reliable reader without bias; a pair weighs by how much the judgments say of it

`losses/reward.py` and `losses/preference.py` take label and weight as they are.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import special

from truing.raters.columns import Columns, to_columns
from truing.raters.config import How
from truing.raters.evidence import Answers
from truing.raters.pairwise import RaterModel, fit_answers, make_answers
from truing.raters.style import style_of
from truing.records import Comparison, Judgment, PreferencePair
from truing.stats.dawid_skene import dawid_skene

Floats = NDArray[np.float64]
LEAST_WEIGHT = 0.01
RELIABLE_QUANTILE = 0.75
"""A reliable reader is as reliable as the rater behind a judgment at this quantile of all judgments."""


class Labels(NamedTuple):
    """Of each judged comparison: P(first is better), and the weight of its loss (1 on average)."""

    p_first_J: Floats
    weight_J: Floats


def soft_labels(
    comparisons: Sequence[Comparison],
    judgments: Iterable[Judgment],
    how: How = "majority",
    *,
    down_weighted: Mapping[str, tuple[int, float]] | None = None,
) -> list[PreferencePair]:
    """One pair a judged comparison, in the comparisons' order; `chosen` is the better one by the label, `first` at exactly 0.5.

    `down_weighted` gives, for a rater, the weight of their judgments from the k-th on (`advice.down_weights`).
    Repeats do not count. Raises TruingError as `to_columns`, and where there is no judgment.
    """
    given = list(judgments)
    columns = to_columns(comparisons, given)
    labels = LABELS[how](columns, columns.weights(down_weighted or {}))
    votes: dict[str, list[Judgment]] = defaultdict(list)
    for judgment in given:
        if not judgment.repeat:
            votes[judgment.comparison_id].append(judgment)
    made = {
        c.comparison_id: _pair(c, votes[c.comparison_id], float(p), float(w))
        for c, p, w in zip(columns.comparisons, *labels, strict=True)
    }
    return [made[c.comparison_id] for c in comparisons if c.comparison_id in made]


def fit_columns(columns: Columns, weight_N: Floats | None = None) -> RaterModel:
    """The pairwise rater model of judgments, with the style of their comparisons and what gold there is."""
    return fit_answers(to_answers(columns, weight_N), columns.gold_J)


def to_answers(columns: Columns, weight_N: Floats | None = None) -> Answers:
    """What the pairwise rater model is fitted to."""
    style_JK = style_of(columns.comparisons).style_JK
    given = columns.item_N, columns.rater_N, columns.answer_N, columns.left_N, style_JK
    return make_answers(*given, columns.levels, len(columns.raters), weight_N)


def unbiased_labels(model: RaterModel) -> Labels:
    """E[sigma(alpha * dq)] for a reliable reader, over what is uncertain of dq; weight = 1 - Var(dq) / its prior variance.

    Bias terms play no part: they went into explaining who answered what. The label of a comparison of which little is known is
    near 0.5 for want of knowledge, not because the answers are equally good, which is why it also weighs little.
    """
    order = np.argsort(model.alpha_R)
    share = np.cumsum(model.judgments_R[order]) / model.judgments_R.sum()
    alpha = max(float(model.alpha_R[order][np.searchsorted(share, RELIABLE_QUANTILE)]), 0.0)
    at, weights = np.polynomial.hermite_e.hermegauss(15)
    logits = alpha * (model.dq_J[:, None] + model.dq_sd_J[:, None] * at)
    p_first = special.expit(logits) @ (weights / weights.sum())
    weight = np.clip(1 - model.dq_sd_J**2, LEAST_WEIGHT, None)
    return Labels(p_first, weight / weight.mean())


def _majority(columns: Columns, weight_N: Floats) -> Labels:
    total = np.bincount(columns.item_N, weight_N)
    worth = np.bincount(columns.item_N, weight_N * (1 + columns.side_N) / 2)
    share = np.where(total > 0, worth / np.where(total > 0, total, 1), 0.5)
    return Labels(share, np.ones(len(share)))


def _dawid_skene(columns: Columns, weight_N: Floats) -> Labels:
    gold = np.where(np.isnan(columns.gold_J), -1, 1 - np.nan_to_num(columns.gold_J)).astype(np.intp)
    fit = dawid_skene(columns.item_N, columns.rater_N, 1 - columns.side_N, 3, weight_N=weight_N, known_I=gold)
    first, tie, _ = fit.posterior_IL.T
    return Labels(first + tie / 2, np.ones(len(first)))


def _rater_model(columns: Columns, weight_N: Floats) -> Labels:
    return unbiased_labels(fit_columns(columns, weight_N))


LABELS: Mapping[How, Callable[[Columns, Floats], Labels]] = {
    "majority": _majority,
    "dawid_skene": _dawid_skene,
    "rater_model": _rater_model,
}
"""Every way to make labels, by the name a recipe gives it."""


def _pair(comparison: Comparison, votes: Sequence[Judgment], p_first: float, weight: float) -> PreferencePair:
    texts = (comparison.first, comparison.second) if p_first >= 0.5 else (comparison.second, comparison.first)
    return PreferencePair(
        comparison_id=comparison.comparison_id,
        prompt=comparison.prompt,
        chosen=texts[0],
        rejected=texts[1],
        label=min(1.0, max(p_first, 1 - p_first)),
        weight=weight,
        judgments=len(votes),
        guideline_hash=votes[0].guideline_hash,
        simulated=any(v.simulated for v in votes),
        ranking=comparison.group,
        propensity=comparison.propensity,
    )
