"""A request: the service that answers it, who asks, and pages for them.

Handlers are plain functions (`def`), run in a pool of threads: they read with `visit.database.read()` and change things with
`visit.database.write(work)`, which returns once the change is on disk. Those of the rating screen, asked for all day, are `async`
and wait for `visit.database.written(work)`: a thread less for each.
"""

from __future__ import annotations

import functools
import random
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TypeVar

from fastapi import Depends, Request
from fastapi.responses import HTMLResponse
from jinja2 import Environment, PackageLoader, StrictUndefined
from sqlalchemy import RowMapping
from starlette.datastructures import FormData

from truing.collect import words
from truing.collect.accounts import roles, sessions, tokens
from truing.collect.accounts.roles import Role
from truing.collect.accounts.secret import csrf_token
from truing.collect.accounts.tokens import Scope
from truing.collect.config import ServiceConfig
from truing.collect.dashboard import plots
from truing.collect.database import Database
from truing.collect.errors import NotAllowedError, NotSignedInError, ServiceError
from truing.collect.people.ledger import money
from truing.collect.rendering.diff import change
from truing.collect.rendering.markdown import render
from truing.collect.rendering.visible import visible
from truing.collect.sent import without_nul

Clock = Callable[[], float]
"""Seconds since 1970 UTC."""

_LEADS = (
    ("/lead", "Campaigns"),
    ("/lead/guidelines", "Guidelines"),
    ("/lead/people", "People"),
    ("/me", "My page"),
)
NAVIGATION: Mapping[Role, tuple[tuple[str, str], ...]] = {
    "rater": (("/", "Work"), ("/me", "My page"), ("/rate/settings", "Keys")),
    "lead": _LEADS,
    "admin": _LEADS,
}
"""What stands in the bar of every page, by role."""


@dataclass(frozen=True)
class Service:
    """The service's parts; `app.state.service`."""

    database: Database
    config: ServiceConfig
    folder: Path
    """Where exports are written."""
    key: bytes
    """Signs completion codes and webhooks."""
    clock: Clock
    rng: random.Random
    """Draws the sides; of the system, but for tests."""

    @property
    def session_cookie(self) -> str:
        """The cookie's name; the prefix has browsers refuse it without TLS, or set for another host."""
        return "__Host-truing" if self.config.is_secure else "truing"

    @property
    def visitor_cookie(self) -> str:
        """What the forms of somebody who is not signed in are tied to."""
        return "__Host-truing-visitor" if self.config.is_secure else "truing-visitor"


@functools.cache
def templates() -> Environment:
    """Jinja2 over `collect/templates`, all compiled; everything is escaped, and a missing value is an error."""
    loader = PackageLoader("truing.collect", "templates")
    made = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    made.filters |= {
        "change": change,
        "guideline_markdown": functools.partial(render, live_links=True),
        "markdown": render,
        "visible": visible,
    }
    made.globals |= {"words": words, "money": money, "plots": plots}
    for name in made.list_templates():
        made.get_template(name)
    return made


def service_of(request: Request) -> Service:
    """The service that answers a request."""
    found = request.app.state.service
    assert isinstance(found, Service)
    return found


@dataclass(frozen=True)
class Visit:
    """One request of somebody who is signed in."""

    request: Request
    service: Service
    account: RowMapping
    now: float

    @property
    def database(self) -> Database:
        """The service's database."""
        return self.service.database

    @property
    def rng(self) -> random.Random:
        """Draws the sides."""
        return self.service.rng

    @property
    def secret(self) -> bytes:
        """The service's own key."""
        return self.service.key

    @property
    def csrf(self) -> str:
        """What the person's forms must send back."""
        return csrf_of(self.request)

    def render(self, template: str, **context: Any) -> str:
        """A part of a page."""
        return templates().get_template(template).render(**context)

    def page(self, template: str, status: int = 200, **context: Any) -> HTMLResponse:
        """A whole page, with the person's navigation and CSRF token."""
        frame = {
            "navigation": NAVIGATION[self.account["role"]],
            "path": self.request.url.path,
            "account": self.account,
            "csrf": self.csrf,
        }
        return HTMLResponse(self.render(template, **{**frame, **context}), status)


def visit(request: Request) -> Visit:
    """Whoever is signed in. Raises NotSignedInError."""
    service = service_of(request)
    now = service.clock()
    cookie = request.cookies.get(service.session_cookie)
    if not cookie:
        raise NotSignedInError("you are not signed in")
    with service.database.read() as connection:
        account, seen_at = sessions.find(connection, cookie, service.config, now=now)
    if abs(now - seen_at) > sessions.TOUCH_S:
        service.database.write(lambda connection: sessions.touch(connection, cookie, now=now))
    return Visit(request, service, account, now)


def _at_least(role: Role) -> Callable[[Request], Visit]:
    def allowed(request: Request) -> Visit:
        found = visit(request)
        if not roles.includes(found.account["role"], role):
            raise NotAllowedError(f"this page is for a {role}")
        return found

    return allowed


def authorize(request: Request, scope: Scope) -> RowMapping:
    """The account behind a request to the API: of a bearer token with this scope, or somebody signed in whose role includes it.

    Raises NotSignedInError, NotAllowedError.
    """
    kind, _, secret = request.headers.get("authorization", "").partition(" ")
    if kind.lower() != "bearer":
        account = visit(request).account
        if not tokens.may(account["role"], (scope,)):
            raise NotAllowedError(f"a {account['role']} may not use '{scope}'")
        return account
    with service_of(request).database.read() as connection:
        return tokens.find(connection, secret.strip(), scope)


def csrf_of(request: Request) -> str:
    """What a changing request of this browser must send: tied to its session, or to its visit before it signs in."""
    service = service_of(request)
    cookie = request.cookies.get(service.session_cookie) or request.cookies.get(service.visitor_cookie)
    return csrf_token(cookie or request.state.visitor)


async def _form(request: Request) -> AsyncIterator[FormData]:
    async with request.form() as sent:  # closed with the request, uploaded files too
        yield FormData([(without_nul(name), without_nul(value)) for name, value in sent.multi_items()])


Serving = Annotated[Service, Depends(service_of)]
Visitor = Annotated[Visit, Depends(visit)]
LeadVisit = Annotated[Visit, Depends(_at_least("lead"))]
AdminVisit = Annotated[Visit, Depends(_at_least("admin"))]
Form = Annotated[FormData, Depends(_form)]
"""What a form sent; its CSRF token was checked before (`security.check_csrf`)."""


Choice = TypeVar("Choice", bound=str)


def one_of(form: FormData, name: str, allowed: Collection[Choice]) -> Choice:
    """A field that holds one of a few words. Raises ServiceError naming them."""
    for choice in allowed:
        if form.get(name) == choice:
            return choice
    raise ServiceError(f"{name}: one of {', '.join(allowed)}")


def whole_number(form: FormData, name: str) -> int:
    """A field that holds a whole number from 0; an absent or empty one is 0. Raises ServiceError."""
    text = str(form.get(name, "")).strip() or "0"
    if not (text.isascii() and text.isdecimal() and len(text) <= 18):
        raise ServiceError(f"{name}: a whole number")
    return int(text)


def public_page(request: Request, template: str, status: int = 200, **context: Any) -> HTMLResponse:
    """A page for somebody who is not signed in."""
    frame = {"navigation": (), "path": request.url.path, "account": None, "csrf": csrf_of(request)}
    text = templates().get_template(template).render(**{**frame, **context})
    return HTMLResponse(text, status)
