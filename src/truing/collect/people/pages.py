"""A rater's own page: how far they are, what gold says of their work, what they have earned, their messages, their data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse
from pydantic import JsonValue
from sqlalchemy import Connection, RowMapping, select

from truing.collect import campaigns
from truing.collect.accounts import own_settings
from truing.collect.dashboard.board import rated_rows
from truing.collect.dashboard.numbers import drift, gold_accuracy, median_active_s, self_agreement
from truing.collect.errors import NotFoundError, ServiceError
from truing.collect.people import completion, earnings, erasure, messages
from truing.collect.people.limits import BLUR, OPTED_IN, OWN_CAP
from truing.collect.schema import item, judgment, qualification
from truing.collect.verdicts import agrees, parse, verdict
from truing.collect.web import Form, Visitor, whole_number
from truing.collect.words import DAY_S

router = APIRouter()
FEEDBACK_SHOWN = 10
_DAYS = 14


@dataclass(frozen=True)
class GoldFeedback:
    """One known item that the rater answered, with the answer that was known. Sides are those that they saw."""

    question: str
    given: str
    known: str
    is_right: bool
    judged_at: float


@router.get("/me")
def own_page(visit: Visitor) -> HTMLResponse:
    """Everything that a rater sees about themselves."""
    account_id, start = visit.account["id"], visit.now - visit.now % DAY_S - (_DAYS - 1) * DAY_S
    with visit.database.read() as connection:
        rated = rated_rows(connection, rater_id=account_id)
        context: dict[str, Any] = {
            "rated": len(rated),
            "today": sum(r.judged_at >= visit.now - visit.now % DAY_S for r in rated),
            "gold": gold_accuracy(rated),
            "gold_by_day": drift(rated, start, start + _DAYS * DAY_S, DAY_S),
            "repeats": self_agreement(rated),
            "median_s": median_active_s(rated),
            "feedback": feedback(connection, account_id),
            "ledger": earnings.ledger(connection, account_id),
            "campaign_names": {row["id"]: row["name"] for row in campaigns.listed(connection)},
            "qualifications": _qualifications(connection, account_id),
            "thread": messages.thread(connection, account_id),
            "settings": _settings(visit.account),
        }
    if any(m.from_lead and m.read_at is None for m in context["thread"]):
        visit.database.write(lambda c: messages.mark_read(c, account_id, now=visit.now))
    return visit.page("people/me.html", **context)


@router.post("/me/settings")
def save_settings(visit: Visitor, form: Form) -> RedirectResponse:
    """Whether to be given harmful texts, how many a day at most, and whether they open blurred."""
    cap = whole_number(form, "cap") if str(form.get("cap", "")).strip() else None
    chosen: dict[str, JsonValue] = {OPTED_IN: form.get("opt_in") == "on", OWN_CAP: cap, BLUR: form.get("blur") == "on"}
    visit.database.write(lambda c: own_settings.change(c, visit.account["id"], chosen))
    return RedirectResponse("/me?saved=1#harm", 303)


@router.post("/me/messages")
def write_back(visit: Visitor, form: Form) -> RedirectResponse:
    """Answer the lead who wrote last."""
    text = str(form.get("text", ""))
    visit.database.write(lambda c: messages.answer_lead(c, visit.account["id"], text, now=visit.now))
    return RedirectResponse("/me#messages", 303)


@router.get("/me/data.json")
def own_data(visit: Visitor) -> JSONResponse:
    """Everything that is kept about the person, as one file."""
    with visit.database.read() as connection:
        document = erasure.export_person(connection, visit.account["id"])
    name = f"truing-{visit.account['pseudonym']}.json"
    return JSONResponse(document, headers={"Content-Disposition": f'attachment; filename="{name}"'})


@router.get("/me/erase")
def ask_to_erase(visit: Visitor) -> HTMLResponse:
    """What erasing does, and the form that asks for it."""
    return visit.page("people/erase.html", person=visit.account, action="/me/erase", back="/me", is_self=True)


@router.post("/me/erase")
def erase_self(visit: Visitor, form: Form) -> HTMLResponse:
    """Erase the person who asks, once they have written their pseudonym, and say so: their session is gone with them."""
    check_pseudonym(form.get("pseudonym"), visit.account)
    visit.database.write(lambda c: erasure.erase(c, visit.account["id"], now=visit.now, by=visit.account["id"]))
    said = f"What was personal is gone; judgments stay under {visit.account['pseudonym']}. Thank you for your work."
    return visit.page("service/message.html", heading="You are erased", message=said, navigation=(), account=None)


@router.get("/campaigns/{campaign_id}/done")
def session_end(visit: Visitor, campaign_id: int) -> HTMLResponse:
    """The end of a session: thanks, or the code that a crowd platform asks for."""
    with visit.database.read() as connection:
        row = campaigns.get(connection, campaign_id)
        config = campaigns.config_of(row).completion
        done = completion.answered(connection, campaign_id, visit.account["id"])
    if config is None:
        raise NotFoundError("this campaign has no completion code")
    found = completion.session(config, done, visit.secret, campaign_id, visit.account["pseudonym"])
    return visit.page("people/done.html", campaign=row, session=found)


def check_pseudonym(written: object, person: RowMapping) -> None:
    """Raise ServiceError unless the pseudonym was written out: what cannot be undone is not one click away."""
    if str(written or "").strip() != person["pseudonym"]:
        raise ServiceError(f"to erase, write the pseudonym as it stands: {person['pseudonym']}")


def feedback(connection: Connection, account_id: int) -> list[GoldFeedback]:
    """The rater's latest answers to items whose answer is known, newest first. They will not see these again."""
    query = (
        select(judgment.c.answers, judgment.c.screen_order, judgment.c.judged_at, item.c.prompt, item.c.gold)
        .join(item, item.c.id == judgment.c.item_id)
        .where(judgment.c.rater_id == account_id, judgment.c.is_current, judgment.c.kind == "answer", item.c.gold.is_not(None))
        .order_by(judgment.c.id.desc())
        .limit(FEEDBACK_SHOWN * 2)
    )
    found = []
    for row in connection.execute(query):
        given, known = parse(row.answers), parse(row.gold)
        is_right = agrees(given, known)
        if is_right is not None:
            places = _on_screen(row.screen_order)
            question = str(row.prompt["messages"][-1]["content"])
            said = (verdict(given), verdict(known))
            mine, right = (places.get(one, one) for one in said)
            found.append(GoldFeedback(question, mine, right, is_right, row.judged_at))
    return found[:FEEDBACK_SHOWN]


def _on_screen(order: list[int]) -> dict[str, str]:
    """Verdicts on a pair in the words of the screen that the rater saw."""
    if len(order) != 2:
        return {}
    first, second = ("the left one", "the right one") if order[0] == 0 else ("the right one", "the left one")
    return {"first": first, "second": second, "1>2": first, "2>1": second, "tie": "a tie"}


def _settings(person: RowMapping) -> dict[str, Any]:
    kept = person["settings"] or {}
    return {"opt_in": bool(kept.get(OPTED_IN)), "cap": kept.get(OWN_CAP), "blur": kept.get(BLUR, True)}


def _qualifications(connection: Connection, account_id: int) -> list[RowMapping]:
    rows = select(qualification).where(qualification.c.account_id == account_id).order_by(qualification.c.name)
    return list(connection.execute(rows).mappings())
