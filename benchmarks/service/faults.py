"""What faults are made of: raters who take a refusal for an answer, disks that fill up, a service whose clock can be set."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import resource
import subprocess
import threading
import time
import urllib.parse
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Self

from benchmarks.collect_load import LEASE, Load, Rater, Server, csrf
from benchmarks.service.client import Answer, Connection, asked

FORM = "application/x-www-form-urlencoded"


@dataclass(frozen=True)
class Held:
    """An item in a rater's hands."""

    lease_id: str
    guideline_hash: str
    key: str

    def submission(self, active_s: float = 1.0) -> dict[str, Any]:
        """What the page puts into its outbox."""
        answer = {"type": "pair", "choice": "first", "margin": 2}
        sent = {"lease_id": self.lease_id, "idempotency_key": self.key, "answers": [answer], "active_s": active_s}
        return {**sent, "guideline_hash": self.guideline_hash}


@contextlib.contextmanager
def temporary_files_in(folder: Path) -> Iterator[None]:
    """Processes started meanwhile keep their temporary files there."""
    before = os.environ.get("TMPDIR")
    os.environ["TMPDIR"] = str(folder)
    try:
        yield
    finally:
        del os.environ["TMPDIR"]
        if before is not None:
            os.environ["TMPDIR"] = before


class Person(Rater):
    """A rater who does one thing after another, and reports refusals instead of stopping at them."""

    def __init__(self, load: Load, number: int) -> None:
        super().__init__(load, number)
        self.refused: list[Answer] = []
        self.signed_out = 0

    def close(self) -> None:
        self._connection.close()

    async def get(self, path: str) -> Answer:
        return await asked(self._connection, "GET", path)

    async def open(self) -> None:
        """Load a page, and with it the token that its requests carry."""
        self._connection.headers["X-CSRF-Token"] = csrf(await self.get("/"))

    async def take(self) -> Held | None:
        """The next item; None where there is none."""
        part = await self.get(f"/rate/{self._load.campaign_id}/next")
        found = LEASE.search(part.text)
        return Held(found[1], found[2], f"{self._rng.getrandbits(128):032x}") if found else None

    async def must_take(self) -> Held:
        held = await self.take()
        assert held is not None, "nothing to rate"
        return held

    async def confirm_guideline(self, version: int) -> None:
        await self.post_form(f"/campaigns/{self._load.campaign_id}/guideline", guideline_id=str(version))

    async def upload(self, campaign_id: int, token: str) -> Answer:
        """A program's import of a file, beside the raters."""
        program = Connection("127.0.0.1", self._load.server.port)
        program.headers["Authorization"] = f"Bearer {token}"
        path = f"/api/v1/campaigns/{campaign_id}/imports?file_name=votes.jsonl"
        return await program.request("POST", path, b"{}\n" * 3_000_000, "application/octet-stream")

    async def send(self, sent: dict[str, Any]) -> Answer:
        return await asked(self._connection, "POST", "/rate/submit", json.dumps(sent).encode())

    async def draft(self, held: Held, words: str) -> Answer:
        content = {"fields": {"critique": words}, "active_s": 1.0, "saved_at": time.time() * 1000}
        return await asked(self._connection, "PUT", f"/rate/task/{held.lease_id}/draft", json.dumps(content).encode())

    async def undo(self, held: Held) -> Answer:
        sent = {"lease_id": held.lease_id, "idempotency_key": f"undo-{held.key}"}
        return await asked(self._connection, "POST", "/rate/undo", json.dumps(sent).encode())

    async def post_form(self, path: str, **fields: str) -> Answer:
        sent = urllib.parse.urlencode({"csrf": self._connection.headers["X-CSRF-Token"], **fields})
        return await asked(self._connection, "POST", path, sent.encode(), FORM)

    async def work(self, acknowledged: dict[str, Any], count: int, *, think_s: float = 0.0) -> list[Held]:
        """Answer up to `count` items. What is refused is noted, and the next item taken."""
        done: list[Held] = []
        while len(done) < count and (held := await self.take()) is not None:
            await asyncio.sleep(self._rng.expovariate(1 / think_s) if think_s else 0.0)
            answer = await self.send(held.submission())
            if answer.status == 200:
                acknowledged[held.key] = answer.json()
                done.append(held)
            else:
                self.refused.append(answer)
                self.signed_out += answer.status == 401
        return done

    async def work_until_refused(self, held: Held, acknowledged: dict[str, Any]) -> tuple[dict[str, Any], Answer]:
        """Answer `held` and what follows until the service takes no more. Returns what it refused, and how."""
        while True:
            sent = held.submission()
            answer = await self.send(sent)
            if answer.status != 200:
                return sent, answer
            acknowledged[held.key] = answer.json()
            held = await self.take() or replace(held, key=f"{held.key}-again")


def told(answer: Answer) -> str:
    """Status and first line of an answer's words."""
    try:
        found = answer.json()
    except ValueError:
        return f"{answer.status} (a page)"
    words = str(found["error"]["message"]).splitlines()[0] if "error" in found else json.dumps(found)
    return f"{answer.status} {words}"


async def given(acknowledged: dict[str, Any], count: int) -> None:
    """Wait until so many judgments were acknowledged."""
    while len(acknowledged) < count:
        await asyncio.sleep(0.01)


