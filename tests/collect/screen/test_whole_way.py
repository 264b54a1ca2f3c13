"""The whole way in a real browser: signing in, onboarding, twenty comparisons by keyboard, one taken back, the export."""

from __future__ import annotations

import pytest
from pyarrow import parquet
from sqlalchemy import select
from tests.collect.people_world import add_account, add_campaign, add_items
from tests.collect.screen.serving import Server, axe, service
from tests.collect.service_world import PASSWORD, PASSWORD_HASH

from truing.collect.accounts import tokens
from truing.collect.client import Client
from truing.collect.schema import judgment

pytestmark = pytest.mark.browser
QUESTION = {
    "text": "What comes first?",
    "choices": ["Truth", "Length"],
    "right": 0,
    "explanation": "Truth first.",
    "clause": "truth",
}
ONBOARDING = {"questions": [QUESTION], "calibration_items": 2, "calibration_pass_mark": 1.0}


def send(page, *keys):
    before = page.locator("#task").get_attribute("data-lease")
    for key in keys:
        page.keyboard.press(key)
    page.wait_for_function("before => document.querySelector('#task')?.dataset.lease !== before", arg=before)


def choose_gold(page):
    """The known answer is the item's first response, which says so of itself; on the left it is key 2, on the right 6."""
    left = page.locator(".pane").first.inner_text()
    send(page, "2" if "First answer" in left else "6", "Enter")


def test_from_signing_in_to_the_export(chromium, world):
    add_account(world.database, "newcomer", password_hash=PASSWORD_HASH)
    lead = {"id": add_account(world.database, "lead-1", "lead"), "role": "lead"}
    campaign = add_campaign(world.database, "whole way", guideline="main", overlap=1, onboarding=ONBOARDING)
    add_items(world.database, campaign, 20)
    add_items(world.database, campaign, 2, purpose="calibration")
    _, token = world.database.write(lambda c: tokens.create(c, lead, "export", ("read", "export"), now=0.0))
    troubles = []
    with Server(service(world.database, world.folder)) as url:
        page = chromium.new_context(base_url=url).new_page()
        page.on("console", lambda message: troubles.append(message.text))
        page.on("request", lambda request: request.url.startswith(url) or troubles.append(request.url))
        page.goto(f"/rate/{campaign}")
        assert axe(page) == []
        page.get_by_label("Name").fill("newcomer")
        page.get_by_label("Password").fill(PASSWORD)
        page.keyboard.press("Enter")
        for button in ("I have read this and agree", "I have read version 2"):
            page.get_by_role("button", name=button).wait_for()
            assert axe(page) == []
            page.get_by_role("button", name=button).press("Enter")
        page.get_by_label("Truth").check()
        assert axe(page) == []
        page.get_by_role("button", name="Hand in").press("Enter")
        page.get_by_role("link", name="Begin").press("Enter")
        page.locator("#task").wait_for()
        for _ in range(2):
            choose_gold(page)
        for number in range(19):
            send(page, "1234567"[number % 7], "Enter")
        page.keyboard.press("u")
        page.get_by_text("Taken back.").wait_for()
        send(page, "7", "7")
        send(page, "1", "Enter")
        page.get_by_role("heading", name="That was all for you").wait_for()
        page.wait_for_function("() => !document.querySelector('#outbox-state').textContent")
        assert axe(page) == []
        page.goto("/me")
        assert axe(page) == []
        page.context.close()
        with Client(url, token) as client:
            begun = client.start_export("whole-way", ["whole way"])
            exported = client.download(client.wait_for_export(begun.id, every_s=0.05).id, world.folder / "set")
    assert troubles == []
    rows = parquet.read_table(exported.path / "judgments.parquet").to_pylist()
    assert len([row for row in rows if row["comparison_id"].startswith("task-")]) == 20
    assert all(len(row["guideline_hash"]) == 64 for row in rows)
    with world.database.read() as connection:
        kinds = connection.scalars(select(judgment.c.kind).where(judgment.c.campaign_id == campaign)).all()
    assert (kinds.count("answer"), kinds.count("withdrawn")) == (23, 1)
