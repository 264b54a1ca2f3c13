"""A person's page for leads: their work, messages, qualifications, pay, what they hold, and what may be changed about them."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from typing import Any, Literal, get_args

from fastapi import APIRouter
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse
from sqlalchemy import Connection, RowMapping, select

from truing.collect import audit, campaigns
from truing.collect.accounts import roles
from truing.collect.accounts.roles import ROLES
from truing.collect.dashboard.board import rated_rows
from truing.collect.dashboard.numbers import drift, gold_accuracy, left_share, median_active_s, self_agreement
from truing.collect.errors import NotFoundError, ServiceError
from truing.collect.onboarding import admission
from truing.collect.onboarding.steps import Qualification
from truing.collect.people import earnings, erasure, messages
from truing.collect.people.earnings import PaymentKind
from truing.collect.people.pages import check_pseudonym
from truing.collect.schema import account, lease, qualification
from truing.collect.web import AdminVisit, Form, LeadVisit, Visit, one_of, whole_number
from truing.collect.words import DAY_S

router = APIRouter(prefix="/lead/people/{account_id}")
_DAYS = 14
_DECISIONS: tuple[Literal["granted", "revoked"], ...] = ("granted", "revoked")


@router.get("")
def person_page(visit: LeadVisit, account_id: int) -> HTMLResponse:
    """Everything that a lead sees and does about a person."""
    start = visit.now - visit.now % DAY_S - (_DAYS - 1) * DAY_S
    with visit.database.read() as connection:
        person = _person(connection, account_id)
        rated = rated_rows(connection, rater_id=account_id)
        held = (lease.c.rater_id == account_id, lease.c.state == "held")
        mine = select(qualification).where(qualification.c.account_id == account_id).order_by(qualification.c.name)
        context: dict[str, Any] = {
            "person": person,
            "rated": rated,
            "gold": gold_accuracy(rated),
            "gold_by_day": drift(rated, start, start + _DAYS * DAY_S, DAY_S),
            "repeats": self_agreement(rated),
            "left": left_share(rated),
            "median_s": median_active_s(rated),
            "qualifications": list(connection.execute(mine).mappings()),
            "thread": messages.thread(connection, account_id),
            "ledger": earnings.ledger(connection, account_id),
            "campaigns": campaigns.listed(connection),
            "held": list(connection.execute(select(lease).where(*held).order_by(lease.c.leased_at)).mappings()),
        }
    visit.database.write(lambda c: messages.mark_read(c, visit.account["id"], now=visit.now, sender_id=account_id))
    return visit.page("people/person.html", **context, now=visit.now, roles=ROLES, is_admin=_is_admin(visit))


@router.post("/messages")
def write(visit: LeadVisit, form: Form, account_id: int) -> RedirectResponse:
    """Write to the person; it is on their own page, and their start page says so."""
    text = str(form.get("text", ""))
    visit.database.write(lambda c: messages.send(c, account_id, text, now=visit.now, by=visit.account["id"]))
    return _back(account_id, "messages")


@router.post("/qualification")
def set_qualification(visit: LeadVisit, form: Form, account_id: int) -> RedirectResponse:
    """Have a qualification earned again (its attempts begin anew), or grant it."""
    name = str(form.get("name", ""))
    status = one_of(form, "status", _DECISIONS)
    decided = Qualification(status, decided_at=visit.now)

    def work(connection: Connection) -> None:
        if admission.qualification_of(connection, account_id, name) is None:
            raise NotFoundError(f"this person has no qualification {name!r} yet")
        admission.decide(connection, account_id, name, decided)
        by = visit.account["id"]
        audit.record(connection, f"qualification.{status}", f"account:{account_id}", now=visit.now, by=by, detail={"name": name})

    visit.database.write(work)
    return _back(account_id, "qualifications")


@router.post("/payments")
def pay(visit: LeadVisit, form: Form, account_id: int) -> RedirectResponse:
    """Write down money that was sent, or a bonus."""
    kind: PaymentKind = one_of(form, "kind", get_args(PaymentKind))
    cents, campaign_id = _cents(str(form.get("amount", ""))), whole_number(form, "campaign")
    note = str(form.get("note", ""))[:500]
    by = visit.account["id"]
    visit.database.write(lambda c: earnings.pay(c, account_id, campaign_id, kind, cents, now=visit.now, by=by, note=note))
    return _back(account_id, "pay")


@router.post("/role")
def set_role(visit: AdminVisit, form: Form, account_id: int) -> RedirectResponse:
    """Change what somebody may do."""
    role = one_of(form, "role", ROLES)
    visit.database.write(lambda c: roles.set_role(c, account_id, role, now=visit.now, by=visit.account["id"]))
    return _back(account_id, "access")


@router.get("/data.json")
def data(visit: AdminVisit, account_id: int) -> JSONResponse:
    """Everything kept about the person: for a request that reaches the administrator and not the person's own page."""
    with visit.database.read() as connection:
        document, person = erasure.export_person(connection, account_id), _person(connection, account_id)
    name = f"truing-{person['pseudonym']}.json"
    return JSONResponse(document, headers={"Content-Disposition": f'attachment; filename="{name}"'})


@router.get("/erase")
def ask_to_erase(visit: AdminVisit, account_id: int) -> HTMLResponse:
    """What erasing does, and the form that asks for it."""
    with visit.database.read() as connection:
        person = _person(connection, account_id)
    action, back = f"/lead/people/{account_id}/erase", f"/lead/people/{account_id}"
    return visit.page("people/erase.html", person=person, action=action, back=back, is_self=False)


@router.post("/erase")
def erase(visit: AdminVisit, form: Form, account_id: int) -> RedirectResponse:
    """Erase the person, once their pseudonym was written out."""

    def work(connection: Connection) -> None:
        check_pseudonym(form.get("pseudonym"), _person(connection, account_id))
        erasure.erase(connection, account_id, now=visit.now, by=visit.account["id"])

    visit.database.write(work)
    return _back(account_id, "access")


def _person(connection: Connection, account_id: int) -> RowMapping:
    row = connection.execute(select(account).where(account.c.id == account_id)).mappings().one_or_none()
    if row is None:
        raise NotFoundError("there is no such person")
    return row


def _is_admin(visit: Visit) -> bool:
    return roles.includes(visit.account["role"], "admin")


def _cents(amount: str) -> int:
    try:
        cents = Decimal(amount.strip()) * 100
        if cents.is_finite() and cents == int(cents):
            return int(cents)
    except InvalidOperation:
        pass
    raise ServiceError(f"amount: {amount!r} is no amount of money; write it like 12.50")


def _back(account_id: int, part: str) -> RedirectResponse:
    return RedirectResponse(f"/lead/people/{account_id}#{part}", 303)
