"""The rating screen's routes in an application of their own: whoever the cookie names is signed in."""

from __future__ import annotations

import random
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse, JSONResponse
from fastapi.staticfiles import StaticFiles
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from sqlalchemy import select

import truing.collect
from truing.collect.errors import NotAllowedError, NotSignedInError, ServiceError
from truing.collect.schema import account
from truing.collect.screen.routes import router

HOME = Path(truing.collect.__file__).parent
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; form-action 'self'; "
    "frame-ancestors 'none'; base-uri 'none'"
)
CSRF = "stand-token"
TEMPLATES = Environment(
    loader=FileSystemLoader(HOME / "templates"), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
)


@dataclass(frozen=True)
class StandVisit:
    request: Request
    database: Any
    account: Any
    now: float
    rng: random.Random

    def render(self, template, **context):
        return TEMPLATES.get_template(template).render(**context)

    def page(self, template, **context):
        frame = {"navigation": [("/", "Work")], "path": self.request.url.path, "account": self.account, "csrf": CSRF}
        return HTMLResponse(self.render(template, **frame, **context))


def make(database, *, clock=time.time, rng=None):
    """An application with the screen's routes, `Cookie: as=PSEUDONYM` signing in."""
    app = FastAPI()
    drawn = rng or random.Random(0)

    def visit(request):
        with database.read() as connection:
            who = select(account).where(account.c.pseudonym == request.cookies.get("as", ""))
            row = connection.execute(who).mappings().one_or_none()
        if row is None:
            raise NotSignedInError("sign in")
        is_json = request.headers.get("content-type", "").startswith("application/json")
        if request.method not in {"GET", "HEAD"} and is_json and request.headers.get("x-csrf-token") != CSRF:
            raise NotAllowedError("no token")
        return StandVisit(request, database, row, clock(), drawn)

    app.state.visit = visit
    app.include_router(router)
    app.mount("/static", StaticFiles(directory=HOME / "static"))

    @app.middleware("http")
    async def policy(request, call_next):
        response = await call_next(request)
        response.headers["Content-Security-Policy"] = POLICY
        return response

    @app.exception_handler(ServiceError)
    def problem(request, error):
        return JSONResponse({"code": error.code, "message": str(error)}, error.status)

    return app


class Server:
    """The application on a free port of this machine, in a thread."""

    def __init__(self, app):
        self._server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="error", lifespan="off"))
        self._thread = threading.Thread(target=self._server.run, daemon=True)

    def __enter__(self):
        self._thread.start()
        while not self._server.started:
            time.sleep(0.01)
        return f"http://127.0.0.1:{self._server.servers[0].sockets[0].getsockname()[1]}"

    def __exit__(self, *_):
        self._server.should_exit = True
        self._thread.join()
