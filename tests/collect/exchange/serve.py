"""The routes of exchange as an app with two fixed tokens: in the tests' own process, or served by one of its own.

python serve.py DATABASE FOLDER LEAD_ID
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path

import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse

from truing.collect.config import ServiceConfig
from truing.collect.database import Database, open_database
from truing.collect.errors import NotAllowedError, NotSignedInError, ServiceError
from truing.collect.exchange.routes import Exchange, make_router
from truing.collect.exchange.worker import Worker

KEY = b"service key"
TOKENS = {"all": ("read", "campaigns", "export", "webhooks"), "reader": ("read",)}


def make_app(database: Database, folder: Path, lead_id: int, clock: Callable[[], float]) -> tuple[FastAPI, Worker]:
    """The app, and its worker not yet started."""
    worker = Worker(database, folder, KEY, clock=clock)

    def authorize(request: Request, scope: str) -> int:
        token = request.headers.get("Authorization", "").removeprefix("Bearer ")
        if token not in TOKENS:
            raise NotSignedInError("no such token")
        if scope not in TOKENS[token]:
            raise NotAllowedError(f"this token lacks the scope {scope!r}")
        return lead_id

    app = FastAPI()
    app.include_router(make_router(Exchange(database, authorize, worker, folder, KEY, clock, ServiceConfig())))

    @app.exception_handler(ServiceError)
    def refused(request: Request, error: ServiceError) -> JSONResponse:
        return JSONResponse({"error": {"code": error.code, "message": str(error)}}, error.status)

    return app, worker


class Announcing(uvicorn.Server):
    """Says on which port it listens."""

    async def startup(self, sockets=None) -> None:
        await super().startup(sockets)
        print(self.servers[0].sockets[0].getsockname()[1], flush=True)


if __name__ == "__main__":
    made, background = make_app(open_database(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), time.time)
    background.start()
    Announcing(uvicorn.Config(made, host="127.0.0.1", port=0, log_level="warning", lifespan="off")).run()
