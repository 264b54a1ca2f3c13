"""The service over a test's database, somebody signed in to it, and a server of it for real browsers."""

from __future__ import annotations

import threading
import time

import uvicorn

from truing.collect.accounts import sessions
from truing.collect.app import create_app
from truing.collect.config import ServiceConfig

COOKIE = "truing"
CONFIG = ServiceConfig(public_url="http://testserver")


def service(database, folder, *, clock=time.time, rng=None):
    """The whole application."""
    return create_app(database, CONFIG, folder=folder, key=b"key", clock=clock, rng=rng)


def session_of(database, account_id, now=None):
    """The cookie's value of somebody who has just signed in."""
    return database.write(lambda c: sessions.start(c, account_id, CONFIG, now=time.time() if now is None else now))


class Server:
    """The application on a free port of this machine, in a thread."""

    def __init__(self, app):
        self._server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="error"))
        self._thread = threading.Thread(target=self._server.run, daemon=True)

    def __enter__(self):
        self._thread.start()
        while not self._server.started:
            time.sleep(0.01)
        return f"http://127.0.0.1:{self._server.servers[0].sockets[0].getsockname()[1]}"

    def __exit__(self, *_):
        self._server.should_exit = True
        self._thread.join()


def axe(page, *only):
    """What axe finds wrong with a page, by all its rules or by some: (rule, where)."""
    from axe_playwright_python.sync_playwright import Axe

    options = {"resultTypes": ["violations"]} | ({"runOnly": only} if only else {})
    found = Axe().run(page, options=options).response["violations"]
    return [(v["id"], [n["target"] for n in v["nodes"]]) for v in found]
