"""Where do good raters disagree? Per clause of a guideline, from the judgments that name it.

A clause on which reliable raters part is ambiguous: it wants a guideline question (`raters.questions`), not a majority.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Protocol, TypeVar

from truing.records import Choice, Estimate
from truing.stats.intervals import wilson_clustered


class Vote(Protocol):
    """What is read of a judgment: a rater's answer to a comparison, and the clause it leaned on ("" = none was named)."""

    # the fields of a judgment, described where records are
    @property
    def comparison_id(self) -> str: ...  # noqa: D102
    @property
    def rater_id(self) -> str: ...  # noqa: D102
    @property
    def choice(self) -> Choice: ...  # noqa: D102
    @property
    def clause(self) -> str: ...  # noqa: D102


VoteT = TypeVar("VoteT", bound=Vote)


@dataclass(frozen=True)
class ClauseUse:
    """How one clause was used. `agreement` is between pairs of reliable raters on the comparisons where anybody named it."""

    clause_id: str
    judgments: int
    comparisons: int
    agreement: Estimate | None
    split: tuple[str, ...]
    """Comparisons on which reliable raters chose opposite sides."""


@dataclass(frozen=True)
class ClauseConflict:
    """Two clauses that reliable raters named for opposite sides of the same comparisons."""

    first: str
    second: str
    comparisons: tuple[str, ...]


def clause_uses(votes: Iterable[Vote], reliable: Collection[str]) -> tuple[ClauseUse, ...]:
    """Every clause that anyone named, the one with most split comparisons first."""
    named: dict[str, list[list[Vote]]] = defaultdict(list)
    for on_one in by_comparison(votes).values():
        for clause in {v.clause for v in on_one} - {""}:
            named[clause].append(on_one)
    uses = (_use(clause, groups, reliable) for clause, groups in named.items())
    return tuple(sorted(uses, key=lambda use: (-len(use.split), -use.judgments, use.clause_id)))


def conflicts(votes: Iterable[Vote], reliable: Collection[str]) -> tuple[ClauseConflict, ...]:
    """Pairs of clauses that pull to opposite sides, the most frequent first; one clause against itself is two readings of it."""
    found: dict[tuple[str, str], dict[str, None]] = defaultdict(dict)
    for comparison_id, on_one in by_comparison(votes).items():
        sides = [(v.choice, v.clause) for v in on_one if v.rater_id in reliable and v.clause and v.choice != "tie"]
        for (choice, clause), (other_choice, other_clause) in combinations(sides, 2):
            if choice != other_choice:
                first, second = sorted((clause, other_clause))
                found[first, second][comparison_id] = None
    pairs = (ClauseConflict(a, b, tuple(ids)) for (a, b), ids in found.items())
    return tuple(sorted(pairs, key=lambda pair: (-len(pair.comparisons), pair.first, pair.second)))


def by_comparison(votes: Iterable[VoteT]) -> dict[str, list[VoteT]]:
    """The votes on each comparison, in the order that they come."""
    found: dict[str, list[VoteT]] = defaultdict(list)
    for vote in votes:
        found[vote.comparison_id].append(vote)
    return found


def agreement(groups: Iterable[Sequence[Vote]]) -> Estimate | None:
    """Share of pairs of raters that chose the same, each group on one comparison; None where no two met."""
    same: list[float] = []
    clusters: list[int] = []
    for number, on_one in enumerate(groups):
        pairs = [float(a.choice == b.choice) for a, b in combinations(on_one, 2)]
        same += pairs
        clusters += [number] * len(pairs)
    return wilson_clustered(same, clusters) if same else None


def is_split(on_one: Iterable[Vote]) -> bool:
    """Whether some chose the first and some the second."""
    return {"first", "second"} <= {v.choice for v in on_one}


def _use(clause: str, groups: Sequence[Sequence[Vote]], reliable: Collection[str]) -> ClauseUse:
    good = [[v for v in on_one if v.rater_id in reliable] for on_one in groups]
    counted = Counter(v.clause for on_one in groups for v in on_one)
    split = tuple(on_one[0].comparison_id for on_one in good if is_split(on_one))
    return ClauseUse(clause, counted[clause], len(groups), agreement(good), split)
