"""The worker as a process, killed with SIGKILL while it answers: nothing asked stays unanswered, nothing is answered twice."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest
from sqlalchemy import select, update
from tests.collect.people_world import add_account, add_campaign
from tests.collect.screen.serving import COOKIE, session_of

from truing.collect import campaigns
from truing.collect.accounts import tokens
from truing.collect.accounts.secret import csrf_token
from truing.collect.chat.replies import TAKEN_S
from truing.collect.database import Database, open_database
from truing.collect.new_items import read_items
from truing.collect.schema import item, reply, slot
from truing.collect.serve import DATABASE

POLICIES = ("alpha", "beta")
PROMPTS = 6
"""Added to the sampled campaign at each turn of the chat: two answers each, more than a worker takes at once."""
KILLED_AFTER = ((0, 0.0), (0, 0.1), (1, 0.0))
"""Answers that it has brought, and seconds after that."""
LONGEST_S = 300.0


@pytest.fixture
def start():
    """Starts `truing collect ...`; whatever still runs is ended afterwards."""
    running: list[subprocess.Popen[bytes]] = []

    def started(*arguments: str, **environment: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "truing", "collect", *arguments]
        running.append(subprocess.Popen(command, env={**os.environ, **environment}, stdout=subprocess.DEVNULL))
        return running[-1]

    yield started
    for process in running:
        process.kill()
        process.wait()


def until(found, process):
    """What `found()` says once it says something. The process must not end meanwhile."""
    began = time.monotonic()
    while not (value := found()):
        assert process.poll() is None, "the process ended"
        assert time.monotonic() - began < LONGEST_S, "it took too long"
        time.sleep(0.02)
    return value


class Replies:
    """What is asked, looked at again and again: once an answer is there, it never changes."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.done: dict[int, tuple[str, float]] = {}

    def look(self) -> dict[str, int]:
        """How many are in each state."""
        with self.database.read() as connection:
            rows = connection.execute(select(reply).order_by(reply.c.id)).mappings().all()
        counts = dict.fromkeys(("waiting", "taken", "done"), 0)
        for row in rows:
            assert row["state"] != "failed", row["error"]
            counts[row["state"]] += 1
            if row["state"] == "done":
                now = (row["text"], row["taken_at"])
                assert self.done.setdefault(row["id"], now) == now, f"request {row['id']} was answered twice"
        return counts

    def pass_time(self) -> None:
        """As if the worker had been dead for a minute: what it had taken is offered again."""
        past = update(reply).where(reply.c.state == "taken").values(taken_at=reply.c.taken_at - TAKEN_S - 1)
        self.database.write(lambda connection: connection.execute(past))


class Chat:
    """A rater in a live conversation, over HTTP."""

    def __init__(self, url: str, cookie: str, campaign_id: int) -> None:
        self.at = f"/rate/{campaign_id}"
        headers = {"X-CSRF-Token": csrf_token(cookie)}
        self.browser = httpx.Client(base_url=url, cookies={COOKIE: cookie}, headers=headers, timeout=60)

    def say(self, text: str) -> None:
        self.browser.post(f"{self.at}/chat", json={"text": text}).raise_for_status()
        assert "Two answers are being written" in self.browser.get(f"{self.at}/next").text

    def compare(self) -> None:
        """Choose between the two answers, which have to be there."""
        shown = self.browser.get(f"{self.at}/next").text
        found = re.search(r'data-lease="([^"]+)"', shown)
        assert found, shown
        lease_id = found[1]
        answers = [{"type": "pair", "choice": "first", "margin": 2}]
        sent = {"lease_id": lease_id, "idempotency_key": f"key-{lease_id}", "answers": answers}
        self.browser.post("/rate/submit", json=sent).raise_for_status()


@pytest.mark.slow
def test_a_worker_killed_while_it_answers(start, tmp_path: Path) -> None:
    database = open_database(tmp_path / DATABASE)
    admin = {"id": add_account(database, "admin-1", "admin"), "role": "admin"}
    rater = add_account(database, "rater-1")
    sampled = add_campaign(database, "sampled", overlap=2, sampled={"policies": POLICIES})
    live = add_campaign(database, "live", overlap=1, live={"policies": POLICIES, "reply_minutes": 60.0})
    _, token = database.write(lambda c: tokens.create(c, admin, "worker", ("replies",), now=time.time()))

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    url = f"http://127.0.0.1:{port}"
    service = start("--folder", str(tmp_path), "--port", port)
    until(lambda: is_up(url), service)
    chat, replies = Chat(url, session_of(database, rater), live), Replies(database)

    def new_worker() -> subprocess.Popen[bytes]:
        named = [f"--policy={name}=embedded" for name in POLICIES]
        return start("worker", "--url", url, *named, "--max-new-tokens", "40", TRUING_COLLECT_TOKEN=token)

    # Killed as it has taken requests, while it samples, and when it has brought the first of several answers.
    for turn, (brought, sampling_s) in enumerate(KILLED_AFTER):
        add_prompts(database, sampled, turn)
        chat.say(f"where is owl number {turn}?")
        before = replies.look()["done"]
        worker = new_worker()
        until(lambda n=before + brought: (now := replies.look())["taken"] and now["done"] >= n, worker)
        time.sleep(sampling_s)
        worker.send_signal(signal.SIGKILL)
        worker.wait()
        assert replies.look()["taken"] > 0, "it was killed too late"
        replies.pass_time()
        worker = new_worker()
        until(lambda: (now := replies.look())["taken"] + now["waiting"] == 0, worker)
        worker.kill()
        chat.compare()

    turns = len(KILLED_AFTER)
    assert replies.look() == {"waiting": 0, "taken": 0, "done": turns * 2 * (PROMPTS + 1)}
    with database.read() as connection:
        items = connection.execute(select(item).order_by(item.c.id)).mappings().all()
        needed = connection.scalars(select(slot.c.item_id).where(slot.c.campaign_id == sampled)).all()
    of_sampled = [row for row in items if row["campaign_id"] == sampled]
    assert len(of_sampled) == turns * PROMPTS
    assert sorted(needed) == sorted([row["id"] for row in of_sampled] * 2)
    assert all(sorted(row["policies"]) == list(POLICIES) and len(row["responses"]) == 2 for row in of_sampled)
    assert [row["external_id"] for row in items if row["campaign_id"] == live] == [f"chat-1-{turn}" for turn in range(turns)]
    chat.browser.close()
    database.close()


def add_prompts(database: Database, campaign_id: int, turn: int) -> None:
    lines = b"\n".join(b"where is the owl %d of day %d?" % (n, turn) for n in range(PROMPTS))
    database.write(lambda c: campaigns.add_items(c, campaign_id, read_items(lines), now=time.time()))


def is_up(url: str) -> bool:
    try:
        return httpx.get(f"{url}/health").status_code == 200
    except httpx.TransportError:
        return False
