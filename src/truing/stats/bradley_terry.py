"""Strengths from pairwise comparisons: Bradley & Terry (1952), and Davidson (1970) where ties have a probability of their own.

With d = strength of the first - strength of the second + effects * covariates:

    Bradley-Terry   P(first wins) = e^{d/2} / (e^{d/2} + e^{-d/2}) = sigmoid(d)          a tie is half a win of either
    Davidson        P(first), P(second), P(tie) in proportion to e^{d/2}, e^{-d/2}, nu   (his eq. 2.2, nu = e^tie)

Covariates are differences first - second of what may sway a judgment without being worth it (log length, Markdown, side): the
strengths are then those at equal style.

Legend: N comparisons, P players, C covariates, K parameters.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np
from numpy.typing import ArrayLike
from scipy import sparse

from truing.errors import TruingError
from truing.stats.strengths import Floats, Ints, Mask, Slopes, Strengths, check_connected, check_players, fit_strengths

TIE = 0.5


def bradley_terry(
    first_N: ArrayLike,
    second_N: ArrayLike,
    outcome_N: ArrayLike,
    players: Sequence[str],
    *,
    weight_N: ArrayLike | None = None,
    covariate_NC: ArrayLike | None = None,
    clusters: Sequence[Hashable] | None = None,
    ridge: float = 0.0,
) -> Strengths:
    """Fit of `outcome_N`, the first's share of the win: 1, 0, 0.5 for a tie, or a soft label. Players are numbers into `players`.

    `other` of the result has the C effects. `clusters` (items, or raters) widen the intervals for comparisons that vary together.
    `ridge` is the inverse variance of a normal prior on strengths; it gives a finite answer where there is none otherwise.
    Raises TruingError where wins do not connect the players (without ridge), covariates are collinear, or input does not fit.
    """
    return _fit(first_N, second_N, outcome_N, players, weight_N, covariate_NC, clusters, ridge, ties=False)


def davidson(
    first_N: ArrayLike,
    second_N: ArrayLike,
    outcome_N: ArrayLike,
    players: Sequence[str],
    *,
    weight_N: ArrayLike | None = None,
    covariate_NC: ArrayLike | None = None,
    clusters: Sequence[Hashable] | None = None,
    ridge: float = 0.0,
) -> Strengths:
    """Fit of `outcome_N`: 1 the first won, 0 the second, 0.5 a tie. `other` of the result has the C effects, then log nu.

    Arguments and errors are `bradley_terry`'s; also raised where outcomes are soft, there is no tie, or nothing but ties.
    """
    outcome = np.asarray(outcome_N, dtype=np.float64)
    if not np.isin(outcome, (0, TIE, 1)).all():
        raise TruingError("Davidson's model takes a win, a loss or a tie (1, 0, 0.5); for soft labels use bradley_terry")
    if (outcome == TIE).all() or (outcome != TIE).all():
        raise TruingError("Davidson's model needs ties and wins to tell how often players tie; use bradley_terry")
    return _fit(first_N, second_N, outcome, players, weight_N, covariate_NC, clusters, ridge, ties=True)


def _fit(
    first_N: ArrayLike,
    second_N: ArrayLike,
    outcome_N: ArrayLike,
    players: Sequence[str],
    weight_N: ArrayLike | None,
    covariate_NC: ArrayLike | None,
    clusters: Sequence[Hashable] | None,
    ridge: float,
    *,
    ties: bool,
) -> Strengths:
    first, second = np.asarray(first_N, dtype=np.intp), np.asarray(second_N, dtype=np.intp)
    outcome = np.asarray(outcome_N, dtype=np.float64)
    n = len(first)
    weight = np.ones(n) if weight_N is None else np.asarray(weight_N, dtype=np.float64)
    covariates = np.zeros((n, 0)) if covariate_NC is None else np.asarray(covariate_NC, dtype=np.float64).reshape(n, -1)
    _check(first, second, outcome, weight, players)
    if ridge <= 0:
        won, lost = (outcome > 0) & (weight > 0), (outcome < 1) & (weight > 0)
        check_connected(np.r_[first[won], second[lost]], np.r_[second[won], first[lost]], players)
    rows = np.arange(n)
    signs = sparse.csr_array((np.r_[np.ones(n), -np.ones(n)], (np.r_[rows, rows], np.r_[first, second])), shape=(n, len(players)))
    design = sparse.hstack([signs, sparse.csr_array(covariates)], format="csr")
    is_tie = (outcome == TIE) & ties
    return fit_strengths(
        lambda parameter_K: _slopes(parameter_K, design, outcome, weight, is_tie, ties=ties),
        np.zeros(design.shape[1] + ties),
        np.bincount(np.r_[first, second], minlength=len(players)),
        ridge=ridge,
        clusters=clusters,
    )


def _slopes(
    parameter_K: Floats, design: sparse.csr_array, outcome_N: Floats, weight_N: Floats, is_tie_N: Mask, *, ties: bool
) -> Slopes:
    """Of Davidson's log-likelihood, (outcome - 1/2) d + tie [tied] - log(e^{d/2} + e^{-d/2} + e^tie).

    Without the tie's term it is Bradley-Terry's, where a tie or a soft label is a share of a win.
    """
    d_N = design @ parameter_K[: design.shape[1]]
    tie = parameter_K[-1] if ties else -np.inf
    log_total_N = np.logaddexp(np.logaddexp(d_N / 2, -d_N / 2), tie)
    first_N, second_N, tied_N = np.exp(d_N / 2 - log_total_N), np.exp(-d_N / 2 - log_total_N), np.exp(tie - log_total_N)
    lead_N = (first_N - second_N) / 2
    value = (outcome_N - 0.5) * d_N - log_total_N + (is_tie_N * tie if ties else 0)
    scores = [design.multiply((weight_N * (outcome_N - 0.5 - lead_N))[:, None])]
    curvature_N = weight_N * (first_N * second_N + tied_N * (first_N + second_N) / 4)
    information = (design.T @ design.multiply(curvature_N[:, None])).toarray()
    if ties:
        scores.append(sparse.csr_array((weight_N * (is_tie_N - tied_N))[:, None]))
        across = design.T @ (-weight_N * lead_N * tied_N)
        own = (weight_N * tied_N * (1 - tied_N)).sum()
        information = np.block([[information, across[:, None]], [across[None, :], np.array([[own]])]])
    return Slopes(float(weight_N @ value), sparse.hstack(scores, format="csr"), information)


def _check(first_N: Ints, second_N: Ints, outcome_N: Floats, weight_N: Floats, players: Sequence[str]) -> None:
    if not len(first_N) == len(second_N) == len(outcome_N) == len(weight_N):
        lengths = [len(column) for column in (first_N, second_N, outcome_N, weight_N)]
        raise TruingError(f"first, second, outcomes and weights differ in length: {lengths}")
    check_players(players, first_N, second_N)
    if (first_N == second_N).any():
        raise TruingError("a player is compared with themself: leave such comparisons out")
    if outcome_N.min() < 0 or outcome_N.max() > 1 or weight_N.min() < 0:
        raise TruingError("outcomes are from 0 to 1 and weights not negative")
