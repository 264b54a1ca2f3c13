import json
import random
import secrets
import socket
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import ClassVar

import httpx
import pytest
from sqlalchemy import select

from truing.collect import audit
from truing.collect.database import open_database
from truing.collect.errors import NotFoundError, ServiceError
from truing.collect.schema import webhook_delivery
from truing.collect.webhooks import deliveries, registry
from truing.collect.webhooks.addresses import Target
from truing.collect.webhooks.signing import DELIVERY_HEADER, HEADER, verify

KEY, NOW = b"service key", 1_750_000_000.0


class Wire:
    """Stands for the network: remembers what was posted and answers as it is told."""

    def __init__(self):
        self.posts = []
        self.answers = []

    def __call__(self, target, url, body, headers):
        self.posts.append((target, url, body, headers))
        answer = self.answers.pop(0) if self.answers else 200
        if isinstance(answer, Exception):
            raise answer
        return answer


@pytest.fixture
def database(tmp_path):
    found = open_database(tmp_path / "service.db")
    yield found
    found.close()


@pytest.fixture
def wire():
    return Wire()


def hook(database, url="http://127.0.0.1:9/in", actions=("export.done",)):
    return database.write(lambda c: registry.create(c, url, actions, KEY, draw=secrets.token_hex(8), now=NOW))


def happen(database, action="export.done", at=NOW, **detail):
    database.write(lambda c: audit.record(c, action, "export:1", now=at, detail=detail))


def deliver(database, wire, now):
    return deliveries.deliver_due(database, KEY, now=now, send=wire, rng=random.Random(0))


def rows(database):
    with database.read() as connection:
        return list(connection.execute(select(webhook_delivery).order_by(webhook_delivery.c.id)).mappings())


def test_what_was_asked_for_is_posted_once_and_signed(database, wire):
    happen(database)
    webhook_id, secret = hook(database)
    happen(database, name="june")
    happen(database, "items.added")
    assert deliver(database, wire, NOW + 5) == 1
    assert deliver(database, wire, NOW + 6) == 0
    ((target, url, body, headers),) = wire.posts
    assert (target.address, url) == ("127.0.0.1", "http://127.0.0.1:9/in")
    verify(secret, headers[HEADER], body, now=NOW + 5)
    told = json.loads(body)
    assert (told["action"], told["subject"], told["detail"]) == ("export.done", "export:1", {"name": "june"})
    assert headers[DELIVERY_HEADER] == f"{webhook_id}-{told['event']}"
    (row,) = rows(database)
    assert (row["attempts"], row["last_status"], row["delivered_at"]) == (1, 200, NOW + 5)


def test_what_just_happened_waits_until_it_has_settled(database, wire):
    hook(database)
    happen(database, at=NOW + 10)
    assert deliver(database, wire, NOW + 11) == 0
    assert deliver(database, wire, NOW + 12) == 1


def test_failures_are_tried_again_after_growing_pauses_and_then_given_up(database, wire):
    hook(database)
    happen(database)
    wire.answers = [500, httpx.ConnectError("refused"), 302] + [404] * 20
    now, waits = NOW + 5, []
    while True:
        assert deliver(database, wire, now) == 1
        (row,) = rows(database)
        if row["next_attempt_at"] is None:
            break
        waits.append(row["next_attempt_at"] - now)
        assert deliver(database, wire, row["next_attempt_at"] - 1) == 0
        now = row["next_attempt_at"]
    assert len(waits) == len(deliveries.PAUSES_S)
    assert all(p <= w <= 1.1 * p + 1e-6 for p, w in zip(deliveries.PAUSES_S, waits, strict=True))
    assert (row["attempts"], row["last_error"], row["delivered_at"]) == (9, "answered 404", None)
    assert len({p[3][DELIVERY_HEADER] for p in wire.posts}) == 1
    assert len({p[3][HEADER] for p in wire.posts}) == 9, "each attempt is signed at its own time"


