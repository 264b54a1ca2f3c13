"""Running the service: one process on SQLite, one or several on PostgreSQL."""

from __future__ import annotations

import contextlib
import functools
import ipaddress
import socket
import time
from dataclasses import dataclass
from pathlib import Path

import uvicorn
from fastapi import FastAPI

from truing.collect.accounts import invites, oidc
from truing.collect.accounts.secret import service_key
from truing.collect.config import ServiceConfig
from truing.collect.database import Database, database_url, open_database
from truing.collect.processes import run
from truing.errors import TruingError

DATABASE = "collect.sqlite"
KEY = "service.key"
EXPORTS = "exports"


@dataclass(frozen=True)
class Place:
    """Where a service keeps its things: `folder` holds its key and its exports, and the database where that is SQLite."""

    folder: Path
    database: str
    config: ServiceConfig

    def open(self) -> Database:
        """The database, brought up to date."""
        return open_database(self.database)

    def app(self) -> FastAPI:
        """The application, in the process that calls this."""
        from truing.collect.app import create_app

        return create_app(self.open(), self.config, folder=self.folder / EXPORTS, key=service_key(self.folder / KEY))


def place(folder: Path, database: str | None, config: ServiceConfig) -> Place:
    """A service in `folder`, on its own SQLite file unless `database` names another."""
    return Place(folder.resolve(), database or str(folder.resolve() / DATABASE), config)


def prepare(found: Place) -> str | None:
    """Bring the database up to date before any process serves it. Returns the one-time administrator link, where it needs one."""
    if found.config.oidc is not None:
        oidc.check(found.config.oidc)
    service_key(found.folder / KEY)
    database = found.open()
    try:
        secret = database.write(lambda connection: invites.for_first_admin(connection, found.config, now=time.time()))
    finally:
        database.close()
    return f"{found.config.public_url}/invite/{secret}" if secret else None


def serve(found: Place, host: str, port: int, processes: int = 1) -> None:
    """Serve until interrupted. Raises TruingError where the port is taken, or several processes are to share a SQLite file."""
    if processes > 1 and database_url(found.database).get_backend_name() == "sqlite":
        raise TruingError("--processes: several need PostgreSQL (--database postgresql+psycopg://...); SQLite has one writer")
    listening = listen(host, port)
    _load()
    one = functools.partial(_serve_one, found, listening)
    if processes == 1:
        one()
    else:
        run(one, processes)


def _load() -> None:
    """What takes time and is the same in every process: its modules, and its templates compiled."""
    from truing.collect import app  # noqa: F401  (only to have it loaded)
    from truing.collect.web import templates

    templates()


def _serve_one(found: Place, listening: socket.socket) -> None:
    config = uvicorn.Config(
        found.app,
        factory=True,
        http="httptools",
        log_level="warning",
        access_log=False,  # addresses and invitations are nobody's to keep
        server_header=False,
        timeout_graceful_shutdown=10,
        timeout_keep_alive=75,  # a rater thinks longer than the usual five seconds
    )
    with contextlib.suppress(KeyboardInterrupt):  # which is how it is stopped
        uvicorn.Server(config).run([listening])


def listen(host: str, port: int) -> socket.socket:
    """A listening socket. Raises TruingError where the address is taken or is not this machine's."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # Named as TCP, so that asyncio turns off the delay of small segments: 40 ms an answer otherwise.
    listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
    except OSError as error:
        listening.close()
        raise TruingError(f"{host}:{port}: cannot listen there ({error.strerror}). Choose another --port or --host.") from None
    listening.listen(1024)
    listening.set_inheritable(True)
    return listening


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches the address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def exposure(host: str, config: ServiceConfig) -> str | None:
    """What listening on `host` means, where others reach it."""
    if is_loopback(host):
        return None
    if config.is_secure:
        return f"listening on {host}: everybody who reaches this machine reaches the service. TLS must end in front of it."
    return (
        f"listening on {host} without TLS: passwords and answers cross the network in clear. Put a proxy with TLS in front and "
        "give its address as --public-url https://..., or stay on 127.0.0.1."
    )
