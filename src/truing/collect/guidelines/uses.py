"""Clause statistics of a guideline, read from the judgments of the campaigns that follow it."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import NamedTuple, cast

from sqlalchemy import Connection, select

from truing.collect.schema import account, campaign, item, judgment
from truing.collect.verdicts import agrees, parse, verdict
from truing.raters.clauses import ClauseConflict, ClauseUse, clause_uses, conflicts
from truing.records import Choice
from truing.stats.intervals import wilson

MOST_ROWS = 20_000
GOOD_ACCURACY = 0.7
"""Share of gold answered right from which a rater counts as reliable, where enough gold was answered to say."""
LEAST_GOLD = 5


@dataclass(frozen=True)
class Uses:
    """Clauses and what pulls them apart. `reliable` raters of `raters`; those without enough gold count as reliable."""

    clauses: tuple[ClauseUse, ...]
    conflicts: tuple[ClauseConflict, ...]
    reliable: int
    raters: int


class _Leaned(NamedTuple):
    """One rater's answer to one item, with the clause it leaned on."""

    comparison_id: str
    rater_id: str
    choice: Choice
    clause: str


def read(connection: Connection, name: str) -> Uses:
    """Statistics over the latest judgments of every campaign that follows the guideline called `name`."""
    rows = connection.execute(select(campaign.c.id, campaign.c.config)).all()
    followers = [row.id for row in rows if row.config.get("guideline") == name]
    leaned, marks = _judgments(connection, followers)
    raters = {j.rater_id for j in leaned}
    good = {rater for rater in raters if _accuracy(marks[rater]) >= GOOD_ACCURACY}
    return Uses(clause_uses(leaned, good), conflicts(leaned, good), len(good), len(raters))


def _accuracy(marks: list[bool]) -> float:
    """Accuracy on gold; 1 where too little was answered to think ill of anybody."""
    return wilson(sum(marks), len(marks)).value if len(marks) >= LEAST_GOLD else 1.0


def _judgments(connection: Connection, campaigns: list[int]) -> tuple[list[_Leaned], dict[str, list[bool]]]:
    query = (
        select(judgment.c.item_id, account.c.pseudonym, judgment.c.answers, judgment.c.clause, item.c.gold)
        .join(account, account.c.id == judgment.c.rater_id)
        .join(item, item.c.id == judgment.c.item_id)
        .where(
            judgment.c.campaign_id.in_(campaigns), judgment.c.is_current, judgment.c.kind == "answer", judgment.c.occasion == 0
        )
        .order_by(judgment.c.id.desc())
        .limit(MOST_ROWS)
    )
    leaned: list[_Leaned] = []
    marks: dict[str, list[bool]] = defaultdict(list)
    for row in connection.execute(query):
        answers = parse(row.answers)
        if row.gold is not None:
            right = agrees(answers, parse(row.gold))
            if right is not None:
                marks[row.pseudonym].append(right)
        else:
            side = {"first": "first", "1>2": "first", "second": "second", "2>1": "second"}.get(verdict(answers), "tie")
            leaned.append(_Leaned(str(row.item_id), row.pseudonym, cast("Choice", side), row.clause))
    return leaned, marks
