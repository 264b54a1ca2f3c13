"""Whose answers cannot be told from a coin-flipper's? A score test of each rater against what all the others' answers say.

The fitted reliability does not answer that: it is drawn to the other raters', so one with few judgments looks reliable, and so
does one who always takes the left, whose answers say nothing else. Here a rater's habits (side, style, ties) are fitted without
any reliability; then the score of reliability at 0 asks whether the quality that the others' answers show explains more (Rao
1948). Wald's test, estimate over error, would be weaker: the error grows with reliability.

The level is 1% a rater: at the usual 5%, one of five coin-flippers would be taken for a rater in nearly a quarter of all crowds,
at 1% in a twentieth. A level of the whole crowd (Holm 1979) is as good among 25 raters; among thousands it tells next to nobody.

Legend: N judgments, J comparisons, R raters, K style columns, Q quadrature nodes.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from truing.raters.evidence import Answers, Quality, expect, unpack
from truing.raters.pairwise import RaterModel

Floats = NDArray[np.float64]
HABIT_SD = 3.0
"""Of a habit, around none: wide, because one who always takes the left may."""
STEPS = 10
LARGEST_STEP = 1.0
NODES = 21
LEVEL = 0.01
"""Probability that a coin-flipper is taken for a rater."""


def coin_z(answers: Answers, model: RaterModel) -> Floats:
    """Standard normal for a coin-flipper, large for one who answers by quality, far below 0 for one who answers against it.

    Shape (R,). `model` is the fit of these answers. Weights are left aside.
    """
    n, tested = len(answers.item_N), 2 + answers.style_JK.shape[1]
    shown_NK = np.column_stack([answers.style_JK[answers.item_N], quality_by_others(answers, model)])
    alone = answers._replace(item_N=np.arange(n, dtype=np.int32), weight_N=np.ones(n), style_JK=shown_NK)
    unused = Quality(np.zeros(n), np.ones(n))
    size = alone.n_parameters
    habits = np.setdiff1d(np.arange(1, size), tested)
    usual = np.concatenate([np.zeros(tested + 1), model.population.mean_D[tested:]])
    theta = np.tile(usual, (answers.n_raters, 1))
    for _ in range(STEPS):
        found = expect(alone, theta, unused, unused, nodes=1)
        information = unpack(found.complete_RP, size) + HABIT_SD**-2 * np.eye(size)
        own = information[:, habits[:, None], habits]
        score = found.gradient_RD[:, habits] - HABIT_SD**-2 * (theta - usual)[:, habits]
        theta[:, habits] += np.clip(np.linalg.solve(own, score[:, :, None])[:, :, 0], -LARGEST_STEP, LARGEST_STEP)
    shared = information[:, habits, tested]
    explained = np.einsum("rh,rh->r", shared, np.linalg.solve(own, shared[:, :, None])[:, :, 0])
    return np.asarray(found.gradient_RD[:, tested] / np.sqrt(information[:, tested, tested] - explained))


def told_from_coins(coin_z_R: ArrayLike) -> NDArray[np.bool_]:
    """True for who answers by quality, or against it, and not as a coin would: tested on both sides at LEVEL. Shape (R,)."""
    return np.asarray(np.abs(coin_z_R) > special.ndtri(1 - LEVEL / 2))


def quality_by_others(answers: Answers, model: RaterModel) -> Floats:
    """The mean quality difference of each judgment's item given gold and all its judgments but this one. Shape (N,)."""
    item, style = answers.item_N, answers.style_JK
    at, weights = np.polynomial.hermite_e.hermegauss(NODES)
    dq_QJ = model.prior.mean_J + style @ model.quality_effect_K + model.prior.sd_J * at[:, None]
    p_QNL = model.answers_given(dq_QJ[:, item], item, answers.rater_N, answers.left_N, style)
    log_p_QN = np.log(p_QNL[:, np.arange(len(item)), answers.answer_N + answers.levels])
    joint_QJ = np.stack([np.bincount(item, row, len(style)) for row in log_p_QN]) + np.log(weights)[:, None]
    others_QN = special.softmax(joint_QJ[:, item] - log_p_QN, axis=0)
    return np.asarray((others_QN * dq_QJ[:, item]).sum(axis=0))
