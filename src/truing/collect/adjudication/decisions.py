"""A lead's word on a case: the answer, a gold item made of it, and an amendment of the guideline proposed from it.

The judgments of the raters stay as they are. An amendment is only proposed: it becomes text when a lead publishes the next
version of the guideline with it, and it keeps the cases it came from.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pydantic import Field
from sqlalchemy import Connection, insert, select, update

from truing.collect import audit, campaigns
from truing.collect.answers import Answer
from truing.collect.errors import ConflictError, NotFoundError, ServiceError
from truing.collect.guidelines.versions import LONGEST_CLAUSE_ID
from truing.collect.judgments import check_answers
from truing.collect.schema import adjudication, campaign, item
from truing.records import Guideline, Record

ORIGIN = "adjudicated_from"
"""Key in a gold item's meta: the item whose adjudication it comes from."""


class Amendment(Record):
    """A clause as a lead would have it. `adopted` is the guideline version that took it up; None = none yet."""

    clause_id: str = Field(pattern=r"^[a-z0-9-]+$", max_length=100)
    title: str = Field(min_length=1, max_length=200)
    body: str = Field(min_length=1, max_length=10_000)
    adopted: int | None = None


@dataclass(frozen=True)
class Decision:
    """What a lead decided on an item."""

    item_id: int
    answers: tuple[Answer, ...]
    clause_id: str = ""
    note: str = ""
    make_gold: bool = False
    """Only where any careful rater would find the answer: an item that good raters split on makes poor gold."""
    amendment: Amendment | None = None


@dataclass(frozen=True)
class Proposal:
    """A proposed clause with the cases that call for it (item id, the lead's note)."""

    amendment: Amendment
    cases: tuple[tuple[int, str], ...]
    adjudication_ids: tuple[int, ...]

    def applied(self, guideline: Guideline) -> str:
        """The guideline's text with the clause in it."""
        return guideline.amended(self.amendment.clause_id, self.amendment.title, self.amendment.body).text


def decide(connection: Connection, decision: Decision, *, now: float, by: int) -> None:
    """Keep a decision, with what follows from it. Raises ConflictError where the item is decided already."""
    found = connection.execute(select(item).where(item.c.id == decision.item_id)).mappings().one_or_none()
    if found is None:
        raise NotFoundError("there is no such item")
    taken = connection.scalar(select(adjudication.c.id).where(adjudication.c.item_id == decision.item_id))
    if taken is not None:
        raise ConflictError("somebody has decided this item already")
    if len(decision.clause_id) > LONGEST_CLAUSE_ID:
        raise ServiceError(f"clause: an id has at most {LONGEST_CLAUSE_ID} characters")
    config = campaigns.config_of(campaigns.get(connection, found["campaign_id"]))
    required = [task for task in config.tasks if task.type not in {"critique", "rewrite"}]
    check_answers(decision.answers, required, len(found["responses"]))
    answers = [answer.model_dump(mode="json") for answer in decision.answers]
    row = {
        "campaign_id": found["campaign_id"],
        "item_id": decision.item_id,
        "decided_by": by,
        "status": "decided",
        "answers": answers,
        "clause": decision.clause_id,
        "note": decision.note,
        "amendment": decision.amendment.model_dump(mode="json") if decision.amendment else None,
        "created_at": now,
        "decided_at": now,
    }
    connection.execute(insert(adjudication).values(**row))
    if decision.make_gold:
        kept = {key: value for key, value in found.items() if key not in {"id", "created_at"}}
        gold = {"external_id": f"adjudicated-{decision.item_id}", "purpose": "gold", "gold": answers, "created_at": now}
        meta = {**found["meta"], ORIGIN: decision.item_id}
        connection.execute(insert(item).values(**{**kept, **gold, "meta": meta, "source": f"adjudication:{decision.item_id}"}))
    detail = {"gold": decision.make_gold, "amendment": decision.amendment is not None}
    audit.record(connection, "item.adjudicated", f"item:{decision.item_id}", now=now, by=by, detail=detail)


def proposals(connection: Connection, guideline_name: str) -> list[Proposal]:
    """Amendments not yet taken up, one a clause with every case that called for it; the latest words win."""
    query = (
        select(adjudication, campaign.c.config)
        .join(campaign, campaign.c.id == adjudication.c.campaign_id)
        .where(adjudication.c.decided_at.is_not(None))
        .order_by(adjudication.c.id)
    )
    by_clause: dict[str, list[tuple[int, int, str, Amendment]]] = {}
    for row in connection.execute(query).mappings():
        if row["amendment"] is None or row["config"].get("guideline") != guideline_name:
            continue
        amendment = Amendment.model_validate(row["amendment"])
        if amendment.adopted is None:
            by_clause.setdefault(amendment.clause_id, []).append((row["id"], row["item_id"], row["note"], amendment))
    return [_proposal(rows) for rows in by_clause.values()]


def proposal(connection: Connection, guideline_name: str, clause_id: str) -> Proposal:
    """The open proposal on a clause. Raises NotFoundError."""
    for found in proposals(connection, guideline_name):
        if found.amendment.clause_id == clause_id:
            return found
    raise NotFoundError(f"nothing is proposed for clause {clause_id!r}")


def adopt(connection: Connection, taken: Proposal, version: int) -> None:
    """Note the guideline version that took a proposal up."""
    amendment = taken.amendment.model_copy(update={"adopted": version}).model_dump(mode="json")
    connection.execute(update(adjudication).where(adjudication.c.id.in_(taken.adjudication_ids)).values(amendment=amendment))


def checked_amendment(clause_id: str, title: str, body: str) -> Amendment | None:
    """An amendment from a form's fields; None where all are empty. Raises ServiceError where only some are filled in."""
    values = {"clause_id": clause_id.strip(), "title": title.strip(), "body": body.strip()}
    if not any(values.values()):
        return None
    if not all(values.values()):
        raise ServiceError("amendment: give the clause an id, a title and a text, or leave all three empty")
    try:
        return Amendment.model_validate(values)
    except ValueError:
        raise ServiceError("amendment: a clause id has small letters, digits and hyphens, such as 'cites-sources'") from None


def _proposal(rows: Sequence[tuple[int, int, str, Amendment]]) -> Proposal:
    return Proposal(rows[-1][3], tuple((item_id, note) for _, item_id, note, _ in rows), tuple(row[0] for row in rows))
