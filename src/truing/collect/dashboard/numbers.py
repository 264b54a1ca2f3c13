"""What the dashboard says, from rows of judgments: throughput, agreement, gold, drift, cost. Pure; times are epoch seconds."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations

from truing.collect.words import HOUR_S
from truing.records import Estimate
from truing.stats.intervals import wilson, wilson_clustered


@dataclass(frozen=True)
class Rated:
    """One current judgment as numbers need it. `verdict` is a short form of the answer that equal answers share;
    `gold_right` is None where no gold is known; `left` is whether the side shown at left won, None where neither did.
    """

    item_id: int
    rater_id: str
    judged_at: float
    verdict: str
    active_s: float | None = None
    left: bool | None = None
    gold_right: bool | None = None
    is_repeat: bool = False


@dataclass(frozen=True)
class Bin:
    """What was counted from `start` for one step of time."""

    start: float
    count: int


@dataclass(frozen=True)
class RatePoint:
    """A share over one stretch of time; None = nothing was measured in it."""

    start: float
    estimate: Estimate | None


def throughput(times: Iterable[float], start: float, end: float, step_s: float) -> tuple[Bin, ...]:
    """Judgments in each step from `start` to `end`; empty steps are there, as 0."""
    counted = Counter(int((t - start) // step_s) for t in times if start <= t < end)
    steps = max(1, round((end - start) / step_s))
    return tuple(Bin(start + n * step_s, counted[n]) for n in range(steps))


def agreement(rated: Iterable[Rated]) -> Estimate | None:
    """Share of pairs of raters who gave an item the same verdict, clustered by item. None where no item has two raters."""
    same, clusters = _pairs(rated)
    return wilson_clustered(same, clusters) if same else None


def agreement_by_rater(rated: Iterable[Rated]) -> dict[str, Estimate]:
    """The same for each rater, of the pairs that they are part of. Raters without one are left out."""
    pairs: dict[str, tuple[list[float], list[int]]] = defaultdict(lambda: ([], []))
    for item_id, votes in _by_item(rated).items():
        for a, b in combinations(votes, 2):
            for rater_id in (a.rater_id, b.rater_id):
                same, clusters = pairs[rater_id]
                same.append(float(a.verdict == b.verdict))
                clusters.append(item_id)
    return {rater_id: wilson_clustered(same, clusters) for rater_id, (same, clusters) in pairs.items()}


def gold_accuracy(rated: Iterable[Rated]) -> Estimate | None:
    """Share of answers to gold items that are right, clustered by item: one hard gold item is one hard item."""
    known = [(r.gold_right, r.item_id) for r in rated if r.gold_right is not None]
    return wilson_clustered([float(right) for right, _ in known], [item for _, item in known]) if known else None


def left_share(rated: Iterable[Rated]) -> Estimate | None:
    """How often the answer shown at left won, of those where one side did: half, for a rater who reads both."""
    sides = [r.left for r in rated if r.left is not None]
    return wilson(sum(sides), len(sides)) if sides else None


def tie_share(rated: Iterable[Rated]) -> Estimate | None:
    """Share of ties."""
    verdicts = [r.left is None for r in rated]
    return wilson(sum(verdicts), len(verdicts)) if verdicts else None


def self_agreement(rated: Iterable[Rated]) -> Estimate | None:
    """Share of blind repeats that were answered as the first time."""
    by_item: dict[tuple[int, str], dict[bool, str]] = defaultdict(dict)
    for r in rated:
        by_item[r.item_id, r.rater_id][r.is_repeat] = r.verdict
    twice = [answers[False] == answers[True] for answers in by_item.values() if len(answers) == 2]
    return wilson(sum(twice), len(twice)) if twice else None


def median_active_s(rated: Iterable[Rated]) -> float | None:
    """Median active seconds of a judgment."""
    seconds = sorted(r.active_s for r in rated if r.active_s is not None)
    if not seconds:
        return None
    middle = len(seconds) // 2
    return seconds[middle] if len(seconds) % 2 else (seconds[middle - 1] + seconds[middle]) / 2


def drift(rated: Iterable[Rated], start: float, end: float, step_s: float) -> tuple[RatePoint, ...]:
    """Accuracy on gold in each step of time: a fall that intervals do not explain wants a look."""
    steps = max(1, round((end - start) / step_s))
    parts: dict[int, list[Rated]] = defaultdict(list)
    for r in rated:
        if start <= r.judged_at < end:
            parts[int((r.judged_at - start) // step_s)].append(r)
    return tuple(RatePoint(start + n * step_s, gold_accuracy(parts[n])) for n in range(steps))


def hours_to_go(open_slots: int, bins: Sequence[Bin], step_s: float) -> float | None:
    """Hours until the queue is empty at the pace of the steps in which anyone worked. None where nobody did."""
    worked = [b.count for b in bins if b.count]
    return open_slots * step_s / HOUR_S / (sum(worked) / len(worked)) if worked else None


def _by_item(rated: Iterable[Rated]) -> dict[int, list[Rated]]:
    by_item: dict[int, list[Rated]] = defaultdict(list)
    for r in rated:
        if not r.is_repeat:
            by_item[r.item_id].append(r)
    return by_item


def _pairs(rated: Iterable[Rated]) -> tuple[list[float], list[int]]:
    same: list[float] = []
    clusters: list[int] = []
    for item_id, votes in _by_item(rated).items():
        pairs = [float(a.verdict == b.verdict) for a, b in combinations(votes, 2)]
        same += pairs
        clusters += [item_id] * len(pairs)
    return same, clusters
