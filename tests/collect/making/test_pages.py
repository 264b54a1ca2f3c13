"""Campaigns made on the page: presets, the same settings and the same errors as a file, items uploaded and pasted."""

from __future__ import annotations

import re

import pytest
from sqlalchemy import select
from tests.collect.service_world import csrf

from truing.collect import campaigns
from truing.collect.making.form import fields, settings
from truing.collect.schema import account, campaign, item

ITEM = '{"prompt": "Why?", "responses": ["a", "b"], "policies": ["sft", "ppo"]}'
SENT = {"name": "june", "pair": "on", "pair.steps_each_side": "3", "overlap": "2"}


@pytest.fixture
def lead(world):
    return world.signed_in("lead", "lead")


def post(browser, address, sent, file=None):
    token = csrf(browser.get("/lead/campaigns/new").text)
    files = {"file": ("items.jsonl", file)} if file is not None else {}
    return browser.post(address, data={"csrf": token, **sent}, files=files)


def problem(answer):
    assert answer.status_code == 400
    return re.search(r'role="alert"><?p?>?([^<]*)', answer.text)[1]


def rows(world, table):
    with world.database.read() as connection:
        return connection.execute(select(table)).mappings().all()


@pytest.mark.parametrize("preset", campaigns.preset_names())
def test_what_the_fields_of_a_preset_send_back_is_the_preset(preset):
    shown = fields(campaigns.resolved({"name": "x", "preset": preset}, "campaign"))
    sent = {name: str(value) for name, value in shown.items() if value not in (None, False)}
    assert settings({**sent, "name": "x"}) == campaigns.resolved({"name": "x", "preset": preset}, "campaign")


def test_a_campaign_with_items_from_a_file_and_pasted(world, lead):
    made = post(lead, "/lead/campaigns", {**SENT, "items": ITEM.replace("Why", "How")}, file=ITEM)
    assert (made.status_code, made.headers["location"]) == (303, "/lead/campaigns/1")
    assert [row["prompt"]["messages"][0]["content"] for row in rows(world, item)] == ["Why?", "How?"]
    assert lead.get("/lead/campaigns/1").status_code == 200
    added = post(lead, "/lead/campaigns/1/items", {"items": ITEM.replace("Why", "When")})
    assert (added.status_code, len(rows(world, item))) == (303, 3)
    again = post(lead, "/lead/campaigns/1/items", {"items": ITEM})
    assert "is in this campaign already" in again.text
    assert len(rows(world, item)) == 3


def test_mistakes_are_told_as_for_a_file_and_nothing_is_made(world, lead):
    assert "unknown key 'overlop'; did you mean 'overlap'?" in post(
        lead, "/lead/campaigns", {**SENT, "further": "overlop = 2"}
    ).text.replace("&#39;", "'")
    assert "there is a field for it above" in post(lead, "/lead/campaigns", {**SENT, "further": "overlap = 2"}).text
    assert "not valid TOML" in post(lead, "/lead/campaigns", {**SENT, "further": "overlap"}).text
    answer = post(lead, "/lead/campaigns", {**SENT, "items": ITEM + "\n{"})
    assert "pasted items, line 2" in answer.text
    assert 'value="june"' in answer.text  # what was written is still there
    assert rows(world, campaign) == []


def test_sources_and_further_settings():
    sampled = settings({**SENT, "source": "sampled", "policies": "a, b", "responses": "2"}).sampled
    assert sampled.policies == ("a", "b")
    assert settings({**SENT, "overlap": "1", "source": "live", "policies": "a,b"}).live.policies == ("a", "b")
    assert settings({**SENT, "further": "[completion]\nitems = 5"}).completion.items == 5
    scale = settings({**SENT, "scales": "on", "scales.attributes": "tone, 1, 5, rude, kind\n\ndepth"}).tasks[1].attributes
    assert [(a.name, a.low, a.high, a.low_label, a.high_label) for a in scale] == [
        ("tone", 1, 5, "rude", "kind"),
        ("depth", 0, 4, "", ""),
    ]


def test_a_rater_makes_none(world):
    assert world.signed_in("bo").get("/lead/campaigns/new").status_code == 403


def test_a_campaign_is_closed_from_its_dashboard(world, lead):
    post(lead, "/lead/campaigns", SENT)
    closed = post(lead, "/lead/campaigns/1/status", {"status": "closed"})
    assert (closed.status_code, closed.headers["location"]) == (303, "/lead/campaigns/1")
    assert rows(world, campaign)[0]["status"] == "closed"


def test_a_sampled_campaign_says_what_waits_and_what_failed(world, lead):
    post(lead, "/lead/campaigns", {**SENT, "source": "sampled", "policies": "a", "responses": "2", "items": "Why?"})
    assert "1 item wait" in lead.get("/lead/campaigns/1").text.replace("waits", "wait")
    assert rows(world, account)[0]["role"] == "lead"
