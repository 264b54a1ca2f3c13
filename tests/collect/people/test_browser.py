"""Pages of leads and administrators in a real browser, of a campaign whose raters are simulated: axe finds nothing, in any
scheme or width.
"""

from __future__ import annotations

import random
import time

import pytest
from tests.collect.people_world import FIRST, SECOND, TIE, add_campaign, add_items, answer, take
from tests.collect.screen.serving import COOKIE, Server, axe, service, session_of

from truing.collect import campaigns
from truing.collect.accounts import roles, tokens
from truing.collect.guidelines import versions
from truing.collect.new_items import read_items
from truing.collect.onboarding import admission
from truing.collect.onboarding.steps import Qualification
from truing.collect.people import earnings, messages

pytestmark = pytest.mark.browser

TEXT = "# Rating\n\nRead both.\n\n## Right {#right}\n\nWrong loses.\n"
NEWER = TEXT + "\n## Short {#short}\n\nOf two right answers the shorter wins.\n"
WIDE, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 800}
SEEN = {"wide": (WIDE, "light", ()), "dark": (WIDE, "dark", ("color-contrast",)), "phone": (PHONE, "light", ())}
"""How each page is looked at: window, colours, and the rules that can come out differently from before (none = all)."""


@pytest.fixture
def at_work(database, tmp_path):
    """Six simulated raters have answered for a day; returns the service, and the addresses of the pages of a lead and of an
    administrator with the session that each is looked at in.
    """
    now = time.time()
    rng = random.Random(0)
    for after, text in enumerate((TEXT, NEWER)):
        found = database.write(lambda c, t=text, n=after: versions.publish(c, "help", t, now=now - 9e4 + n, after=n))
    campaign = add_campaign(database, guideline="help", overlap=3, pay={"hourly": "18.00"})
    first, *_ = add_items(database, campaign, 40)
    for number in range(6):
        rater = database.write(lambda c, n=number: roles.create(c, f"sim-{n}", "rater", now=now - 9e4, is_simulated=True))
        database.write(lambda c, r=rater: versions.confirm(c, r, found.guideline_id, now=now - 9e4))
        for step in range(15):
            then = now - 86_000 + step * 5_500 + number * 60
            held = take(database, campaign, rater, now=then, seed=step)
            if held is not None:
                stored = rng.choices((FIRST, SECOND, TIE), (6, 3, 1))[0]
                answer(database, rater, held, stored, now=then + 40, clause=rng.choice(("right", "short", "")), active_s=35.0)
        take(database, campaign, rater, now=now)
    lead = database.write(lambda c: roles.create(c, "lead", "lead", now=now))
    admin = {"id": database.write(lambda c: roles.create(c, "admin", "admin", now=now)), "role": "admin"}
    sampled = add_campaign(database, "sampled", sampled={"policies": ["sft", "ppo"]})
    database.write(lambda c: campaigns.add_items(c, sampled, read_items(b"Why is the sky blue?"), now=now))

    def meet(connection):
        messages.send(connection, rater, "Clause 2 has changed.", now=now, by=lead)
        admission.decide(connection, rater, "pair", Qualification("granted", decided_at=now))
        earnings.pay(connection, rater, campaign, "payout", 5_000, now=now, by=lead, note="by transfer")
        tokens.create(connection, admin, "worker", ("replies",), now=now)

    database.write(meet)
    of_lead = {
        "campaigns": "/lead",
        "dashboard": f"/lead/campaigns/{campaign}",
        "cases": f"/lead/campaigns/{campaign}/cases",
        "case": f"/lead/items/{first}",
        "form": "/lead/campaigns/new",
        "preset": "/lead/campaigns/new?preset=helpsteer3",
        "items": f"/lead/campaigns/{campaign}/items",
        "guidelines": "/lead/guidelines",
        "edit": "/lead/guidelines/2/edit",
        "difference": "/guidelines/1/diff/2",
        "clauses": "/lead/guidelines/2/clauses",
        "people": "/lead/people",
        "person": f"/lead/people/{rater}",
        "home": "/",
    }
    of_admin = {
        "people-admin": "/lead/people",
        "person-admin": f"/lead/people/{rater}",
        "sampled": f"/lead/campaigns/{sampled}",
        "tokens": "/lead/tokens",
    }
    looked_at = [(session_of(database, lead), of_lead), (session_of(database, admin["id"]), of_admin)]
    return service(database, tmp_path), looked_at


def test_pages_are_whole_and_accessible(chromium, at_work):
    app, looked_at = at_work
    said: list[str] = []
    with Server(app) as url:
        for session, pages in looked_at:
            context = chromium.new_context(reduced_motion="reduce")
            context.add_cookies([{"name": COOKIE, "value": session, "url": url}])
            page = context.new_page()
            page.on("console", lambda message: said.append(message.text))
            for name, address in pages.items():
                response = page.goto(url + address)
                assert response.status == 200, (name, page.inner_text("body"))
                check(page, name)
            if "tokens" in pages:
                page.get_by_label("Which program it is for").fill("a program with a longer name than most programs have")
                page.get_by_label("replies").check()
                page.get_by_role("button", name="Make a token").press("Enter")
                page.get_by_text("it is not shown again").wait_for()
                check(page, "token")
            context.close()
    assert said == []


def check(page, name):
    """Everything on a page, unfolded, is accessible and no wider than its window, however it is looked at."""
    page.evaluate("document.querySelectorAll('details').forEach(part => { part.open = true; })")
    for seen, (window, colours, rules) in SEEN.items():
        page.set_viewport_size(window)
        page.emulate_media(color_scheme=colours)
        assert axe(page, *rules) == [], (name, seen)
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), f"{name} is wider than its window ({seen})"
