"""What every request handler works with, and who is asking.

Handlers are plain functions (`def`), run in a pool of threads: they read with `service.database.read()` and change things with
`service.database.write(work)`, which returns once the change is on disk.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request
from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from starlette.responses import HTMLResponse

from truing.collect import accounts
from truing.collect.accounts import Account, Role, Scope
from truing.collect.config import ServiceConfig
from truing.collect.database import Database
from truing.collect.errors import NotAllowedError, NotSignedInError

Clock = Callable[[], float]
"""Seconds since 1970 UTC."""


class LockedRandom(random.Random):
    """A seeded generator that threads may share; for tests. The service itself draws from the system."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self._lock = threading.Lock()

    def random(self) -> float:
        """The next draw of [0, 1)."""
        with self._lock:
            return super().random()


@dataclass(frozen=True)
class Service:
    """The service's parts; `app.state.service`."""

    database: Database
    config: ServiceConfig
    clock: Clock
    rng: random.Random
    templates: Environment

    @property
    def cookie(self) -> str:
        """Name of the session's cookie; the prefix makes browsers refuse it without TLS or from another host."""
        return "__Host-truing" if self.config.is_secure else "truing"


def new_templates() -> Environment:
    """Jinja2 over `collect/templates`; everything is escaped, and a missing value is an error."""
    loader = PackageLoader("truing.collect", "templates")
    environment = Environment(loader=loader, autoescape=select_autoescape(default=True, default_for_string=True))
    environment.undefined = StrictUndefined
    return environment


def service_of(request: Request) -> Service:
    """The service that answers this request."""
    found = request.app.state.service
    assert isinstance(found, Service)
    return found


def session_account(request: Request) -> Account:
    """Whoever is signed in with a cookie. Raises NotSignedInError."""
    service = service_of(request)
    cookie = request.cookies.get(service.cookie)
    if not cookie:
        raise NotSignedInError("you are not signed in")
    now = service.clock()
    with service.database.read() as connection:
        found, seen_at = accounts.session_account(connection, cookie, service.config, now=now)
    if abs(now - seen_at) > accounts.TOUCH_S:
        service.database.write(lambda connection: accounts.touch_session(connection, cookie, now=now))
    return found


def at_least(role: Role) -> Callable[[Request], Account]:
    """A dependency: the account signed in, with this role or above. Raises NotAllowedError."""

    def allowed(request: Request) -> Account:
        found = session_account(request)
        if not found.is_at_least(role):
            raise NotAllowedError(f"this is for a {role}; you are a {found.role}")
        return found

    return allowed


def with_scope(scope: Scope) -> Callable[[Request], Account]:
    """A dependency of the API: the owner of a bearer token that has this scope, or a lead signed in with a cookie."""

    def allowed(request: Request) -> Account:
        kind, _, secret = request.headers.get("authorization", "").partition(" ")
        if kind.lower() != "bearer":
            return at_least("admin" if scope == "admin" else "lead")(request)
        service = service_of(request)
        with service.database.read() as connection:
            found, scopes = accounts.token_account(connection, secret.strip())
        if scope not in scopes:
            raise NotAllowedError(f"this token has no scope '{scope}'; it has {', '.join(sorted(scopes))}")
        return found

    return allowed


Serving = Annotated[Service, Depends(service_of)]
Rater = Annotated[Account, Depends(at_least("rater"))]
Lead = Annotated[Account, Depends(at_least("lead"))]
Admin = Annotated[Account, Depends(at_least("admin"))]


def page(request: Request, template: str, *, status: int = 200, **values: object) -> HTMLResponse:
    """A page from a template, which also gets `csrf`, `account` (None where nobody is signed in) and `path`."""
    service = service_of(request)
    common = {"csrf": request.state.csrf, "account": _whoever(request), "path": request.url.path}
    return HTMLResponse(service.templates.get_template(template).render({**common, **values}), status_code=status)


def _whoever(request: Request) -> Account | None:
    try:
        return session_account(request)
    except NotSignedInError:
        return None
