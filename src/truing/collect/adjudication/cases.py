"""Which items want a lead's word: those on which raters chose opposite sides, and those that somebody flagged."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Connection, RowMapping, select

from truing.collect.answers import CritiqueAnswer
from truing.collect.dashboard.board import MOST_ROWS
from truing.collect.schema import account, adjudication, judgment
from truing.collect.verdicts import parse, verdict


@dataclass(frozen=True)
class Vote:
    """What one rater said of an item. `verdict` is empty for a skip, which has a reason instead."""

    item_id: int
    rater_id: str
    verdict: str
    clause_id: str
    flags: tuple[str, ...]
    skip_reason: str = ""
    critique: str = ""
    """What they wrote on the whole."""


@dataclass(frozen=True)
class Case:
    """One item and everything said of it."""

    item_id: int
    votes: tuple[Vote, ...]

    @property
    def sides(self) -> Counter[str]:
        """Verdicts that choose a side, and how many chose each."""
        return Counter(v.verdict for v in self.votes if v.verdict not in {"", "tie"})

    @property
    def is_split(self) -> bool:
        """Whether raters chose different sides; a tie against a side is not a split."""
        return len(self.sides) > 1

    @property
    def flags(self) -> Counter[str]:
        """Flags, and how many raters set each."""
        return Counter(flag for v in self.votes for flag in v.flags)

    @property
    def evenness(self) -> float:
        """Share of the sided votes that are not with the largest side: 0 = unanimous, one half = evenly split."""
        total = sum(self.sides.values())
        return 1 - max(self.sides.values()) / total if total else 0.0


def cases(votes: Iterable[Vote]) -> list[Case]:
    """Items that want a word: flagged ones first, by how many flagged them, then splits, the most even first."""
    by_item: dict[int, list[Vote]] = defaultdict(list)
    for vote in votes:
        by_item[vote.item_id].append(vote)
    found = [Case(item_id, tuple(said)) for item_id, said in by_item.items()]
    waiting = [case for case in found if case.is_split or case.flags]
    return sorted(waiting, key=lambda c: (-sum(c.flags.values()), -c.evenness, -len(c.votes), c.item_id))


def waiting(connection: Connection, campaign_id: int) -> list[Case]:
    """The queue of a campaign: cases of task items, among its latest judgments, that no lead has decided."""
    decided = select(adjudication.c.item_id).where(adjudication.c.status == "decided")
    return cases(_votes(connection, judgment.c.campaign_id == campaign_id, judgment.c.item_id.not_in(decided)))


def case_of(connection: Connection, item_id: int) -> Case:
    """Everything said of one item, whether or not it wants a word."""
    return Case(item_id, tuple(_votes(connection, judgment.c.item_id == item_id)))


def _votes(connection: Connection, *conditions: ColumnElement[bool]) -> list[Vote]:
    query = (
        select(
            judgment.c.item_id,
            account.c.pseudonym,
            judgment.c.kind,
            judgment.c.answers,
            judgment.c.clause,
            judgment.c.flags,
            judgment.c.skip_reason,
        )
        .join(account, account.c.id == judgment.c.rater_id)
        .where(judgment.c.is_current, judgment.c.kind != "withdrawn", judgment.c.purpose == "task", *conditions)
        .order_by(judgment.c.id.desc())
        .limit(MOST_ROWS)
    )
    return [_vote(row) for row in connection.execute(query).mappings()]


def _vote(row: RowMapping) -> Vote:
    answers = parse(row["answers"]) if row["kind"] == "answer" else ()
    return Vote(
        item_id=row["item_id"],
        rater_id=row["pseudonym"],
        verdict=verdict(answers),
        clause_id=row["clause"],
        flags=tuple(row["flags"]),
        skip_reason=row["skip_reason"],
        critique="\n".join(answer.text for answer in answers if isinstance(answer, CritiqueAnswer)),
    )