def test_a_redirect_and_a_private_address_are_failures_that_say_why(database, wire):
    hook(database)
    happen(database)
    wire.answers = [301]
    deliver(database, wire, NOW + 5)
    assert "redirects are not followed" in rows(database)[0]["last_error"]
    hook(database, "https://10.0.0.1/in")
    happen(database, at=NOW + 6)
    deliver(database, wire, NOW + 9)
    private = rows(database)[-1]
    assert "private network" in private["last_error"]
    assert all(target.address == "127.0.0.1" for target, *_ in wire.posts)


def test_an_attempt_in_a_process_that_died_is_made_again(database, wire):
    hook(database)
    happen(database)
    database.write(lambda c: deliveries.fan_out(c, now=NOW + 5))
    assert len(database.write(lambda c: deliveries.claim(c, KEY, now=NOW + 5))) == 1
    assert deliver(database, wire, NOW + 6) == 0
    assert deliver(database, wire, NOW + 5 + deliveries.CLAIM_S) == 1


def test_a_removed_webhook_hears_nothing_more(database, wire):
    webhook_id, _ = hook(database)
    happen(database)
    database.write(lambda c: registry.remove(c, webhook_id, now=NOW))
    assert deliver(database, wire, NOW + 5) == 0
    with database.read() as connection:
        assert registry.listed(connection) == []
    with pytest.raises(NotFoundError):
        database.write(lambda c: registry.remove(c, webhook_id, now=NOW))


@pytest.mark.parametrize("status", [500, 200])
def test_what_is_on_its_way_to_a_webhook_that_is_removed_is_given_up(either, wire, status):
    """One delivery waits for its next attempt, one is at its first when the webhook is removed, one is another webhook's."""
    webhook_id, _ = hook(either)
    happen(either)
    wire.answers = [500]
    deliver(either, wire, NOW + 5)
    other, _ = hook(either)
    happen(either, at=NOW + 6)

    def send(*posted):
        if len(wire.posts) == 1:
            either.write(lambda c: registry.remove(c, webhook_id, now=NOW + 9))
        return wire(*posted)

    wire.answers = [status] * 2
    deliver(either, send, NOW + 9)
    *given_up, others = rows(either)
    assert [row["next_attempt_at"] for row in given_up] == [None, None]
    assert given_up[0]["last_error"] == registry.REMOVED
    assert given_up[1]["delivered_at"] == (NOW + 9 if status == 200 else None)
    assert (others["webhook_id"], others["next_attempt_at"] is None) == (other, status == 200)


def test_urls_that_cannot_be_right_are_refused_at_once(database):
    with pytest.raises(ServiceError, match="write https"):
        hook(database, "ftp://x")


class Receiver(BaseHTTPRequestHandler):
    seen: ClassVar[list] = []
    status = 204

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        type(self).seen.append((self.path, dict(self.headers), body))
        self.send_response(self.status)
        self.send_header("Location", "http://127.0.0.1:1/elsewhere")
        self.end_headers()

    def log_message(self, *arguments):
        pass


@pytest.fixture
def receiver():
    Receiver.seen = []
    server = HTTPServer(("127.0.0.1", 0), Receiver)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize("status", [204, 307])
def test_posting_goes_to_the_checked_address_under_the_hosts_name_and_follows_nothing(receiver, status):
    Receiver.status = status
    port = receiver.server_port
    target = Target("hooks.example.org", "127.0.0.1", port, is_tls=False)
    assert deliveries.post(target, f"http://hooks.example.org:{port}/in?x=1", b"{}", {"A": "b"}) == status
    ((path, headers, body),) = Receiver.seen
    assert (path, headers["Host"], headers["A"], body) == ("/in?x=1", f"hooks.example.org:{port}", "b", b"{}")


def test_nobody_there_is_a_failure_like_any_other(database):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    hook(database, f"http://127.0.0.1:{port}/in")
    happen(database)
    deliver(database, deliveries.post, NOW + 5)
    assert rows(database)[0]["last_error"].startswith("ConnectError")
