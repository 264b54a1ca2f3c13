"""Which policy do raters prefer? Strengths from judgments of comparisons whose policies are known, at equal style and side.

Davidson's model where there are ties, Bradley-Terry's else (`stats/bradley_terry.py`). Style differences (`style.py`) and the
side shown are covariates: what length or the left gains is not counted as strength. Intervals are clustered by comparison.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from truing.errors import TruingError
from truing.raters.columns import Columns, to_columns
from truing.raters.style import style_of
from truing.records import Comparison, Estimate, Judgment, Record
from truing.stats.bradley_terry import bradley_terry, davidson
from truing.stats.strengths import Strengths

UNKNOWN = "unknown"


class Standing(Record):
    """A policy's strength in logits above the mean of all; the ranks it may have, given which differences are sure.

    `plain` is its strength without style control. `wins` is its share of its judgments, ties half. n counts its judgments.
    """

    policy: str
    strength: Estimate
    plain: Estimate
    wins: float
    best_rank: int
    worst_rank: int


class Leaderboard(Record):
    """Policies, the strongest first; what a doubling of length or of markdown, agreement, and the left side gain, in logits."""

    standings: tuple[Standing, ...]
    effects: dict[str, Estimate]
    comparisons: int
    judgments: int
    left_out: int
    simulated: bool


def leaderboard(comparisons: Sequence[Comparison], judgments: Iterable[Judgment], *, style_control: bool = True) -> Leaderboard:
    """Fit strengths. Judgments of two answers of one policy, or of an unknown one, are left out and counted.

    Raises TruingError as `to_columns`, where fewer than two policies remain, or where judgments do not connect them.
    """
    given = list(judgments)
    columns = to_columns(comparisons, given)
    named = np.array([UNKNOWN not in c.policies and c.policies[0] != c.policies[1] for c in columns.comparisons])
    rows = np.flatnonzero(named[columns.item_N])
    players = sorted({policy for c, use in zip(columns.comparisons, named, strict=True) if use for policy in c.policies})
    if len(players) < 2:
        raise TruingError("a leaderboard needs comparisons between at least two named policies (the field `policies`)")
    names, covariates = _covariates(columns, rows)
    plain = _fit(columns, rows, players, np.zeros((len(rows), 0)))
    fit = _fit(columns, rows, players, covariates) if style_control and names else plain
    estimates = fit.estimates()
    wins = _wins(columns, rows, players)
    standings = [
        Standing(
            policy=player,
            strength=estimates[p],
            plain=plain.estimates()[p],
            wins=wins[p],
            best_rank=1 + sum(fit.difference(other, p).low > 0 for other in range(len(players)) if other != p),
            worst_rank=len(players) - sum(fit.difference(other, p).high < 0 for other in range(len(players)) if other != p),
        )
        for p, player in enumerate(players)
    ]
    return Leaderboard(
        standings=tuple(sorted(standings, key=lambda s: -s.strength.value)),
        effects=dict(zip(names, fit.other, strict=False)) if fit is not plain else {},
        comparisons=int(named.sum()),
        judgments=len(rows),
        left_out=len(columns.item_N) - len(rows),
        simulated=any(j.simulated for j in given),
    )


def _fit(columns: Columns, rows: NDArray[np.intp], players: Sequence[str], covariate_NC: NDArray[np.float64]) -> Strengths:
    first, second = _players(columns, rows, players)
    outcome = (1 + columns.side_N[rows]) / 2
    fit = davidson if 0 < (outcome == 0.5).mean() < 1 else bradley_terry
    return fit(first, second, outcome, players, covariate_NC=covariate_NC, clusters=columns.item_N[rows].tolist())


def _covariates(columns: Columns, rows: NDArray[np.intp]) -> tuple[list[str], NDArray[np.float64]]:
    """Style and side, those that vary."""
    style = style_of(columns.comparisons)
    found = dict(zip(style.names, style.style_JK[columns.item_N[rows]].T, strict=True))
    found["left"] = columns.left_N[rows].astype(np.float64)
    varied = {name: column for name, column in found.items() if np.ptp(column) > 0}
    return list(varied), np.stack(list(varied.values()), axis=1) if varied else np.zeros((len(rows), 0))


def _players(columns: Columns, rows: NDArray[np.intp], players: Sequence[str]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    number = {player: p for p, player in enumerate(players)}
    of = np.array([[number.get(policy, -1) for policy in c.policies] for c in columns.comparisons])
    return of[columns.item_N[rows], 0], of[columns.item_N[rows], 1]


def _wins(columns: Columns, rows: NDArray[np.intp], players: Sequence[str]) -> list[float]:
    first, second = _players(columns, rows, players)
    share = (1 + columns.side_N[rows]) / 2
    won = np.bincount(np.r_[first, second], np.r_[share, 1 - share], len(players))
    return [float(w) for w in won / np.bincount(np.r_[first, second], minlength=len(players))]
