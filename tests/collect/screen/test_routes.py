"""The screen over HTTP; and that no byte of it depends on which policy wrote which response."""

from __future__ import annotations

import random

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import update
from tests.collect.people_world import add_account
from tests.collect.screen.stand import CSRF, make

from truing.collect import leases
from truing.collect.guidelines import versions
from truing.collect.schema import account, guideline_read, item, judgment

HEADERS = {"X-CSRF-Token": CSRF}


@pytest.fixture
def client(world):
    return TestClient(make(world.database, clock=lambda: 100.0), cookies={"as": "rater-1"})


def lease_in(html):
    return html.split('data-lease="')[1].split('"')[0]


def submission(lease_id, **more):
    answers = [{"type": "pair", "choice": "first", "margin": 2}]
    return {"lease_id": lease_id, "idempotency_key": f"key-{lease_id}", "answers": answers, "active_s": 4.5, **more}


def test_an_item_is_shown_answered_taken_back_and_shown_again(client, world):
    page = client.get(f"/rate/{world.campaign_id}")
    lease_id = lease_in(page.text)
    for _ in range(2):
        sent = client.post("/rate/submit", json=submission(lease_id), headers=HEADERS)
        assert sent.json()["revision"] == 1
    following = client.get(f"/rate/{world.campaign_id}/next").text
    assert lease_in(following) != lease_id
    taken = client.post("/rate/undo", json={"lease_id": lease_id, "idempotency_key": "undo-key"}, headers=HEADERS)
    assert taken.json()["kind"] == "withdrawn"
    assert "first:2" in client.get(f"/rate/task/{lease_id}").text


def test_a_draft_comes_back_with_the_item(client, world):
    lease_id = lease_in(client.get(f"/rate/{world.campaign_id}").text)
    draft = {"fields": {"pair": "second:1"}, "active_s": 3.0, "saved_at": 5.0}
    assert client.put(f"/rate/task/{lease_id}/draft", json=draft, headers=HEADERS).status_code == 204
    assert "second:1" in client.get(f"/rate/{world.campaign_id}").text


def test_a_skip_with_a_reason_is_kept(client, world):
    lease_id = lease_in(client.get(f"/rate/{world.campaign_id}").text)
    body = {**submission(lease_id), "answers": [], "skip_reason": "Not in a language I read"}
    assert client.post("/rate/submit", json=body, headers=HEADERS).json()["kind"] == "skip"


def test_when_all_is_done_the_page_says_so(client, world):
    for _ in range(3):
        lease_id = lease_in(client.get(f"/rate/{world.campaign_id}/next").text)
        client.post("/rate/submit", json=submission(lease_id), headers=HEADERS)
    assert "That was all for you" in client.get(f"/rate/{world.campaign_id}").text


def test_keys_are_chosen_on_their_page(client, world):
    refused = client.post("/rate/settings", data={"skip": "d"})
    assert "one key cannot do two things" in refused.text
    saved = client.post("/rate/settings", data={"skip": "x", "are_keys_on": "on"})
    assert "Saved." in saved.text
    assert "&#34;skip&#34;: &#34;x&#34;" in client.get(f"/rate/{world.campaign_id}").text


def _everything_received(world, swap, monkeypatch):
    """All bytes of a session: page, parts, answers, taking back. Lease ids, sides and time are fixed; policies may differ."""
    names = iter(range(1_000))
    monkeypatch.setattr(leases.secrets, "token_urlsafe", lambda _: f"lease-{next(names)}")
    policies = ["tuned", "base"] if swap else ["base", "tuned"]
    rater = add_account(world.database, f"rater-swap-{swap}")
    world.database.write(lambda c: c.execute(update(item).values(policies=policies)))
    world.database.write(lambda c: c.execute(update(account).where(account.c.id == rater).values(pseudonym="same")))
    world.database.write(lambda c: versions.confirm(c, rater, world.guideline_id, now=5.0))
    client = TestClient(make(world.database, clock=lambda: 100.0, rng=random.Random(3)), cookies={"as": "same"})
    received = []

    def take(response):
        received.append((response.status_code, sorted(response.headers.items()), response.content))
        return response.text

    for _ in range(3):
        lease_id = lease_in(take(client.get(f"/rate/{world.campaign_id}")))
        take(client.get(f"/rate/task/{lease_id}/difference"))
        take(client.get(f"/rate/task/{lease_id}/text?place=0"))
        take(client.post("/rate/submit", json=submission(lease_id), headers=HEADERS))
    take(client.post("/rate/undo", json={"lease_id": lease_id, "idempotency_key": "undo-key"}, headers=HEADERS))
    take(client.get(f"/rate/task/{lease_id}"))
    take(client.get(f"/rate/{world.campaign_id}/guideline"))
    world.database.write(lambda c: c.execute(judgment.delete()))
    world.database.write(lambda c: c.execute(leases.lease.delete()))
    world.database.write(lambda c: c.execute(update(leases.slot).values(state="open", lease_id=None)))
    world.database.write(lambda c: c.execute(guideline_read.delete().where(guideline_read.c.account_id == rater)))
    world.database.write(lambda c: c.execute(account.delete().where(account.c.id == rater)))
    return received


def test_swapping_the_policies_changes_no_byte_a_rater_receives(world, monkeypatch):
    judgments_made = _everything_received(world, False, monkeypatch), _everything_received(world, True, monkeypatch)
    assert len(judgments_made[0]) == 15
    assert judgments_made[0] == judgments_made[1]
    assert not any(b"tuned" in content or b"policies" in content for _, _, content in judgments_made[0])
