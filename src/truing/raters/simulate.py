"""Raters drawn from the pairwise model itself, with known reliability and biases: what estimates are checked against.

Simulated numbers, no text and no people. Legend: N judgments, J comparisons, R raters, K style columns.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from truing.raters.choice import probabilities

Floats = NDArray[np.float64]
SORTS = ("honest", "left", "length", "markdown", "coin")


class Simulated(NamedTuple):
    """Judgments as columns, sorted by comparison, and the quality differences behind them."""

    item_N: NDArray[np.int32]
    rater_N: NDArray[np.int32]
    answer_N: NDArray[np.int8]
    left_N: NDArray[np.int8]
    style_JK: Floats
    dq_J: Floats


class PlantedRaters(NamedTuple):
    """R raters; `sort_R` numbers SORTS: honest ones, and those with one planted bias, or none but chance."""

    sort_R: NDArray[np.intp]
    alpha_R: Floats
    beta_R: Floats
    gamma_RK: Floats
    offset_RC: Floats
    quality_effect_K: Floats

    @classmethod
    def draw(
        cls,
        n: int,
        rng: np.random.Generator,
        *,
        share: float = 0.1,
        bias: float = 0.8,
        shared: float = 0.0,
        effect: tuple[float, float] = (0.3, 0.0),
    ) -> PlantedRaters:
        """A workforce in which each sort but the honest is a `share` of all, and planted biases are `bias` log-odds.

        Reliability is lognormal around 1.5 log-odds a standard deviation of quality; everybody has biases of about 0.1 besides,
        and likes length by `shared` log-odds more.
        """
        each = round(share * n)
        sort = np.repeat(np.arange(len(SORTS)), [n - 4 * each, each, each, each, each])
        alpha = np.exp(rng.normal(np.log(1.5), 0.35, n)) * (sort != SORTS.index("coin"))
        beta = rng.normal(0, 0.1, n) + bias * (sort == SORTS.index("left"))
        gamma = rng.normal(0, 0.1, (n, 2))
        gamma += bias * np.stack([sort == SORTS.index("length"), sort == SORTS.index("markdown")], axis=1)
        gamma[:, 0] += shared
        return cls(sort, alpha, beta, gamma, rng.normal(-0.5, 0.4, (n, 1)), np.array(effect))

    def judge(self, comparisons: int, judgments_each: int, rng: np.random.Generator) -> Simulated:
        """Every comparison judged by different raters drawn at random, sides drawn for each."""
        style = rng.normal(0, 1, (comparisons, 2))
        dq = rng.normal(0, 1, comparisons) + style @ self.quality_effect_K
        item = np.repeat(np.arange(comparisons, dtype=np.int32), judgments_each)
        rater = _distinct(rng, comparisons, judgments_each, len(self.alpha_R)).reshape(-1).astype(np.int32)
        left = rng.choice(np.array([-1, 1], np.int8), len(item))
        eta = self.alpha_R[rater] * dq[item] + self.beta_R[rater] * left + (self.gamma_RK[rater] * style[item]).sum(axis=1)
        cumulative = probabilities(eta, self.offset_RC[rater]).cumsum(axis=1)
        answer = (cumulative < rng.random(len(item))[:, None]).sum(axis=1) - 1
        return Simulated(item, rater, answer.astype(np.int8), left, style, dq)


def _distinct(rng: np.random.Generator, rows: int, columns: int, n: int) -> NDArray[np.intp]:
    """`columns` different numbers below n in each row: rows with a repetition are drawn again."""
    drawn = rng.integers(0, n, (rows, columns))
    while True:
        ordered = np.sort(drawn, axis=1)
        again = np.flatnonzero((ordered[:, 1:] == ordered[:, :-1]).any(axis=1))
        if not len(again):
            return drawn
        drawn[again] = rng.integers(0, n, (len(again), columns))
