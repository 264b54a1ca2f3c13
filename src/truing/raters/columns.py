"""Judgments of known comparisons as numbered columns: what models of raters and statistics are computed on.

Only first answers count: a rater's blind repeats are for `checks.py`, as second answers they would be counted as evidence twice.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from truing.errors import TruingError
from truing.records import Comparison, Judgment

_SIDE = {"first": 1, "tie": 0, "second": -1}


class Columns(NamedTuple):
    """N judgments by R raters of the J comparisons that have any.

    `answer_N` is the level in stored order: the sign is the side, the size the margin (1 where `levels` is 1, margins not being
    used); `seconds_N` is NaN where the time is unknown or zero; `left_N` is +1 where `first` was at left, -1 where `second`
    was, 0 where nobody recorded it; `order_N` counts a rater's judgments from 0 in the order given.
    """

    comparisons: tuple[Comparison, ...]
    raters: tuple[str, ...]
    item_N: NDArray[np.int32]
    rater_N: NDArray[np.int32]
    answer_N: NDArray[np.int8]
    left_N: NDArray[np.int8]
    order_N: NDArray[np.int32]
    seconds_N: NDArray[np.float64]
    levels: int

    @property
    def side_N(self) -> NDArray[np.int8]:
        """+1 first, 0 tie, -1 second."""
        return np.sign(self.answer_N)

    @property
    def gold_J(self) -> NDArray[np.float64]:
        """+1, 0 or -1 where the answer is known, NaN elsewhere."""
        return np.array([np.nan if c.gold is None else _SIDE[c.gold] for c in self.comparisons])

    def weights(self, from_judgment: Mapping[str, tuple[int, float]]) -> NDArray[np.float64]:
        """1 for every judgment, and for the raters named the given weight from their k-th judgment (from 0) on."""
        start = np.array([from_judgment.get(r, (0, 1.0))[0] for r in self.raters])
        weight = np.array([from_judgment.get(r, (0, 1.0))[1] for r in self.raters])
        return np.where(self.order_N >= start[self.rater_N], weight[self.rater_N], 1.0)


def in_order(judgments: Iterable[Judgment]) -> list[Judgment]:
    """Judgments by the time they were made where every one has it, else in the order given."""
    given = list(judgments)
    if not all(j.judged_at for j in given):
        return given
    return sorted(given, key=lambda j: datetime.fromisoformat(j.judged_at))


def to_columns(comparisons: Sequence[Comparison], judgments: Iterable[Judgment]) -> Columns:
    """Number raters and judged comparisons in order of appearance. Margins are used where every decided judgment has one.

    Raises TruingError where a judgment's comparison is not there, a rater answers one twice without calling it a repeat, or there
    is no judgment.
    """
    known = {c.comparison_id: c for c in comparisons}
    items: dict[str, int] = {}
    raters: dict[str, int] = {}
    seen: set[tuple[int, int]] = set()
    count: list[int] = []
    rows: list[tuple[int, int, int, int, int]] = []
    margins: list[int | None] = []
    seconds: list[float] = []
    unknown: set[str] = set()
    for judgment in judgments:
        if judgment.comparison_id not in known:
            unknown.add(judgment.comparison_id)
            continue
        if judgment.repeat:
            continue
        item = items.setdefault(judgment.comparison_id, len(items))
        rater = raters.setdefault(judgment.rater_id, len(raters))
        if (item, rater) in seen:
            raise TruingError(
                f"rater {judgment.rater_id!r} judged comparison {judgment.comparison_id!r} twice, and the second is not marked "
                "as a repeat: keep the answer that stands"
            )
        seen.add((item, rater))
        if rater == len(count):
            count.append(0)
        rows.append((item, rater, _SIDE[judgment.choice], _SIDE.get(str(judgment.left), 0), count[rater]))
        count[rater] += 1
        seconds.append(judgment.active_s or math.nan)
        margins.append(judgment.margin if judgment.choice != "tie" else 0)
    if unknown:
        raise TruingError(f"{len(unknown)} judgments are of comparisons that are not in this set, for example {min(unknown)!r}")
    if not rows:
        raise TruingError("no judgments: have the comparisons judged first")
    item_N, rater_N, side_N, left_N, order_N = np.array(rows, dtype=np.int32).T
    has_margins = all(m is not None for m in margins)
    size_N = np.maximum(np.array([m or 0 for m in margins]) if has_margins else np.abs(side_N), np.abs(side_N))
    return Columns(
        comparisons=tuple(known[name] for name in items),
        raters=tuple(raters),
        item_N=item_N,
        rater_N=rater_N,
        answer_N=(side_N * size_N).astype(np.int8),
        left_N=left_N.astype(np.int8),
        order_N=order_N,
        seconds_N=np.array(seconds),
        levels=max(1, int(size_N.max())),
    )
