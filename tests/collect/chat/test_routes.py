"""A live chat over HTTP, with a worker that has a token; swapping the policies changes no byte."""

from __future__ import annotations

import random
import time

import httpx
import pytest
from fastapi.testclient import TestClient
from sqlalchemy import select
from tests.collect.people_world import add_account, add_campaign
from tests.collect.screen.serving import COOKIE, service, session_of
from tests.collect.service_world import Clock

from truing.collect import leases
from truing.collect.accounts import sessions, tokens
from truing.collect.accounts.secret import csrf_token
from truing.collect.chat import replies
from truing.collect.client import ApiError, Client
from truing.collect.database import open_database
from truing.collect.schema import reply
from truing.program.replies import serve


def through(browser):
    """A program's connection into the application of this process."""

    def answer(request):
        told = browser.request(request.method, str(request.url), content=request.content, headers=dict(request.headers))
        return httpx.Response(told.status_code, content=told.content)

    return httpx.MockTransport(answer)


def open_chat(folder, policies, scopes=("replies",), clock=lambda: 100.0):
    """The service, a rater's browser and a worker's client, each with its own rights."""
    database = open_database(folder / "collect.sqlite")
    rater = add_account(database, "rater-1")
    lead = {"id": add_account(database, "lead-1", "lead"), "role": "lead"}
    campaign = add_campaign(database, overlap=1, live={"policies": policies})
    app = service(database, folder, clock=clock, rng=random.Random(5))
    secret = session_of(database, rater, now=100.0)
    _, token = database.write(lambda c: tokens.create(c, lead, "worker", scopes, now=0.0))
    browser = TestClient(app, cookies={COOKIE: secret}, headers={"X-CSRF-Token": csrf_token(secret)})
    worker = Client("http://testserver", token, transport=through(TestClient(app)))
    return database, browser, worker, campaign


def everything_received(folder, policies, monkeypatch):
    names = iter(range(1_000))
    monkeypatch.setattr(leases.secrets, "token_urlsafe", lambda _: f"lease-{next(names)}")
    monkeypatch.setattr(sessions, "new_secret", lambda: "session")
    database, browser, worker, campaign = open_chat(folder, policies)
    received = []

    def take(response):
        received.append((response.status_code, sorted(response.headers.items()), response.content))
        return response.text

    take(browser.get(f"/rate/{campaign}"))
    take(browser.post(f"/rate/{campaign}/chat", json={"text": "*Hello*?"}))
    take(browser.get(f"/rate/{campaign}/next"))
    says = dict(zip(policies, ("One answer.", "Another."), strict=True))
    assert serve(worker, policies, lambda policy, messages, number: [says[policy]] * len(messages), wait=lambda: False) == 2
    lease_id = take(browser.get(f"/rate/{campaign}/next")).split('data-lease="')[1].split('"')[0]
    answers = [{"type": "pair", "choice": "first", "margin": 2}]
    take(browser.post("/rate/submit", json={"lease_id": lease_id, "idempotency_key": "key-12345", "answers": answers}))
    take(browser.get(f"/rate/{campaign}/next"))
    take(browser.post(f"/rate/{campaign}/chat/end"))
    database.close()
    return received


def test_a_turn_and_swapping_the_policies_changes_no_byte(tmp_path, monkeypatch):
    first = everything_received(tmp_path / "a", ("alpha", "beta"), monkeypatch)
    second = everything_received(tmp_path / "b", ("beta", "alpha"), monkeypatch)
    assert [status for status, _, _ in first] == [200, 204, 200, 200, 200, 200, 204]
    assert b"Two answers are being written" in first[2][2]
    assert b"answer" in first[5][2]
    assert first == second
    assert not any(name in content for name in (b"alpha", b"beta") for _, _, content in first)


def test_what_a_slow_worker_is_at_work_on_is_not_offered_to_another(tmp_path, monkeypatch):
    monkeypatch.setattr("truing.program.replies.RENEW_S", 0.01)
    policies, clock = ("alpha", "beta"), Clock(100.0)
    database, browser, slow, campaign = open_chat(tmp_path, policies, clock=clock)
    browser.post(f"/rate/{campaign}/chat", json={"text": "Hello?"})

    def wait_until_renewed():
        for _ in range(1_000):
            with database.read() as connection:
                taken = set(connection.scalars(select(reply.c.taken_at).where(reply.c.state == "taken")))
            if taken <= {clock.now}:
                return
            time.sleep(0.01)

    def respond(policy, conversations, number):
        for _ in range(3):
            clock.now += 0.7 * replies.TAKEN_S
            wait_until_renewed()
            assert database.write(lambda c: replies.take(c, policies, 8, now=clock.now)) == ()
        return ["Done."] * len(conversations)

    assert serve(slow, policies, respond, wait=lambda: False) == 2
    database.close()


def test_a_worker_needs_the_right_token(tmp_path):
    database, browser, worker, _ = open_chat(tmp_path, ("alpha", "beta"), scopes=("read",))
    refused = browser.post("/api/v1/replies/take", json={"policies": ["alpha"]})
    assert refused.status_code == 403
    with pytest.raises(ApiError) as error:
        worker.take_replies(["alpha"])
    assert (error.value.status, error.value.code) == (403, "not_allowed")
    database.close()


def test_an_empty_message_is_refused(tmp_path):
    database, browser, _, campaign = open_chat(tmp_path, ("alpha", "beta"))
    assert browser.post(f"/rate/{campaign}/chat", json={"text": " "}).status_code == 422
    database.close()
