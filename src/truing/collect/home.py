"""The start page, and what a lead does about people: invite, release, keep out."""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from sqlalchemy import Connection, func, select

from truing.collect import campaigns, leases
from truing.collect.accounts import invites, roles
from truing.collect.accounts.roles import ROLES, Role
from truing.collect.errors import NotAllowedError
from truing.collect.people import messages
from truing.collect.schema import account, lease
from truing.collect.web import AdminVisit, Form, LeadVisit, Visit, Visitor, one_of

router = APIRouter(include_in_schema=False)


@router.get("/")
def home(visit: Visitor) -> Response:
    """What there is to do: for a lead, the campaigns."""
    if roles.includes(visit.account["role"], "lead"):
        return RedirectResponse("/lead", 303)
    with visit.database.read() as connection:
        shown = [row for row in campaigns.listed(connection) if row["status"] == "open"]
        unread = messages.unread(connection, visit.account["id"])
    return visit.page("service/home.html", campaigns=shown, unread=unread)


@router.get("/lead/people")
def people_page(visit: LeadVisit) -> HTMLResponse:
    """Everybody who can sign in, and what they hold."""
    return _people_page(visit)


@router.post("/lead/people/invite")
def invite(visit: LeadVisit, form: Form) -> HTMLResponse:
    """A link that makes one account; a lead invites raters, an administrator anybody."""
    role: Role = one_of(form, "role", ROLES) if "role" in form else "rater"
    if role != "rater" and visit.account["role"] != "admin":
        raise NotAllowedError("only an administrator invites leads and administrators")
    config = visit.service.config
    secret = visit.database.write(lambda c: invites.create(c, role, config, now=visit.now, by=visit.account["id"]))
    return _people_page(visit, f"{config.public_url}/invite/{secret}")


@router.post("/lead/people/{account_id}/release")
def release(visit: LeadVisit, account_id: int) -> RedirectResponse:
    """Give back what somebody holds: for a laptop that was closed for good."""
    visit.database.write(lambda c: leases.release_all(c, account_id, now=visit.now, by=visit.account["id"]))
    return RedirectResponse(f"/lead/people/{account_id}", 303)


@router.post("/lead/people/{account_id}/access")
def set_access(visit: AdminVisit, form: Form, account_id: int) -> RedirectResponse:
    """Keep somebody out, or let them in again."""

    def change(connection: Connection) -> None:
        if form.get("access") == "on":
            roles.enable(connection, account_id, now=visit.now, by=visit.account["id"])
        else:
            leases.release_all(connection, account_id, now=visit.now, by=visit.account["id"])
            roles.disable(connection, account_id, now=visit.now, by=visit.account["id"])

    visit.database.write(change)
    return RedirectResponse(f"/lead/people/{account_id}", 303)


def _people_page(visit: Visit, link: str = "") -> HTMLResponse:
    held = select(func.count()).select_from(lease).where(lease.c.rater_id == account.c.id, lease.c.state == "held")
    columns = [account.c[name] for name in ("id", "pseudonym", "name", "login", "role", "disabled_at")]
    people = select(*columns, held.scalar_subquery().label("held")).where(account.c.login.is_not(None)).order_by(account.c.id)
    with visit.database.read() as connection:
        rows = list(connection.execute(people).mappings())
        unread = messages.unread_by_sender(connection, visit.account["id"])
    shown = [{**row, "unread": unread.get(row["id"], 0)} for row in rows]
    return visit.page("service/people.html", people=shown, link=link, is_admin=visit.account["role"] == "admin")
