"""The screen over HTTP; and that no byte of it depends on which policy wrote which response."""

from __future__ import annotations

import random

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import update
from tests.collect.people_world import add_campaign
from tests.collect.screen.serving import COOKIE, service, session_of

from truing.collect import leases
from truing.collect.accounts import sessions
from truing.collect.accounts.secret import csrf_token
from truing.collect.schema import item


def browser(world, rater_id, rng=None):
    """A browser that is signed in, with the token of its pages."""
    app = service(world.database, world.folder, clock=lambda: 100.0, rng=rng)
    secret = session_of(world.database, rater_id, now=100.0)
    return TestClient(app, cookies={COOKIE: secret}, headers={"X-CSRF-Token": csrf_token(secret)})


@pytest.fixture
def client(world):
    return browser(world, world.rater_id)


def lease_in(html):
    return html.split('data-lease="')[1].split('"')[0]


def submission(lease_id, **more):
    answers = [{"type": "pair", "choice": "first", "margin": 2}]
    return {"lease_id": lease_id, "idempotency_key": f"key-{lease_id}", "answers": answers, "active_s": 4.5, **more}


def test_an_item_is_shown_answered_taken_back_and_shown_again(client, world):
    page = client.get(f"/rate/{world.campaign_id}")
    lease_id = lease_in(page.text)
    for _ in range(2):
        sent = client.post("/rate/submit", json=submission(lease_id))
        assert sent.json()["revision"] == 1
    following = client.get(f"/rate/{world.campaign_id}/next").text
    assert lease_in(following) != lease_id
    taken = client.post("/rate/undo", json={"lease_id": lease_id, "idempotency_key": "undo-key"})
    assert taken.json()["kind"] == "withdrawn"
    assert "first:2" in client.get(f"/rate/task/{lease_id}").text


def test_a_draft_comes_back_with_the_item(client, world):
    lease_id = lease_in(client.get(f"/rate/{world.campaign_id}").text)
    draft = {"fields": {"pair": "second:1"}, "active_s": 3.0, "saved_at": 5.0}
    assert client.put(f"/rate/task/{lease_id}/draft", json=draft).status_code == 204
    assert "second:1" in client.get(f"/rate/{world.campaign_id}").text


def test_a_skip_with_a_reason_is_kept(client, world):
    lease_id = lease_in(client.get(f"/rate/{world.campaign_id}").text)
    body = {**submission(lease_id), "answers": [], "skip_reason": "Not in a language I read"}
    assert client.post("/rate/submit", json=body).json()["kind"] == "skip"


def test_when_all_is_done_the_page_says_so(client, world):
    for _ in range(3):
        lease_id = lease_in(client.get(f"/rate/{world.campaign_id}/next").text)
        client.post("/rate/submit", json=submission(lease_id))
    assert "That was all for you" in client.get(f"/rate/{world.campaign_id}").text


def test_a_campaign_without_items_does_not_say_that_all_is_done(client, world):
    empty = add_campaign(world.database, "empty")
    page = client.get(f"/rate/{empty}").text
    assert "Nothing to rate yet" in page
    assert "That was all for you" not in page


def test_keys_are_chosen_on_their_page(client, world):
    refused = client.post("/rate/settings", data={"skip": "d"})
    assert "one key cannot do two things" in refused.text
    saved = client.post("/rate/settings", data={"skip": "x", "are_keys_on": "on"})
    assert "Saved." in saved.text
    assert "&#34;skip&#34;: &#34;x&#34;" in client.get(f"/rate/{world.campaign_id}").text


def everything_received(world, monkeypatch):
    """All bytes of a session: page, parts, answers, taking back. What is drawn at random and the time are fixed."""
    names = iter(range(1_000))
    monkeypatch.setattr(leases.secrets, "token_urlsafe", lambda _: f"lease-{next(names)}")
    monkeypatch.setattr(sessions, "new_secret", lambda: "session")
    client = browser(world, world.rater_id, random.Random(3))
    received = []

    def take(response):
        received.append((response.status_code, sorted(response.headers.items()), response.content))
        return response.text

    for _ in range(3):
        lease_id = lease_in(take(client.get(f"/rate/{world.campaign_id}")))
        take(client.get(f"/rate/task/{lease_id}/difference"))
        take(client.get(f"/rate/task/{lease_id}/text?place=0"))
        take(client.post("/rate/submit", json=submission(lease_id)))
    take(client.post("/rate/undo", json={"lease_id": lease_id, "idempotency_key": "undo-key"}))
    take(client.get(f"/rate/task/{lease_id}"))
    take(client.get(f"/rate/{world.campaign_id}/guideline"))
    return received


def test_swapping_the_policies_changes_no_byte_a_rater_receives(make_world, monkeypatch):
    received = []
    for policies in (["base", "tuned"], ["tuned", "base"]):
        world = make_world()
        world.database.write(lambda c, swapped=policies: c.execute(update(item).values(policies=swapped)))
        received.append(everything_received(world, monkeypatch))
    assert [status for status, _, _ in received[0]] == [200] * 15
    assert received[0] == received[1]
    assert not any(word in content for word in (b"tuned", b"polic", b"gold", b"purpose") for _, _, content in received[0])
