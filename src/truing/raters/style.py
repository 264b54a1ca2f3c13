"""How the two answers of a comparison differ in style: what a rater may like for itself.

Every column is first minus second, 0 where the answers do not differ. Length and markdown are in doublings, so that a
coefficient on them is log-odds for an answer twice as long, or with twice as many marks.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from truing.data.phrases import AGREEMENT, has_phrase
from truing.records import Comparison

MOST_DOUBLINGS = 3.0
"""Differences in length or markdown beyond a factor of eight count as that."""
_MARKS = re.compile(r"^\s*(?:#{1,6} |[-*+] |\d+[.)] |> |```|\|)|\*\*|__|`", re.MULTILINE)


class Style(NamedTuple):
    """Columns by name; those in which no comparison differs are left out. `style_JK` is first minus second."""

    names: tuple[str, ...]
    style_JK: NDArray[np.float64]


def style_of(comparisons: Sequence[Comparison]) -> Style:
    """length, markdown and agreement of every comparison, in order."""
    columns = {name: np.array([measure(c) for c in comparisons], dtype=np.float64) for name, measure in MEASURES.items()}
    used = {name: column for name, column in columns.items() if column.any()}
    return Style(tuple(used), np.stack(list(used.values()), axis=1) if used else np.zeros((len(comparisons), 0)))


def length(comparison: Comparison) -> float:
    """log2 of the ratio of characters."""
    return _doublings(len(comparison.first), len(comparison.second))


def markdown(comparison: Comparison) -> float:
    """log2 of the ratio of markdown marks (headings, list items, quotes, tables, bold, code), one added to each."""
    return _doublings(_marks(comparison.first), _marks(comparison.second))


def agreement(comparison: Comparison) -> float:
    """Whether an answer says that the user is right, first minus second."""
    return float(has_phrase(comparison.first, AGREEMENT)) - float(has_phrase(comparison.second, AGREEMENT))


MEASURES = {"length": length, "markdown": markdown, "agreement": agreement}
"""Every style that raters' biases are estimated for."""


def _marks(text: str) -> int:
    return len(_MARKS.findall(text))


def _doublings(first: int, second: int) -> float:
    return max(-MOST_DOUBLINGS, min(MOST_DOUBLINGS, math.log2((1 + first) / (1 + second))))
