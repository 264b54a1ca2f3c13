"""Strengths from rankings: the best of those left is chosen again and again (Luce 1959, Plackett 1975).

    P(ranking r) = product over places k of exp(strength of r_k) / sum over places j >= k of exp(strength of r_j)

With two players a ranking it is Bradley-Terry.

Legend: N rankings, M places, P players, K = P parameters.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np
from numpy.typing import ArrayLike
from scipy import sparse, special

from truing.errors import TruingError
from truing.stats.strengths import Floats, Ints, Mask, Slopes, Strengths, check_connected, check_players, fit_strengths

ABSENT = -1


def plackett_luce(
    ranking_NM: ArrayLike,
    players: Sequence[str],
    *,
    weight_N: ArrayLike | None = None,
    clusters: Sequence[Hashable] | None = None,
    ridge: float = 0.0,
) -> Strengths:
    """Fit of rankings, best first, as numbers into `players`; shorter ones end in -1. Other arguments are `bradley_terry`'s.

    Raises TruingError where a ranking has a player twice or fewer than two, or wins do not connect the players (without ridge).
    """
    ranking = np.asarray(ranking_NM, dtype=np.intp)
    if ranking.ndim != 2:
        raise TruingError("rankings come as a table, one a row, best first, shorter ones filled with -1")
    weight = np.ones(len(ranking)) if weight_N is None else np.asarray(weight_N, dtype=np.float64)
    is_there = ranking != ABSENT
    check_players(players, ranking[is_there])
    _check(ranking, is_there, weight)
    if ridge <= 0:
        follows = is_there[:, 1:] & (weight > 0)[:, None]
        check_connected(ranking[:, :-1][follows], ranking[:, 1:][follows], players)
    return fit_strengths(
        lambda strength_P: _slopes(strength_P, ranking, is_there, weight),
        np.zeros(len(players)),
        np.bincount(ranking[is_there], minlength=len(players)),
        ridge=ridge,
        clusters=clusters,
    )


def _slopes(strength_P: Floats, ranking_NM: Ints, is_there_NM: Mask, weight_N: Floats) -> Slopes:
    """Each place is a choice among those left with probabilities p: its score is (chosen) - p, its information diag(p) - p p'."""
    n, places = ranking_NM.shape
    player_NM = np.where(is_there_NM, ranking_NM, 0)
    strength_NM = np.where(is_there_NM, strength_P[player_NM], -np.inf)
    score, information, value = sparse.csr_array((n, len(strength_P))), np.zeros((len(strength_P),) * 2), 0.0
    for place in range(places - 1):
        chooses_N = is_there_NM[:, place + 1]
        weights = weight_N * chooses_N
        left_NM = np.where(chooses_N[:, None], strength_NM[:, place:], 0)
        log_total_N = special.logsumexp(left_NM, axis=1)
        value += float(weights @ (left_NM[:, 0] - log_total_N))
        chance_NM = np.exp(left_NM - log_total_N[:, None])
        chance = _spread(chance_NM, player_NM[:, place:], len(strength_P))
        weighted = chance.multiply(weights[:, None]).tocsr()
        chosen = _spread(weights[:, None], player_NM[:, place : place + 1], len(strength_P))
        score = score + chosen - weighted
        information += np.diag(np.asarray(weighted.sum(axis=0))) - (chance.T @ weighted).toarray()
    return Slopes(value, score, information)


def _spread(entry_NM: Floats, player_NM: Ints, n_players: int) -> sparse.csr_array:
    """Entries of each row at its players' columns."""
    rows = np.repeat(np.arange(len(entry_NM)), entry_NM.shape[1])
    return sparse.csr_array((entry_NM.ravel(), (rows, player_NM.ravel())), shape=(len(entry_NM), n_players))


def _check(ranking_NM: Ints, is_there_NM: Mask, weight_N: Floats) -> None:
    if len(weight_N) != len(ranking_NM) or weight_N.min() < 0:
        raise TruingError(f"one weight, not negative, for each of {len(ranking_NM)} rankings; there are {len(weight_N)}")
    if (is_there_NM[:, 1:] & ~is_there_NM[:, :-1]).any() or ranking_NM.shape[1] < 2 or not is_there_NM[:, :2].all():
        raise TruingError("a ranking has at least two players, best first, and -1 only at its end")
    ordered = np.sort(ranking_NM, axis=1)
    if ((ordered[:, 1:] == ordered[:, :-1]) & (ordered[:, 1:] != ABSENT)).any():
        raise TruingError("a player stands twice in a ranking")