class ServerHere:
    """The application in this process, `speed` times as fast as the clock on the wall and `shift_s` ahead of it."""

    def __init__(self, database: str, folder: Path, speed: float = 60.0) -> None:
        self._database = database
        self._folder = folder
        self._speed = speed
        self._started = time.time()
        self.shift_s = 0.0
        self.port = 0

    def clock(self) -> float:
        return self._started + self._speed * (time.time() - self._started) + self.shift_s

    async def start(self) -> None:
        import uvicorn

        from truing.collect.app import create_app
        from truing.collect.config import ServiceConfig
        from truing.collect.database import open_database
        from truing.collect.serve import listen

        listening = listen("127.0.0.1", 0)
        self.port = int(listening.getsockname()[1])
        self._opened = open_database(self._database)
        app = create_app(self._opened, ServiceConfig(), folder=self._folder, key=b"service key", clock=self.clock)
        self._server = uvicorn.Server(uvicorn.Config(app, log_level="warning", access_log=False))
        self._thread = threading.Thread(target=self._server.run, args=([listening],))
        self._thread.start()
        while not self._server.started:
            await asyncio.sleep(0.01)

    def kill(self) -> None:
        self._server.should_exit = True
        self._thread.join()
        self._opened.close()


def guided_campaign(database: str, items: int) -> int:
    """A campaign with a guideline, one judgment an item, and nothing but tasks."""
    from truing.collect import campaigns
    from truing.collect.config import CampaignConfig
    from truing.collect.database import open_database
    from truing.collect.new_items import NewItem
    from truing.records import Prompt

    rows = [
        NewItem(external_id=f"i-{n}", prompt=Prompt.from_text(f"Question {n}?"), responses=(f"One {n}.", f"Another {n}."))
        for n in range(items)
    ]
    config = CampaignConfig(name="guided", overlap=1, gold_share=0.0, repeat_share=0.0, guideline="main")
    opened = open_database(database)
    try:
        guideline = "# Rating\n\n## Right {#right}\n\nRight wins.\n"
        return opened.write(lambda c: campaigns.make(c, config, rows, guideline=guideline, now=time.time()))
    finally:
        opened.close()


def publish(database: str, text: str, after: int) -> None:
    """The guideline's next version, beside the running service."""
    from truing.collect.database import open_database
    from truing.collect.guidelines import versions

    opened = open_database(database)
    opened.write(lambda c: versions.publish(c, "main", text, now=time.time(), after=after))
    opened.close()


def versions_judged_under(database: str) -> dict[int, int]:
    """Judgments by the version of the guideline that they carry."""
    from sqlalchemy import func, select

    from truing.collect.database import open_database
    from truing.collect.schema import guideline, judgment

    opened = open_database(database)
    joined = select(guideline.c.version, func.count()).join(judgment, judgment.c.guideline_hash == guideline.c.guideline_hash)
    with opened.read() as connection:
        found = {int(version): int(count) for version, count in connection.execute(joined.group_by(guideline.c.version))}
    opened.close()
    return found


def new_token(database: str) -> str:
    """A token that may import."""
    from truing.collect.accounts import roles, tokens
    from truing.collect.database import open_database

    def work(connection: Any) -> str:
        owner = {"id": roles.create(connection, "admin", "admin", now=time.time()), "role": "admin"}
        return tokens.create(connection, owner, "import", ("campaigns",), now=time.time())[1]

    opened = open_database(database)
    try:
        return opened.write(work)
    finally:
        opened.close()


@contextlib.asynccontextmanager
async def people(
    database: str, folder: Path, campaign_id: int, count: int, server: ServerHere | None = None
) -> AsyncIterator[tuple[Any, list[Person]]]:
    """A running service, and raters who have signed in and opened their page."""
    found: Any = server or Server(database, folder, 1)
    await found.start()
    try:
        load = Load(argparse.Namespace(seed=0), campaign_id, found)
        raters = [Person(load, number) for number in range(count)]
        await asyncio.gather(*(rater.sign_in() for rater in raters))
        await asyncio.gather(*(rater.open() for rater in raters))
        yield found, raters
        for rater in raters:
            rater.close()
        await asyncio.sleep(0.0)  # in which the connections close
    finally:
        found.kill()


class SmallDisk:
    """A file system of its own that really fills up (tmpfs; needs the right to mount)."""

    HOW: ClassVar[str] = "tmpfs"
    SIZE_MIB: ClassVar[int] = 8

    def __init__(self, folder: Path) -> None:
        self.path = folder / "disk"

    @staticmethod
    def missing() -> str:
        """Why there can be none; empty where there can."""
        return "" if os.geteuid() == 0 else "mounting a tmpfs needs root"

    def __enter__(self) -> Self:
        self.path.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={self.SIZE_MIB}m", "tmpfs", str(self.path)], check=True)
        return self

    def __exit__(self, *_: object) -> None:
        subprocess.run(["umount", "--lazy", str(self.path)], check=True)

    def fill(self, _: Server) -> None:
        """Leave no byte free."""
        with (self.path / "filler").open("wb", buffering=0) as file, contextlib.suppress(OSError):
            while True:
                file.write(b"\0" * 4096)

    def free(self, _: Server) -> None:
        """Free what was filled."""
        (self.path / "filler").unlink()


class FileLimit:
    """No file of the service may grow any more (RLIMIT_FSIZE of its process, set from outside)."""

    HOW: ClassVar[str] = "file size limit"

    def __init__(self, folder: Path) -> None:
        self.path = folder

    @staticmethod
    def missing() -> str:
        """It needs no rights."""
        return ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def fill(self, server: Server) -> None:
        """The limit is the size of the largest file that is there."""
        largest = max(path.stat().st_size for path in self.path.iterdir() if path.is_file())
        resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (largest, resource.RLIM_INFINITY))

    def free(self, server: Server) -> None:
        """Files may grow again."""
        resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
