"""A service's database with a campaign, its items and its raters, and hands to answer with."""

from __future__ import annotations

import itertools
import random
import runpy
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest
from fastapi.testclient import TestClient
from sqlalchemy import insert, select

from truing.collect import campaigns, judgments, leases
from truing.collect.answers import PairAnswer, on_screen
from truing.collect.client import Client
from truing.collect.config import CampaignConfig
from truing.collect.database import Database, open_database
from truing.collect.exchange.worker import Worker
from truing.collect.guidelines import versions
from truing.collect.new_items import NewItem
from truing.collect.schema import account, guideline
from truing.records import Guideline, Prompt

NOW = 1_750_000_000.0
make_app = runpy.run_path(str(Path(__file__).parent / "serve.py"))["make_app"]
BETTER = PairAnswer(choice="first", margin=2)
GUIDELINE = Guideline(version=3, text="# Guideline\n\n## Short {#short}\n\nPrefer short.\n")


@dataclass
class Desk:
    """One campaign at work."""

    database: Database
    folder: Path
    keys: Iterator[int] = field(default_factory=itertools.count)

    def campaign(self, name="demo", **settings) -> int:
        settings = {"gold_share": 0.0, "repeat_share": 0.0, "overlap": 2, "guideline": "main"} | settings
        config = CampaignConfig(name=name, **settings)
        return self.database.write(lambda connection: campaigns.create(connection, config, now=NOW))

    def items(self, campaign_id, n, responses=2, **more) -> None:
        rows = [
            NewItem(
                external_id=f"item-{i:03d}",
                prompt=Prompt.from_text(f"question {i}?"),
                responses=tuple(f"answer {i} {letter}" for letter in "abcdefghi"[:responses]),
                policies=tuple(f"policy-{letter}" for letter in "abcdefghi"[:responses]),
                **more,
            )
            for i in range(n)
        ]
        self.database.write(lambda connection: campaigns.add_items(connection, campaign_id, rows, now=NOW))

    def rater(self, pseudonym) -> int:
        values = {"pseudonym": pseudonym, "role": "rater", "is_simulated": True, "settings": {}, "created_at": NOW}
        row = insert(account).values(**values).returning(account.c.id)
        rater_id = self.database.write(lambda connection: connection.scalar(row))
        for guideline_id in [one["id"] for one in self.rows(guideline)]:
            self.database.write(lambda c, guideline_id=guideline_id: versions.confirm(c, rater_id, guideline_id, now=NOW))
        return rater_id

    def work(self, campaign_id, rater_id, n, answer=BETTER, **more) -> list[int]:
        """Answer up to `n` items, each with `answer` in stored order. Returns the judgments' ids."""
        done = []
        for i in range(n):

            def step(connection, i=i):
                row = campaigns.get(connection, campaign_id)
                config = campaigns.config_of(row)
                found = leases.next_lease(connection, row, config, rater_id, now=NOW + i, rng=random.Random(i))
                if found is None:
                    return None
                shown = on_screen((answer,), found.screen_order)
                key = f"key-{next(self.keys):08d}"
                sent = judgments.Submission(lease_id=found.lease_id, idempotency_key=key, answers=shown, **more)
                return judgments.submit(connection, rater_id, sent, now=NOW + i)

            made = self.database.write(step)
            if made is None:
                break
            done.append(made)
        return done

    def rows(self, table) -> list:
        with self.database.read() as connection:
            return list(connection.execute(select(table)).mappings())


@pytest.fixture
def desk(tmp_path):
    database = open_database(tmp_path / "service.db")
    values = {"name": "main", "version": GUIDELINE.version, "text": GUIDELINE.text, "created_at": NOW}
    row = insert(guideline).values(**values, guideline_hash=GUIDELINE.guideline_hash)
    database.write(lambda connection: connection.execute(row) and None)
    yield Desk(database, tmp_path / "sets")
    database.close()


@pytest.fixture
def service(desk):
    """The service's app around the campaign, with a lead's tokens; its worker is run by the tests themselves."""
    app, worker = make_app(desk.database, desk.folder, desk.rater("lead"), lambda: NOW)
    with TestClient(app) as http:
        yield Service(desk, http, worker)


@dataclass
class Service:
    desk: Desk
    http: TestClient
    worker: Worker

    @property
    def transport(self) -> httpx.MockTransport:
        """The app itself in place of a network."""
        return httpx.MockTransport(self._answer)

    def client(self, token="all", **options) -> Client:
        """The package's own client, on the app itself."""
        return Client("http://testserver", token, transport=self.transport, sleep=lambda _: None, **options)

    def _answer(self, request: httpx.Request) -> httpx.Response:
        sent = {"content": request.read(), "headers": dict(request.headers), "follow_redirects": False}
        answer = self.http.request(request.method, str(request.url), **sent)
        return httpx.Response(answer.status_code, headers=dict(answer.headers), content=answer.content)
