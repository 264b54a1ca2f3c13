"""A hundred raters at work on the collection service while it is killed: what is lost, what is doubled, how long they wait.

    python -m benchmarks.collect_load --raters 100 --kills 10 --json
    python -m benchmarks.collect_load --raters 100 --kills 10 --json --database postgresql+psycopg://... --processes 4

The server is the real one (`truing collect`), in processes of its own, on the same cores as the raters. Each rater signs in,
opens the page, and then takes an item, thinks, has a draft saved and submits, until nothing is left; `--think-s` is the mean
time between being given an item and submitting it (exponential). Its default, 5 s, is faster than anybody reads two answers;
with less the service is asked for more than people can ask of it, and what is measured is `requests_per_s`, the most it can do.
A fifth of the submissions are sent twice at the same moment.
`--kills` times, spread evenly over the work, every process of the server is killed with SIGKILL and started again; raters
repeat what was not answered, under the same key.

Afterwards the database is read: every acknowledged judgment must be there once, and nothing beyond need without its flag.

Times are from sending a request to its whole answer. Requests that fell into a restart (from the kill until the server answers
again, and those that were lost with it) are left out of them and counted apart: `in_restarts`, `restart_max_ms`. `settled` are
the same percentiles without the first second after each restart, in which what has queued up meanwhile is worked off.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.parse
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.load_client import Answer, Connection, ConnectionLostError, asked
from benchmarks.machine import describe

DOUBLE_SHARE = 0.2
PAGE_EVERY = 10
OVERLAP = 3
BACKLOG_S = 1.0
PASSWORD = "load test password"
CSRF = re.compile(r'name="csrf(?:-token)?" (?:value|content)="([0-9a-f]{64})"')
LEASE = re.compile(r'data-lease="([^"]+)" data-guideline-hash="([^"]*)"')


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--raters", type=int, default=100)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--judgments", type=int, default=3000, help="judgments of tasks that are needed in all")
    parser.add_argument("--think-s", type=float, default=5.0, help="mean time that a rater takes for an item")
    parser.add_argument("--database", default=None, help="postgresql+psycopg://... (an empty one); default: a new SQLite file")
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true", help="print the result as one line of JSON, last")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="collect-load-") as folder:
        result = run(arguments, Path(folder))
    if arguments.json:
        print(json.dumps(result))
    failed = result["lost"] or result["duplicates"] or result["unflagged_surplus"] or result["unfinished"]
    sys.exit(1 if failed else 0)


def run(arguments: argparse.Namespace, folder: Path) -> dict[str, Any]:
    database = arguments.database or str(folder / "collect.sqlite")
    campaign_id = prepare(database, arguments.raters, arguments.judgments)
    server = Server(database, folder, arguments.processes)
    load = Load(arguments, campaign_id, server)
    try:
        asyncio.run(load.run())
    finally:
        server.kill()
    seconds = time.monotonic() - load.began
    found = {"seconds": round(seconds, 1), **load.times(), **audit(database, load.acknowledged)}
    found["requests_per_s"] = round((found["requests"] + found["in_restarts"]) / seconds, 1)
    settings = {"raters": arguments.raters, "kills": len(server.down), "think_s": arguments.think_s}
    kind = "postgresql" if arguments.database else "sqlite"
    return {**found, **settings, "processes": arguments.processes, "database": kind, "machine": describe()}


def prepare(database: str, raters: int, judgments: int) -> int:
    """A campaign with as many items as make that many judgments, gold besides, and an account for each rater."""
    from truing.collect import campaigns
    from truing.collect.accounts import passwords, roles
    from truing.collect.answers import PairAnswer
    from truing.collect.config import CampaignConfig
    from truing.collect.database import open_database
    from truing.collect.new_items import NewItem
    from truing.records import Prompt

    def new_item(n: int, purpose: str) -> NewItem:
        texts = (f"A first answer {n}. " * 20, f"A second answer {n}, in other words. " * 20)
        gold = None if purpose == "task" else (PairAnswer(choice="first", margin=2),)
        prompt = Prompt.from_text(f"{purpose} question {n}? " * 5)
        return NewItem(external_id=f"{purpose}-{n}", prompt=prompt, responses=texts, purpose=purpose, gold=gold)

    rows = [new_item(n, "task") for n in range(judgments // OVERLAP)] + [new_item(n, "gold") for n in range(50)]
    password_hash = passwords.hash_password(PASSWORD)
    opened = open_database(database)
    try:

        def work(connection: Any) -> int:
            for n in range(raters):
                roles.create(connection, rater_name(n), "rater", now=time.time(), password_hash=password_hash, is_simulated=True)
            made = campaigns.create(connection, CampaignConfig(name="load", overlap=OVERLAP), now=time.time())
            campaigns.add_items(connection, made, rows, now=time.time())
            return made

        return opened.write(work)
    finally:
        opened.close()


def rater_name(n: int) -> str:
    return f"simulated-{n}"


class Server:
    """`truing collect` in a process group of its own, killed whole."""

    def __init__(self, database: str, folder: Path, processes: int) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        options = ["--database", database, "--folder", str(folder), "--port", str(self.port), "--processes", str(processes)]
        self._command = [sys.executable, "-m", "truing", "collect", *options]
        self._log = (folder / "server.log").open("wb")
        self._process: subprocess.Popen[bytes] | None = None
        self.down: list[tuple[float, float]] = []
        """From each kill to the first answer after it."""

    async def start(self) -> None:
        """Start, and wait until it answers."""
        self._process = subprocess.Popen(self._command, stdout=self._log, stderr=self._log, start_new_session=True)
        connection = Connection("127.0.0.1", self.port)
        while True:
            try:
                if (await connection.request("GET", "/health")).status == 200:
                    connection.close()
                    return
            except ConnectionLostError:
                if self._process.poll() is not None:
                    raise RuntimeError(f"the server ended with {self._process.returncode}: see {self._log.name}") from None
                await asyncio.sleep(0.02)

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    async def kill_and_start(self) -> None:
        killed = time.monotonic()
        self.kill()
        await self.start()
        self.down.append((killed, time.monotonic()))

    def kill(self) -> None:
        if self._process is not None and self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()


@dataclass(frozen=True)
class Timing:
    kind: str
    sent: float
    answered: float


@dataclass
class Load:
    """Raters at work."""

    arguments: argparse.Namespace
    campaign_id: int
    server: Server
    acknowledged: dict[str, dict[str, Any]] = field(default_factory=dict)
    timings: list[Timing] = field(default_factory=list)
    doubled: int = 0
    disagreeing: int = 0
    began: float = 0.0
    """When everybody was signed in."""
    signing_in: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(4))

    async def run(self) -> None:
        await self.server.start()
        raters = [Rater(self, n) for n in range(self.arguments.raters)]
        await asyncio.gather(*(rater.sign_in() for rater in raters))
        self.timings.clear()
        self.began = time.monotonic()
        work = [asyncio.create_task(rater.work()) for rater in raters]
        await self._kills()
        await asyncio.gather(*work)

    async def _kills(self) -> None:
        kills, needed = self.arguments.kills, self.arguments.judgments
        for number in range(1, kills + 1):
            while len(self.acknowledged) < needed * number / (kills + 1):
                await asyncio.sleep(0.02)
            await self.server.kill_and_start()

    def times(self) -> dict[str, Any]:
        """Percentiles of what did not fall into a restart, and what did."""
        steady, settled, restart_ms = defaultdict(list), defaultdict(list), []
        for timing in self.timings:
            took_ms = (timing.answered - timing.sent) * 1000
            if any(timing.sent < up and timing.answered > killed for killed, up in self.server.down):
                restart_ms.append(took_ms)
                continue
            steady[timing.kind].append(took_ms)
            if not any(0 <= timing.sent - up < BACKLOG_S for _, up in self.server.down):
                settled[timing.kind].append(took_ms)
        everything = [ms for kind in steady.values() for ms in kind]
        return {
            **{f"{kind}_p95_ms": round(float(np.percentile(found, 95)), 1) for kind, found in sorted(steady.items())},
            **{f"{kind}_p50_ms": round(float(np.percentile(found, 50)), 1) for kind, found in sorted(steady.items())},
            "settled": {f"{kind}_p95_ms": round(float(np.percentile(found, 95)), 1) for kind, found in sorted(settled.items())},
            "max_ms": round(max(everything), 1),
            "requests": len(everything),
            "in_restarts": len(restart_ms),
            "restart_max_ms": round(max(restart_ms, default=0.0), 1),
            "down_s": [round(up - killed, 2) for killed, up in self.server.down],
            "doubled": self.doubled,
            "doubles_answered_differently": self.disagreeing,
        }


class Rater:
    """One browser: a connection for what it does, and one for what it sends twice."""

    def __init__(self, load: Load, number: int) -> None:
        self._load = load
        self._login = rater_name(number)
        self._rng = random.Random(f"{load.arguments.seed}-{number}")
        self._connection = Connection("127.0.0.1", load.server.port)
        self._second = Connection("127.0.0.1", load.server.port)
        self._second.cookies = self._connection.cookies
        self._second.headers = self._connection.headers

    async def sign_in(self) -> None:
        async with self._load.signing_in:
            page = await self._ask("sign_in", "GET", "/sign-in")
            form = {"csrf": csrf(page), "login": self._login, "password": PASSWORD}
            kind = "application/x-www-form-urlencoded"
            answer = await self._ask("sign_in", "POST", "/sign-in", urllib.parse.urlencode(form).encode(), kind)
            assert answer.status == 303, (answer.status, answer.text)

    async def work(self) -> None:
        """Rate until nothing is left. Others may hold the last items, so "nothing" is asked for again until all is done."""
        await asyncio.sleep(self._rng.random() * self._load.arguments.think_s)
        base, done = f"/rate/{self._load.campaign_id}", 0
        while len(self._load.acknowledged) < self._load.arguments.judgments * 2:
            if done % PAGE_EVERY == 0:
                page = await self._ask("page", "GET", base)
                self._connection.headers["X-CSRF-Token"] = csrf(page)
            else:
                page = await self._ask("lease", "GET", f"{base}/next")
            found = LEASE.search(page.text)
            if found is None:
                assert "That was all for you" in page.text, page.text
                return
            await self._rate(found[1], found[2])
            done += 1

    async def _rate(self, lease_id: str, guideline_hash: str) -> None:
        think_s = self._rng.expovariate(1 / self._load.arguments.think_s)
        await asyncio.sleep(think_s / 2)
        draft = {"fields": {"pair": "first:2"}, "active_s": think_s / 2, "saved_at": time.time()}
        await self._ask("draft", "PUT", f"/rate/task/{lease_id}/draft", json.dumps(draft).encode())
        await asyncio.sleep(think_s / 2)
        choice = self._rng.choice(("first", "second", "tie"))
        answer = {"type": "pair", "choice": choice, "margin": 0 if choice == "tie" else self._rng.randint(1, 3)}
        key = f"{self._rng.getrandbits(128):032x}"
        sent = {"lease_id": lease_id, "idempotency_key": key, "answers": [answer], "active_s": think_s}
        body = json.dumps({**sent, "guideline_hash": guideline_hash}).encode()
        if self._rng.random() < DOUBLE_SHARE:
            self._load.doubled += 1
            both = (self._submit(self._connection, body), self._submit(self._second, body))
            one, other = await asyncio.gather(*both)
            self._load.disagreeing += one != other
        else:
            one = await self._submit(self._connection, body)
        self._load.acknowledged[key] = one

    async def _submit(self, connection: Connection, body: bytes) -> dict[str, Any]:
        answer = await self._ask("submit", "POST", "/rate/submit", body, connection=connection)
        assert answer.status == 200, (answer.status, answer.text)
        found: dict[str, Any] = answer.json()
        return found

    async def _ask(
        self,
        kind: str,
        method: str,
        path: str,
        body: bytes = b"",
        content: str = "application/json",
        connection: Connection | None = None,
    ) -> Answer:
        sent = time.monotonic()
        answer = await asked(connection or self._connection, method, path, body, content)
        assert answer.status < 500, (answer.status, answer.text)
        self._load.timings.append(Timing(kind, sent, time.monotonic()))
        return answer


def csrf(page: Answer) -> str:
    found = CSRF.search(page.text)
    assert found, page.text
    return found[1]


def audit(database: str, acknowledged: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """What the database holds, against what raters were told it holds."""
    from sqlalchemy import func, select

    from truing.collect.database import open_database
    from truing.collect.schema import judgment, slot

    opened = open_database(database)
    with opened.read() as connection:
        rows = list(connection.execute(select(judgment)).mappings())
        open_slots = connection.scalar(select(func.count()).select_from(slot).where(slot.c.state != "done")) or 0
    opened.close()
    by_key, given, needed = defaultdict(list), defaultdict(list), defaultdict(int)
    for row in rows:
        by_key[row["idempotency_key"]].append(row)
        if row["is_current"]:
            given[row["item_id"], row["rater_id"], row["occasion"]].append(row)
        if row["is_current"] and row["purpose"] == "task" and not row["is_surplus"]:
            needed[row["item_id"]] += 1
    kept = {key for key, ack in acknowledged.items() if any(row["id"] == ack["judgment_id"] for row in by_key[key])}
    return {
        "acknowledged": len(acknowledged),
        "judgments": len(rows),
        "lost": len(acknowledged) - len(kept),
        "duplicates": sum(len(found) - 1 for found in [*by_key.values(), *given.values()] if len(found) > 1),
        "unflagged_surplus": sum(max(0, count - OVERLAP) for count in needed.values()),
        "flagged_surplus": sum(row["is_surplus"] for row in rows),
        "unfinished": open_slots,
        "gold_and_repeats": sum(row["purpose"] != "task" for row in rows),
    }


if __name__ == "__main__":
    main()
