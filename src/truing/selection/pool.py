"""A pool: comparisons that could be judged, with what a reward ensemble and a judge say of them.

What the models say is read from disk, so that selecting needs none in memory: `truing select` leaves it in `scores.jsonl`.

Legend: N comparisons, M ensemble members, D features.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from truing.errors import TruingError
from truing.records import Comparison, Judgment, Record

Floats = NDArray[np.float64]


class PairScores(Record):
    """What a reward ensemble says of one comparison.

    `margins` are first minus second in log-odds, one a member: sigma(margin) is the member's P(first preferred). `features` are
    what member 0's linear head reads of first minus that of second: its margin is features . weights (projected at random where
    the model is wide).
    """

    comparison_id: str
    margins: tuple[float, ...] = Field(min_length=1)
    features: tuple[float, ...] = ()


class Pool(NamedTuple):
    """Different comparisons and, where known, `margins_MN`, `features_ND`, and the judge's P(first preferred)."""

    comparisons: Sequence[Comparison]
    margins_MN: Floats | None = None
    features_ND: Floats | None = None
    judge_N: Floats | None = None

    @classmethod
    def of(
        cls,
        comparisons: Sequence[Comparison],
        scores: Iterable[PairScores] | None = None,
        judged: Iterable[Judgment] | None = None,
    ) -> Self:
        """Put scores and a judge's judgments beside their comparisons, found by id.

        Raises TruingError where the pool is empty or holds a comparison twice, or where scores or judgments lack one of it.
        """
        ids = [c.comparison_id for c in comparisons]
        if not ids:
            raise TruingError("the pool holds no comparisons: there is nothing to select from")
        if len(set(ids)) < len(ids):
            raise TruingError(f"{len(ids) - len(set(ids))} comparisons are in the pool more than once: keep one of each")
        margins, features = (None, None) if scores is None else _scores(ids, scores)
        return cls(comparisons, margins, features, None if judged is None else _judge(ids, judged))

    def require_margins(self, members: int = 1) -> Floats:
        """`margins_MN`. Raises TruingError where there are none, or fewer members than needed."""
        if self.margins_MN is None:
            raise TruingError("this strategy needs a reward model's scores of the pool: give --reward DIR or --scores FILE")
        if len(self.margins_MN) < members:
            raise TruingError(
                f"this strategy needs a reward ensemble of at least {members}; there is {len(self.margins_MN)} member"
            )
        return self.margins_MN

    def require_features(self) -> Floats:
        """`features_ND`. Raises TruingError where there are none."""
        if self.features_ND is None:
            raise TruingError("this strategy needs the features of the reward model's head: make the scores with --reward DIR")
        return self.features_ND

    def require_judge(self) -> Floats:
        """`judge_N`. Raises TruingError where there is none."""
        if self.judge_N is None:
            raise TruingError("this strategy needs a judge's judgments of the pool: give --judge FILE (JSONL of judgments)")
        return self.judge_N


def _scores(ids: Sequence[str], scores: Iterable[PairScores]) -> tuple[Floats, Floats | None]:
    found = {score.comparison_id: score for score in scores}
    rows = [found[one] for one in _all_in(ids, found, "scores")]
    margins, features = [row.margins for row in rows], [row.features for row in rows]
    if len({len(row) for row in margins}) > 1 or len({len(row) for row in features}) > 1:
        raise TruingError("the scores are not all of one ensemble: they differ in members or features. Make them again.")
    return np.array(margins).T, np.array(features) if features[0] else None


def _judge(ids: Sequence[str], judged: Iterable[Judgment]) -> Floats:
    """Mean probability over a judge's judgments of a comparison; a choice counts as much as the judge is sure of it."""
    found: dict[str, list[float]] = defaultdict(list)
    for judgment in judged:
        sure = 0.5 if judgment.choice == "tie" else judgment.confidence
        found[judgment.comparison_id].append(1 - sure if judgment.choice == "second" else sure)
    return np.array([np.mean(found[one]) for one in _all_in(ids, found, "the judge's judgments")])


def _all_in(ids: Sequence[str], found: Iterable[str], what: str) -> Sequence[str]:
    missing = set(ids) - set(found)
    if missing:
        raise TruingError(f"{what} lack {len(missing)} of the pool's {len(ids)} comparisons, for example {min(missing)!r}")
    return ids
