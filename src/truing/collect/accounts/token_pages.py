"""The page where an administrator makes API tokens for programs, and revokes them."""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.responses import HTMLResponse, RedirectResponse

from truing.collect.accounts import tokens
from truing.collect.errors import ServiceError
from truing.collect.web import AdminVisit, Form, Visit

router = APIRouter(prefix="/lead/tokens", include_in_schema=False)


@router.get("")
def tokens_page(visit: AdminVisit) -> HTMLResponse:
    """Everybody's tokens in use, and the form that makes one."""
    return _page(visit)


@router.post("")
def create(visit: AdminVisit, form: Form) -> HTMLResponse:
    """Make a token of the administrator's own. The answer is the only page that ever shows its secret."""
    name, scopes = str(form.get("name", "")), [str(scope) for scope in form.getlist("scope")]
    try:
        _, secret = visit.database.write(lambda c: tokens.create(c, visit.account, name, scopes, now=visit.now))
    except ServiceError as error:
        return _page(visit, error.status, problem=str(error), name=name, chosen=scopes)
    return _page(visit, secret=secret, made=name)


@router.post("/{token_id}/revoke")
def revoke(visit: AdminVisit, token_id: int) -> RedirectResponse:
    """End a token, whoever made it."""
    visit.database.write(lambda c: tokens.revoke(c, token_id, visit.account, now=visit.now))
    return RedirectResponse("/lead/tokens", 303)


def _page(visit: Visit, status: int = 200, **shown: object) -> HTMLResponse:
    with visit.database.read() as connection:
        rows = tokens.in_use(connection)
    empty = {"secret": "", "made": "", "problem": "", "name": "", "chosen": []}
    context = {**empty, **shown, "tokens": rows, "meanings": tokens.MEANINGS, "longest_name": tokens.LONGEST_NAME}
    return visit.page("service/tokens.html", status, **context)
