"""Strengths of players from comparisons: what Bradley-Terry and Plackett-Luce share, by Newton steps, with intervals.

Strengths are logits that sum to zero; only differences mean anything. Maximum likelihood is finite only where wins lead from
every player to every other (Ford 1957): else someone's strength has no bound, or two groups were never compared, and there is
no result.

Legend: N comparisons, P players, K parameters (the P strengths first), G clusters.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse import csgraph

from truing.errors import TruingError
from truing.records import Estimate
from truing.stats.intervals import cluster_index, normal_quantile, t_quantile

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]
Mask = NDArray[np.bool_]
_MAX_STEPS = 100
_MAX_HALVINGS = 30
_SMALL_STEP = 1e-8
_ROUNDING = 1e-13
_DECIDED = 1e-10
"""A parameter that has lost this share of its information runs off: what it bears on is certain already."""
_COLLINEAR = 1e-10


class Slopes(NamedTuple):
    """Log-likelihood, each comparison's score (its gradient in the parameters) and the information (negative Hessian)."""

    log_likelihood: float
    score_NK: sparse.csr_array
    information_KK: Floats


class Strengths(NamedTuple):
    """Strengths of the players (logits, mean zero), then other parameters, with the covariance of all.

    `comparisons_P` counts each player's comparisons; `units` independent units stand behind the covariance (clusters, or
    comparisons); `quantile` times the standard error is half a 95% interval.
    """

    parameter_K: Floats
    covariance_KK: Floats
    comparisons_P: Ints
    units: int
    quantile: float
    log_likelihood: float

    @property
    def strength_P(self) -> Floats:
        """Strength of each player, in logits above the mean of all."""
        return self.parameter_K[: len(self.comparisons_P)]

    @property
    def other(self) -> tuple[Estimate, ...]:
        """The parameters beyond the strengths, in the order in which the model names them."""
        return tuple(self._estimate(k, self.units) for k in range(len(self.comparisons_P), len(self.parameter_K)))

    def estimates(self) -> tuple[Estimate, ...]:
        """Each player's strength with its interval; n = comparisons of that player."""
        return tuple(self._estimate(player, int(n)) for player, n in enumerate(self.comparisons_P))

    def difference(self, first: int, second: int) -> Estimate:
        """Strength of `first` - strength of `second`, with the interval that knows how the two vary together."""
        contrast = np.zeros(len(self.parameter_K))
        contrast[first] += 1
        contrast[second] -= 1
        return self._interval(float(contrast @ self.parameter_K), float(contrast @ self.covariance_KK @ contrast), self.units)

    def _estimate(self, k: int, n: int) -> Estimate:
        return self._interval(float(self.parameter_K[k]), float(self.covariance_KK[k, k]), n)

    def _interval(self, value: float, variance: float, n: int) -> Estimate:
        half = self.quantile * math.sqrt(max(0.0, variance))
        return Estimate(value=value, low=value - half, high=value + half, n=n)


def fit_strengths(
    slopes: Callable[[Floats], Slopes],
    start_K: Floats,
    comparisons_P: Ints,
    *,
    ridge: float = 0.0,
    clusters: Sequence[Hashable] | None = None,
) -> Strengths:
    """Maximise the log-likelihood - ridge / 2 * sum of squared strengths, by Newton steps that are halved until they climb.

    Covariance: the inverse information, or with `clusters` the sandwich G/(G - 1) * H^-1 (sum over clusters of s s') H^-1, s the
    sum of a cluster's scores (Liang & Zeger 1986), and Student's t with G - 1 degrees of freedom.
    Raises TruingError where parameters cannot be told apart or no maximum is found.
    """
    is_strength_K = np.arange(len(start_K)) < len(comparisons_P)
    penalty_K = np.asarray(ridge * is_strength_K, dtype=np.float64)
    level_K = is_strength_K / math.sqrt(len(comparisons_P))
    parameter, here = start_K, slopes(start_K)
    least_K = _DECIDED * here.information_KK.diagonal()
    for _ in range(_MAX_STEPS):
        if (here.information_KK.diagonal() < least_K).any():
            break
        inverse = _inverse(here.information_KK + np.diag(penalty_K), level_K)
        gradient = np.asarray(here.score_NK.sum(axis=0)) - penalty_K * parameter
        step = np.asarray(inverse @ gradient, dtype=np.float64)
        if (np.abs(step) <= _SMALL_STEP * (1 + np.abs(parameter))).all():
            covariance, units, quantile = _covariance(inverse, here.score_NK, clusters)
            return Strengths(parameter, covariance, comparisons_P, units, quantile, here.log_likelihood)
        parameter, here = _climb(slopes, parameter, here, step, penalty_K)
    raise TruingError(
        "no finite maximum was found: a covariate may decide every comparison it differs in. Leave it out, or give a ridge"
    )


