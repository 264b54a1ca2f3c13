"""Where do good raters disagree? Per clause of a guideline, from the judgments that name it.

A clause on which reliable raters part is ambiguous: it wants a guideline question, not a majority.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from truing.records import Choice, Estimate
from truing.stats.intervals import wilson_clustered


@dataclass(frozen=True)
class LeanedJudgment:
    """One rater's answer to one item, with the clause it leaned on ("" = none was named)."""

    item_id: int
    rater_id: str
    choice: Choice
    clause_id: str


@dataclass(frozen=True)
class ClauseUse:
    """How one clause was used. `agreement` is between pairs of reliable raters on the items where any of them named it."""

    clause_id: str
    judgments: int
    items: int
    agreement: Estimate | None
    split_items: tuple[int, ...]
    """Items on which reliable raters chose opposite sides."""


@dataclass(frozen=True)
class ClauseConflict:
    """Two clauses that reliable raters named for opposite sides of the same items."""

    first: str
    second: str
    items: tuple[int, ...]


def reliable(reliability: Mapping[str, float], at_least: float) -> frozenset[str]:
    """The raters whose estimated accuracy reaches `at_least`. Where it comes from (gold, a rater model) is the caller's."""
    return frozenset(rater for rater, accuracy in reliability.items() if accuracy >= at_least)


def clause_uses(judgments: Iterable[LeanedJudgment], good: frozenset[str]) -> tuple[ClauseUse, ...]:
    """Every clause that anyone named, the one with most split items first."""
    by_item = _by_item(judgments)
    named: dict[str, list[list[LeanedJudgment]]] = defaultdict(list)
    for votes in by_item.values():
        for clause_id in {v.clause_id for v in votes} - {""}:
            named[clause_id].append(votes)
    uses = (_use(clause_id, items, good) for clause_id, items in named.items())
    return tuple(sorted(uses, key=lambda use: (-len(use.split_items), -use.judgments, use.clause_id)))


def conflicts(judgments: Iterable[LeanedJudgment], good: frozenset[str]) -> tuple[ClauseConflict, ...]:
    """Pairs of clauses that pull to opposite sides, the most frequent first; one clause against itself is two readings of it."""
    found: dict[tuple[str, str], set[int]] = defaultdict(set)
    for item_id, votes in _by_item(judgments).items():
        sides = [(v.choice, v.clause_id) for v in votes if v.rater_id in good and v.clause_id and v.choice != "tie"]
        for (choice, clause_id), (other_choice, other_clause) in combinations(sides, 2):
            if choice != other_choice:
                first, second = sorted((clause_id, other_clause))
                found[first, second].add(item_id)
    pairs = (ClauseConflict(a, b, tuple(sorted(items))) for (a, b), items in found.items())
    return tuple(sorted(pairs, key=lambda pair: (-len(pair.items), pair.first, pair.second)))


def _by_item(judgments: Iterable[LeanedJudgment]) -> dict[int, list[LeanedJudgment]]:
    by_item: dict[int, list[LeanedJudgment]] = defaultdict(list)
    for judgment in judgments:
        by_item[judgment.item_id].append(judgment)
    return by_item


def _use(clause_id: str, items: Sequence[Sequence[LeanedJudgment]], good: frozenset[str]) -> ClauseUse:
    same: list[float] = []
    clusters: list[int] = []
    split: list[int] = []
    for votes in items:
        choices = [v.choice for v in votes if v.rater_id in good]
        pairs = [float(a == b) for a, b in combinations(choices, 2)]
        same += pairs
        clusters += [votes[0].item_id] * len(pairs)
        if {"first", "second"} <= set(choices):
            split.append(votes[0].item_id)
    counted = Counter(v.clause_id for votes in items for v in votes)
    agreement = wilson_clustered(same, clusters) if same else None
    return ClauseUse(clause_id, counted[clause_id], len(items), agreement, tuple(sorted(split)))
