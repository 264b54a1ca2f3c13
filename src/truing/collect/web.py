"""STAND-IN until the service's own lands. Not committed."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Depends, FastAPI, Request
from fastapi.responses import HTMLResponse
from fastapi.staticfiles import StaticFiles
from jinja2 import Environment, PackageLoader, StrictUndefined
from sqlalchemy import RowMapping, select
from starlette.datastructures import FormData

from truing.collect.database import Database
from truing.collect.errors import NotAllowedError, NotSignedInError, ServiceError
from truing.collect.schema import account

NAV = {
    "rater": [("/", "Work"), ("/me", "My page")],
    "lead": [("/lead", "Campaigns"), ("/lead/raters", "Raters"), ("/lead/guidelines", "Guidelines"), ("/lead/invites", "Invites"), ("/me", "My page")],
}


@dataclass(frozen=True)
class Visit:
    request: Request
    database: Database
    account: RowMapping
    now: float
    csrf: str
    secret: bytes

    def page(self, template: str, status: int = 200, **context: Any) -> HTMLResponse:
        role = "rater" if self.account["role"] == "rater" else "lead"
        text = ENV.get_template(template).render(navigation=NAV[role], path=self.request.url.path, account=self.account, csrf=self.csrf, **context)
        return HTMLResponse(text, status, headers={"Content-Security-Policy": "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'"})


ENV = Environment(loader=PackageLoader("truing.collect", "templates"), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)


def visit(request: Request) -> Visit:
    state = request.app.state
    with state.database.read() as c:
        row = c.execute(select(account).where(account.c.pseudonym == request.cookies.get("as", ""))).mappings().one_or_none()
    if row is None or row["disabled_at"]:
        raise NotSignedInError("sign in")
    return Visit(request, state.database, row, state.clock(), "token", b"secret")


def lead_visit(found: Annotated[Visit, Depends(visit)]) -> Visit:
    if found.account["role"] == "rater":
        raise NotAllowedError("for leads")
    return found


async def form(request: Request) -> FormData:
    sent = await request.form()
    if sent.get("csrf") != "token":
        raise NotAllowedError("csrf")
    return sent


def make(database: Database, clock: Callable[[], float] = time.time) -> FastAPI:
    from pathlib import Path

    from truing.collect.people import routes

    app = FastAPI()
    app.state.database, app.state.clock = database, clock
    app.mount("/static", StaticFiles(directory=Path(__file__).parent / "static"))
    for router in routes.ROUTERS:
        app.include_router(router)

    @app.exception_handler(ServiceError)
    def problem(request: Request, error: ServiceError) -> HTMLResponse:
        return HTMLResponse(f"<p>{error}", error.status)

    return app
