"""Pages of leads in a real browser, of a campaign whose raters are simulated: axe finds nothing, in any scheme or width."""

from __future__ import annotations

import random
import time

import pytest
from tests.collect.people_world import FIRST, SECOND, TIE, add_campaign, add_items, answer, take
from tests.collect.screen.conftest import chromium
from tests.collect.screen.serving import COOKIE, Server, axe, service, session_of

from truing.collect.accounts import roles
from truing.collect.guidelines import versions

__all__ = ["chromium"]
pytestmark = pytest.mark.browser

TEXT = "# Rating\n\nRead both.\n\n## Right {#right}\n\nWrong loses.\n"
NEWER = TEXT + "\n## Short {#short}\n\nOf two right answers the shorter wins.\n"
SEEN = {
    "wide": {"color_scheme": "light", "viewport": {"width": 1280, "height": 900}},
    "dark": {"color_scheme": "dark", "viewport": {"width": 1280, "height": 900}},
    "phone": {"color_scheme": "light", "viewport": {"width": 390, "height": 800}},
}


@pytest.fixture
def at_work(database, tmp_path):
    """Six simulated raters have answered for a day; returns the service, a lead's session and the addresses of their pages."""
    now = time.time()
    rng = random.Random(0)
    for after, text in enumerate((TEXT, NEWER)):
        found = database.write(lambda c, t=text, n=after: versions.publish(c, "help", t, now=now - 9e4 + n, after=n))
    campaign = add_campaign(database, guideline="help", overlap=3)
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
    pages = {
        "campaigns": "/lead",
        "dashboard": f"/lead/campaigns/{campaign}",
        "cases": f"/lead/campaigns/{campaign}/cases",
        "case": f"/lead/items/{first}",
        "guidelines": "/lead/guidelines",
        "edit": "/lead/guidelines/2/edit",
        "difference": "/guidelines/1/diff/2",
        "clauses": "/lead/guidelines/2/clauses",
        "people": "/lead/people",
        "home": "/",
    }
    return service(database, tmp_path), session_of(database, lead), pages


@pytest.mark.parametrize("seen", SEEN)
def test_pages_of_leads_are_whole_and_accessible(chromium, at_work, seen, tmp_path):
    app, session, pages = at_work
    with Server(app) as url:
        context = chromium.new_context(**SEEN[seen])
        context.add_cookies([{"name": COOKIE, "value": session, "url": url}])
        page = context.new_page()
        said: list[str] = []
        page.on("console", lambda message: said.append(message.text))
        for name, address in pages.items():
            response = page.goto(url + address)
            assert response.status == 200, (name, page.inner_text("body"))
            page.screenshot(path=tmp_path / f"{name}-{seen}.png", full_page=True)
            assert axe(page) == [], name
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), f"{name} is wider than its window"
        context.close()
    assert said == []
