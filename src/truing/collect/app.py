"""The application: every page and every route of the API, behind one guard.

Errors become one message each, as a page or as JSON, never a traceback.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import random
import secrets
import time
from collections.abc import AsyncIterator
from pathlib import Path

import anyio.to_thread
from fastapi import APIRouter, Depends, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from fastapi.staticfiles import StaticFiles
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from starlette.exceptions import HTTPException

from truing.collect import api, home
from truing.collect.accounts import oidc, token_pages
from truing.collect.accounts import pages as accounts_pages
from truing.collect.adjudication import pages as adjudication_pages
from truing.collect.chat import routes as chat_routes
from truing.collect.config import ServiceConfig
from truing.collect.dashboard import pages as dashboard_pages
from truing.collect.database import READERS, Database
from truing.collect.errors import InternalError, NotFoundError, NotSignedInError, ServiceError, StorageFullError
from truing.collect.exchange import routes as exchange_routes
from truing.collect.exchange.worker import Worker
from truing.collect.guidelines import pages as guidelines_pages
from truing.collect.making import pages as making_pages
from truing.collect.onboarding import pages as onboarding_pages
from truing.collect.onboarding.admission import OnboardingError
from truing.collect.people import lead_pages
from truing.collect.people import pages as people_pages
from truing.collect.screen import routes as screen_routes
from truing.collect.security import Guard, check_csrf, problem
from truing.collect.web import Clock, Service, authorize, templates
from truing.collect.writer import FULL, is_disk_error

PAGES: tuple[APIRouter, ...] = (
    screen_routes.router,
    accounts_pages.router,
    oidc.router,
    token_pages.router,
    home.router,
    chat_routes.router,
    onboarding_pages.router,
    guidelines_pages.router,
    people_pages.router,
    lead_pages.router,
    making_pages.router,
    dashboard_pages.router,
    adjudication_pages.router,
)
"""Every page. A room that has some adds its router here; what raters ask for all day comes first, as they are tried in order."""

STATIC = Path(__file__).parent / "static"
log = logging.getLogger(__name__)


def create_app(
    database: Database,
    config: ServiceConfig,
    *,
    folder: Path,
    key: bytes,
    clock: Clock = time.time,
    rng: random.Random | None = None,
) -> FastAPI:
    """The service over an open database. `folder` is where exports are written, `key` the service's own secret.

    `clock` and `rng` are for tests; the sides are drawn from the system's randomness.
    """
    service = Service(database, config, folder, key, clock, rng or secrets.SystemRandom())
    worker = Worker(database, folder, key, networks=config.webhook_networks, clock=clock)

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        anyio.to_thread.current_default_thread_limiter().total_tokens = READERS
        worker.start()
        yield
        await anyio.to_thread.run_sync(worker.stop)

    app = FastAPI(
        title="Truing preference collection",
        version="1",
        openapi_url="/api/v1/openapi.json",
        docs_url=None,  # their pages load scripts from elsewhere, which the policy forbids
        redoc_url=None,
        lifespan=lifespan,
        telemetry={"tracing": False, "metrics": False, "logs": False, "auto_configure": False},
        dependencies=[Depends(check_csrf)],
    )
    app.state.service = service
    exchange = exchange_routes.Exchange(
        database, lambda request, scope: int(authorize(request, scope)["id"]), worker, folder, key, clock, config
    )
    for router in PAGES:
        app.include_router(router, include_in_schema=False)
    for router in (api.router, chat_routes.api, exchange_routes.make_router(exchange)):
        app.include_router(router)
    app.add_api_route("/health", _health, include_in_schema=False)
    app.mount("/static", StaticFiles(directory=STATIC))
    _add_error_handlers(app)
    app.add_middleware(Guard, config=config, visitor_cookie=service.visitor_cookie)
    return app


def _health(request: Request) -> JSONResponse:
    """200 while the database can be read, and its disk takes what is written."""
    service: Service = request.app.state.service
    with service.database.read() as connection:
        connection.execute(text("SELECT 1"))
    service.database.check_disk(now=service.clock())
    return JSONResponse({"status": "ok"})


def _add_error_handlers(app: FastAPI) -> None:
    @app.exception_handler(ServiceError)
    def refused(request: Request, error: ServiceError) -> Response:
        if isinstance(error, OnboardingError) and _wants_page(request) and "campaign_id" in request.path_params:
            return RedirectResponse(f"/campaigns/{request.path_params['campaign_id']}/start", 303)
        if isinstance(error, NotSignedInError) and _wants_page(request):
            return RedirectResponse(f"/sign-in?next={request.url.path}", 303)
        return _error(request, error)

    @app.exception_handler(HTTPException)
    def http_error(request: Request, error: HTTPException) -> Response:
        if error.status_code == 404:
            return _error(request, NotFoundError("there is nothing at this address"))
        if _wants_page(request):
            return _error(request, ServiceError(str(error.detail)))
        return JSONResponse({"error": {"code": "http", "message": error.detail}}, error.status_code, error.headers)

    @app.exception_handler(RequestValidationError)
    def not_valid(_: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"] if part != "body")
        return JSONResponse({"error": {"code": "invalid", "message": f"{where}: {first['msg']}"}}, 422)

    @app.exception_handler(DBAPIError)
    def database_error(request: Request, error: DBAPIError) -> Response:
        if is_disk_error(error):
            return _error(request, StorageFullError(FULL))
        log.error("the database refused: %s", error.orig)
        return _error(request, InternalError(InternalError.MESSAGE))

    @app.exception_handler(OSError)
    def disk_error(request: Request, error: OSError) -> Response:
        if error.errno not in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}:
            raise error
        return _error(request, StorageFullError(FULL))

    @app.exception_handler(OverflowError)
    def beyond_any_id(request: Request, error: OverflowError) -> Response:
        if "SQLite INTEGER" not in str(error):
            raise error
        return _error(request, NotFoundError("there is nothing at this address"))

    @app.exception_handler(Exception)
    def unexpected(request: Request, _: Exception) -> Response:
        return _error(request, InternalError(InternalError.MESSAGE))


def _wants_page(request: Request) -> bool:
    return "text/html" in request.headers.get("accept", "") and not request.url.path.startswith("/api/")


def _error(request: Request, error: ServiceError) -> Response:
    if not _wants_page(request):
        return problem(error)
    headings = {401: "Not signed in", 403: "Not allowed", 404: "Not found", 507: "Storage is full"}
    heading = headings.get(error.status, "That did not work")
    frame = {"navigation": (), "path": request.url.path, "account": None, "csrf": ""}
    page = templates().get_template("service/message.html").render(**frame, heading=heading, message=str(error))
    return HTMLResponse(page, error.status)
