"""The pages for raters and leads, over the whole service in the tests' own process."""

from __future__ import annotations

import pytest
from sqlalchemy import select
from tests.collect.people_world import FIRST, SECOND, add_campaign, add_items, answer, take
from tests.collect.service_world import csrf

from truing.collect.guidelines import versions
from truing.collect.onboarding.config import OnboardingConfig, Question
from truing.collect.people.config import CompletionConfig, PayConfig
from truing.collect.schema import account, adjudication, item, lease

TEXT = "# Rating\n\n## Right {#right}\n\nWrong loses.\n"
QUESTION = Question(text="Which wins?", choices=("long", "right"), right=1, explanation="Length earns nothing.", clause="right")


def person(world, login):
    with world.database.read() as c:
        return c.scalar(select(account.c.id).where(account.c.login == login))


def post(browser, page, address, **fields):
    return browser.post(address, data={"csrf": csrf(browser.get(page).text), **fields})


@pytest.fixture
def campaign_id(world):
    world.database.write(lambda c: versions.publish(c, "help", TEXT, now=1.0))
    onboarding = OnboardingConfig(questions=(QUESTION,), calibration_items=1)
    made = add_campaign(
        world.database,
        guideline="help",
        overlap=2,
        onboarding=onboarding,
        pay=PayConfig(hourly="20", per_item="0.05"),
        completion=CompletionConfig(items=1, code="C1ABC"),
    )
    add_items(world.database, made, 2)
    add_items(world.database, made, 2, purpose="calibration")
    return made


def onboard(world, browser, campaign_id):
    start = f"/campaigns/{campaign_id}/start"
    assert "Before you begin" in browser.get(start).text
    assert post(browser, start, f"/campaigns/{campaign_id}/consent").status_code == 303
    assert "Read the guideline" in browser.get(start).text
    assert post(browser, start, f"/campaigns/{campaign_id}/guideline", guideline_id="1").status_code == 303
    assert "Which wins?" in browser.get(start).text
    post(browser, start, f"/campaigns/{campaign_id}/quiz", q0="0")
    failed = browser.get(start + "?marked=1").text
    assert "Length earns nothing." in failed
    assert "attempt 2 of 3" in failed
    post(browser, start, f"/campaigns/{campaign_id}/quiz", q0="1")
    assert "Trial items" in browser.get(start).text


def test_the_way_in_to_the_code_at_the_end(world, campaign_id):
    browser = world.signed_in("anna")
    rater = person(world, "anna")
    onboard(world, browser, campaign_id)
    now = world.clock.now
    found = take(world.database, campaign_id, rater, now=now)
    assert found.purpose == "calibration"
    answer(world.database, rater, found, FIRST, now=now + 30)
    assert "You are ready" in browser.get(f"/campaigns/{campaign_id}/start").text
    assert "C1ABC" in browser.get(f"/campaigns/{campaign_id}/done").text
    own = browser.get("/me").text
    assert "First answer" not in own
    assert "USD" in own
    assert browser.get("/me/data.json").json()["account"]["login"] == "anna"


def test_a_form_sent_twice_says_so(world, campaign_id):
    browser = world.signed_in("anna")
    start = f"/campaigns/{campaign_id}/start"
    post(browser, start, f"/campaigns/{campaign_id}/consent")
    assert post(browser, start, f"/campaigns/{campaign_id}/consent").status_code == 409


def test_settings_and_erasing_oneself(world):
    browser = world.signed_in("anna")
    post(browser, "/me", "/me/settings", opt_in="on", cap="7")
    assert 'value="7"' in browser.get("/me").text
    assert post(browser, "/me/erase", "/me/erase", pseudonym="wrong").status_code == 400
    with world.database.read() as c:
        pseudonym = c.scalar(select(account.c.pseudonym).where(account.c.login == "anna"))
    said = post(browser, "/me/erase", "/me/erase", pseudonym=pseudonym)
    assert (said.status_code, "You are erased" in said.text) == (200, True)
    assert browser.get("/me").headers["location"].startswith("/sign-in")
    assert person(world, "anna") is None


def test_a_lead_writes_the_next_version_after_seeing_what_it_changes(world, campaign_id):
    lead = world.signed_in("lead", "lead")
    assert "help" in lead.get("/lead/guidelines").text
    edit = "/lead/guidelines/1/edit"
    fields = {"name": "help", "after": "1", "clause": "", "change_note": "Length."}
    text = TEXT + "\n## Short {#short}\n\nShort wins.\n"
    shown = post(lead, edit, "/lead/guidelines", **fields, text=text, action="preview")
    assert "<ins>" in shown.text
    assert post(lead, edit, "/lead/guidelines", **fields, text=text, action="publish").status_code == 303
    assert "added" in lead.get("/guidelines/1/diff/2").text
    assert lead.get("/lead/guidelines/2/clauses").status_code == 200
    stale = post(lead, edit, "/lead/guidelines", **fields, text=text + "x", action="publish")
    assert (stale.status_code, "version 2" in stale.text) == (409, True)


def test_a_split_is_seen_decided_and_proposed(world):
    world.database.write(lambda c: versions.publish(c, "help", TEXT, now=1.0))
    made = add_campaign(world.database, guideline="help", overlap=2)
    (item_id,) = add_items(world.database, made, 1)
    for login, stored in (("anna", FIRST), ("bert", SECOND)):
        rater = world.account(login)
        world.database.write(lambda c, rater=rater: versions.confirm(c, rater, 1, now=1.0))
        answer(world.database, rater, take(world.database, made, rater, now=world.clock.now), stored, now=world.clock.now + 9)
    lead = world.signed_in("lead", "lead")
    assert "1 case for a lead" in lead.get("/lead").text
    assert f"/lead/items/{item_id}" in lead.get(f"/lead/campaigns/{made}/cases").text
    case = f"/lead/items/{item_id}"
    assert post(lead, case, case, note="x").status_code == 400
    fields = {"amendment_id": "cites", "amendment_title": "Cite sources", "amendment_body": "A source beats none."}
    assert post(lead, case, case, pair="second:2", gold="on", note="Has a source.", **fields).status_code == 303
    with world.database.read() as c:
        assert c.scalar(select(adjudication.c.status)) == "decided"
        assert c.scalars(select(item.c.purpose).order_by(item.c.id)).all() == ["task", "gold"]
    assert "Cite sources" in lead.get("/lead/guidelines").text
    assert "A source beats none." in lead.get("/lead/guidelines/1/edit?clause=cites").text
    assert "Has a source." in lead.get(case).text


def test_a_dashboard_its_refresh_and_a_stuck_lease(world, campaign_id):
    plain = add_campaign(world.database, name="plain")
    add_items(world.database, plain, 1)
    rater = world.account("anna")
    held = take(world.database, plain, rater, now=world.clock.now)
    lead = world.signed_in("lead", "lead")
    page = f"/lead/campaigns/{plain}"
    assert held.lease_id in lead.get(page).text
    part = lead.get(page + "/board").text
    assert "<html" not in part
    assert "Judgments an hour" in part
    assert post(lead, page, f"/lead/leases/{held.lease_id}/release").status_code == 303
    with world.database.read() as c:
        assert c.scalar(select(lease.c.state)) == "released"
    assert "No rater has earned" in lead.get(f"/lead/campaigns/{campaign_id}?code=AAAA").text


@pytest.mark.parametrize("address", ["/lead", "/lead/guidelines", "/lead/guidelines/new", "/lead/campaigns/1", "/lead/items/1"])
def test_leads_pages_are_for_leads(world, address):
    assert world.signed_in("anna").get(address).status_code == 403
