"""Pages of adjudication: the queue of a campaign, and one case with the form that decides it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from fastapi import APIRouter
from fastapi.responses import HTMLResponse, RedirectResponse
from pydantic import ValidationError
from sqlalchemy import Connection, select

from truing.collect import campaigns
from truing.collect.adjudication import cases, decisions
from truing.collect.adjudication.decisions import Decision
from truing.collect.answers import Answer, PairAnswer, RankingAnswer, ScalesAnswer
from truing.collect.config import CampaignConfig, PairTask, RankingTask, ScalesTask
from truing.collect.errors import NotFoundError, ServiceError
from truing.collect.guidelines import versions
from truing.collect.schema import adjudication, item
from truing.collect.verdicts import parse
from truing.collect.web import Form, LeadVisit, Visit

router = APIRouter()
SHOWN = 50


@router.get("/lead/campaigns/{campaign_id}/cases")
def queue(visit: LeadVisit, campaign_id: int) -> HTMLResponse:
    """Cases of a campaign that wait for a lead."""
    with visit.database.read() as connection:
        row = campaigns.get(connection, campaign_id)
        waiting = cases.waiting(connection, campaign_id)
        questions = _questions(connection, [case.item_id for case in waiting[:SHOWN]])
    return visit.page("people/cases.html", campaign=row, waiting=waiting[:SHOWN], total=len(waiting), questions=questions)


@router.get("/lead/items/{item_id}")
def case(visit: LeadVisit, item_id: int) -> HTMLResponse:
    """One item, what was said of it, and what was decided or is to be."""
    return _page(visit, item_id)


@router.post("/lead/items/{item_id}", response_model=None)
def decide(visit: LeadVisit, form: Form, item_id: int) -> HTMLResponse | RedirectResponse:
    """Keep a decision and go on to the next case."""
    sent = {key: str(value) for key, value in form.items()}
    try:
        campaign_id = visit.database.write(lambda connection: _decide(connection, visit, item_id, sent))
    except ServiceError as error:
        return _page(visit, item_id, error.status, sent=sent, problem=str(error))
    with visit.database.read() as connection:
        waiting = cases.waiting(connection, campaign_id)
    after = f"/lead/items/{waiting[0].item_id}" if waiting else f"/lead/campaigns/{campaign_id}/cases"
    return RedirectResponse(after, 303)


def answers_from(config: CampaignConfig, sent: Mapping[str, str], responses: int) -> tuple[Answer, ...]:
    """A lead's answer in stored order, from the fields of the form. Raises ServiceError where one is missing or wrong."""
    found: list[Answer] = []
    try:
        for task in config.tasks:
            match task:
                case PairTask():
                    found.append(_pair(sent["pair"]))
                case RankingTask():
                    found.append(RankingAnswer(ranks=tuple(int(sent[f"rank-{n}"]) for n in range(responses))))
                case ScalesTask():
                    names = [attribute.name for attribute in task.attributes]
                    scores = tuple({name: int(sent[f"score-{n}-{name}"]) for name in names} for n in range(responses))
                    found.append(ScalesAnswer(scores=scores))
                case _:
                    continue
    except (KeyError, ValueError, ValidationError):
        raise ServiceError("answer: fill in every part of it") from None
    return tuple(found)


def _pair(value: str) -> PairAnswer:
    """An answer from "first:2", "second:1", "tie" or "both_bad"."""
    if value in {"tie", "both_bad"}:
        return PairAnswer(choice="tie", margin=0, both_bad=value == "both_bad")
    choice, _, margin = value.partition(":")
    return PairAnswer.model_validate({"choice": choice, "margin": int(margin)})


def _decide(connection: Connection, visit: Visit, item_id: int, sent: Mapping[str, str]) -> int:
    row = connection.execute(select(item.c.campaign_id, item.c.responses).where(item.c.id == item_id)).one_or_none()
    if row is None:
        raise NotFoundError("there is no such item")
    config = campaigns.config_of(campaigns.get(connection, row.campaign_id))
    fields = (sent.get(f"amendment_{name}", "") for name in ("id", "title", "body"))
    decision = Decision(
        item_id=item_id,
        answers=answers_from(config, sent, len(row.responses)),
        clause_id=sent.get("clause", "").strip(),
        note=sent.get("note", "").strip(),
        make_gold=sent.get("gold") == "on",
        amendment=decisions.checked_amendment(*fields),
    )
    decisions.decide(connection, decision, now=visit.now, by=visit.account["id"])
    return int(row.campaign_id)


def _page(
    visit: Visit, item_id: int, status: int = 200, *, sent: Mapping[str, str] | None = None, problem: str = ""
) -> HTMLResponse:
    with visit.database.read() as connection:
        row = connection.execute(select(item).where(item.c.id == item_id)).mappings().one_or_none()
        if row is None:
            raise NotFoundError("there is no such item")
        campaign = campaigns.get(connection, row["campaign_id"])
        guideline = versions.get(connection, campaign["guideline_id"]).guideline if campaign["guideline_id"] else None
        decided = connection.execute(select(adjudication).where(adjudication.c.item_id == item_id)).mappings().one_or_none()
        context: dict[str, Any] = {
            "item": row,
            "campaign": campaign,
            "config": campaigns.config_of(campaign),
            "case": cases.case_of(connection, item_id),
            "clauses": [c for c in guideline.sections if c.clause_id] if guideline else [],
            "decided": decided,
            "decided_answers": parse(decided["answers"]) if decided else (),
        }
    return visit.page("people/case.html", status, **context, sent=defaultdict(str, sent or {}), problem=problem)


def _questions(connection: Connection, item_ids: list[int]) -> dict[int, str]:
    rows = connection.execute(select(item.c.id, item.c.prompt).where(item.c.id.in_(item_ids)))
    return {row.id: str(row.prompt["messages"][-1]["content"]) for row in rows}
