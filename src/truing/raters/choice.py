"""How a rater's answer follows from a preference in log-odds: ties and margins as one exponential family.

An answer is a level y in -M..M: its sign is the side (+ first, - second), its size how much better, 0 a tie. With log-odds eta,

    P(y) is proportional to exp(y * eta / 2 + c_|y|),    c_1 = 0

the adjacent-categories model for ordinal paired comparisons (Agresti 1992, section 3.2). With M = 1 it is Davidson's (1970):
log-odds eta of first against second among those decided, exp(c_0) their tie parameter nu. It is chosen over cumulative
thresholds because it is log-concave in eta and in c together, has no order constraints between thresholds to keep while
fitting, and because a rater's habit (calls many ties, never says "much better") is one number a level that has nothing to do
with the side. c_0 and, with margins (M = 3), c_2 and c_3 are such numbers: "level offsets".

Legend: N judgments, Q quadrature nodes, C level offsets (1 without margins, 3 with them).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
_LIMIT = 40.0


class ChoiceTerms(NamedTuple):
    """Log-probability of the given answers and what its derivatives are made of; u = y / 2 is the score of a level."""

    log_probability_NQ: Floats
    surprise_NQ: Floats
    """u - E u: derivative by eta."""
    variance_NQ: Floats
    """Var u: minus the second derivative by eta."""
    level_probability_CNQ: Floats
    """P(|y| = the offset's level): its expectation, whose difference to the answer is the derivative by the offset."""
    covariance_CNQ: Floats
    """Cov(u, |y| = the offset's level)."""


def n_offsets(levels: int) -> int:
    """Level offsets of a scale with `levels` degrees a side: all sizes but 1, whose offset is 0."""
    return levels


def offset_levels(levels: int) -> tuple[int, ...]:
    """The size |y| that each offset belongs to: 0 (ties), then 2, 3, ..."""
    return (0, *range(2, levels + 1))


def choice_terms(eta_NQ: Floats, offsets_NC: Floats, answer_N: NDArray[np.int8]) -> ChoiceTerms:
    """Terms of every judgment at every node. `answer_N` is y; C = M level offsets are expected."""
    levels = offsets_NC.shape[1]
    step = np.exp(np.clip(eta_NQ, -_LIMIT, _LIMIT) / 2)
    back = 1 / step
    tie_NQ = np.broadcast_to(np.exp(offsets_NC[:, :1]), eta_NQ.shape)
    first, second = step, back
    mass, pull, square = tie_NQ + first + second, (first - second) / 2, (first + second) / 4
    level_mass, level_pull = [tie_NQ], [np.zeros_like(eta_NQ)]
    for level in range(2, levels + 1):
        first, second = first * step, second * back
        scale = np.exp(offsets_NC[:, level - 1 : level])
        both, difference = scale * (first + second), scale * (first - second) * (level / 2)
        mass, pull, square = mass + both, pull + difference, square + both * (level / 2) ** 2
        level_mass.append(both)
        level_pull.append(difference)
    mean = pull / mass
    level_probability = np.stack(level_mass) / mass
    given = given_offset(offsets_NC, answer_N)
    half = answer_N[:, None] / 2
    return ChoiceTerms(
        log_probability_NQ=half * eta_NQ + given[:, None] - np.log(mass),
        surprise_NQ=half - mean,
        variance_NQ=square / mass - mean**2,
        level_probability_CNQ=level_probability,
        covariance_CNQ=np.stack(level_pull) / mass - mean * level_probability,
    )


def given_offset(offsets_NC: Floats, answer_N: NDArray[np.int8]) -> Floats:
    """c_|y| of each answer."""
    size = np.abs(answer_N)
    column = np.where(size == 0, 0, np.maximum(size - 1, 0))
    return np.where(size == 1, 0.0, offsets_NC[np.arange(len(size)), column])


def probabilities(eta_N: Floats, offsets_NC: Floats) -> Floats:
    """P(y) of every level, from -M to M. Shape (N, 2 M + 1)."""
    levels = offsets_NC.shape[1]
    y_L = np.arange(-levels, levels + 1)
    offset_NL = np.stack([given_offset(offsets_NC, np.full(len(eta_N), y, np.int8)) for y in y_L], axis=1)
    logits = np.clip(eta_N, -_LIMIT, _LIMIT)[:, None] * y_L / 2 + offset_NL
    shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(shifted / shifted.sum(axis=1, keepdims=True))
