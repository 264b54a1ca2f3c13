"""The whole service in the tests' own process, and browsers of people signed in to it."""

from __future__ import annotations

import random
import re
from dataclasses import dataclass, field
from pathlib import Path

from argon2 import PasswordHasher
from fastapi.testclient import TestClient

from truing.collect.accounts import roles, tokens
from truing.collect.app import create_app
from truing.collect.config import ServiceConfig
from truing.collect.database import Database

PASSWORD = "correct horse battery"
PASSWORD_HASH = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1).hash(PASSWORD)
"""Made at a fraction of the usual cost; what a hash costs to check stands in it."""
KEY = b"service key"
CSRF = re.compile(r'name="csrf(?:-token)?" (?:value|content)="([0-9a-f]{64})"')


@dataclass
class Clock:
    """Says the time that a test sets."""

    now: float = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@dataclass
class World:
    """The service, its clock, and people."""

    database: Database
    folder: Path
    config: ServiceConfig = field(default_factory=lambda: ServiceConfig(public_url="http://testserver"))
    clock: Clock = field(default_factory=Clock)

    def __post_init__(self) -> None:
        self.app = create_app(self.database, self.config, folder=self.folder, key=KEY, clock=self.clock, rng=random.Random(0))

    def browser(self) -> TestClient:
        """A browser of somebody who is not signed in."""
        base = "https://testserver" if self.config.is_secure else "http://testserver"
        headers = {"accept": "text/html"}
        return TestClient(self.app, base_url=base, headers=headers, follow_redirects=False, raise_server_exceptions=False)

    def account(self, login: str, role: str = "rater") -> int:
        return self.database.write(lambda c: roles.create(c, login, role, now=self.clock.now, password_hash=PASSWORD_HASH))

    def signed_in(self, login: str, role: str = "rater") -> TestClient:
        """A browser of a new person who has signed in."""
        self.account(login, role)
        browser = self.browser()
        answer = sign_in(browser, login)
        assert answer.status_code == 303, answer.text
        return browser

    def api(self, *scopes: str, role: str = "admin") -> TestClient:
        """A program with a token."""
        account_id = self.account(f"{role}-{'-'.join(scopes)}", role)
        owner = {"id": account_id, "role": role}
        _, secret = self.database.write(lambda c: tokens.create(c, owner, "test", scopes, now=self.clock.now))
        headers = {"authorization": f"Bearer {secret}"}
        return TestClient(self.app, headers=headers, follow_redirects=False, raise_server_exceptions=False)


def sign_in(browser: TestClient, login: str, password: str = PASSWORD, **more: str):
    page = browser.get("/sign-in")
    return browser.post("/sign-in", data={"csrf": csrf(page.text), "login": login, "password": password, **more})


def csrf(page: str) -> str:
    found = CSRF.search(page)
    assert found, page
    return found[1]