def check_connected(winner_M: Ints, loser_M: Ints, players: Sequence[str]) -> None:
    """Raises TruingError unless a chain of wins leads from every player to every other (a tie is a win both ways)."""
    count = len(players)
    wins = sparse.coo_array((np.ones(len(winner_M)), (winner_M, loser_M)), shape=(count, count)).tocsr()
    groups, group_P = csgraph.connected_components(wins, directed=True, connection="weak")
    if groups > 1:
        apart = _names(players, group_P == group_P[int(np.bincount(group_P)[group_P].argmin())])
        raise TruingError(f"{apart} were never compared with the rest: compare them, leave them out, or give a ridge")
    groups, group_P = csgraph.connected_components(wins, directed=True, connection="strong")
    if groups > 1:
        row, column = wins.nonzero()
        lost_to_others = np.bincount(group_P[column], group_P[row] != group_P[column], groups) > 0
        unbeaten = _names(players, group_P == int(np.flatnonzero(~lost_to_others)[0]))
        raise TruingError(
            f"{unbeaten} never lost to any of the rest, so no finite strength fits: collect more comparisons, or give a ridge"
        )


def check_players(players: Sequence[str], *numbers: Ints) -> None:
    """Raises TruingError where there is no comparison, or a number stands for no player."""
    if len(numbers[0]) == 0:
        raise TruingError("no strengths without comparisons: none were given")
    if any(column.min() < 0 or column.max() >= len(players) for column in numbers):
        raise TruingError(f"players are numbered 0 to {len(players) - 1}")


def _names(players: Sequence[str], chosen_P: NDArray[np.bool_]) -> str:
    names = [f"'{players[int(p)]}'" for p in np.flatnonzero(chosen_P)]
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def _climb(
    slopes: Callable[[Floats], Slopes], parameter_K: Floats, here: Slopes, step_K: Floats, penalty_K: Floats
) -> tuple[Floats, Slopes]:
    def objective(at: Slopes, values_K: Floats) -> float:
        return at.log_likelihood - float(penalty_K @ values_K**2) / 2

    enough = objective(here, parameter_K) - _ROUNDING * abs(here.log_likelihood)
    for halving in range(_MAX_HALVINGS):
        candidate = parameter_K + step_K / 2**halving
        there = slopes(candidate)
        if objective(there, candidate) >= enough:
            return candidate, there
    return parameter_K, here


def _inverse(information_KK: Floats, level_K: Floats) -> Floats:
    """Inverse among parameters whose strengths sum to zero: adding to all strengths changes nothing, so it is taken out."""
    pinned = information_KK + information_KK.diagonal().mean() * np.outer(level_K, level_K)
    scale_K = np.sqrt(np.diag(pinned))
    if scale_K.min() == 0 or np.linalg.eigvalsh(pinned / np.outer(scale_K, scale_K))[0] < _COLLINEAR:
        raise TruingError("a covariate never varies, or follows from the others and the players: leave it out")
    inverse = np.linalg.inv(pinned)
    centred = np.eye(len(level_K)) - np.outer(level_K, level_K)
    return np.asarray(centred @ inverse @ centred)


def _covariance(inverse_KK: Floats, score_NK: sparse.csr_array, clusters: Sequence[Hashable] | None) -> tuple[Floats, int, float]:
    rows = score_NK.shape[0]
    if clusters is None:
        return inverse_KK, rows, normal_quantile()
    index, count = cluster_index(clusters, rows)
    if count < 2:
        raise TruingError(f"clustered intervals need at least two clusters; there is {count}")
    membership = sparse.csr_array((np.ones(rows), (index, np.arange(rows))), shape=(count, rows))
    total_GK = (membership @ score_NK).toarray()
    meat = count / (count - 1) * total_GK.T @ total_GK
    return inverse_KK @ meat @ inverse_KK, count, t_quantile(count - 1)
