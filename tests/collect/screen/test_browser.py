"""The rating screen in a real browser: by keyboard alone, offline, enlarged, with hostile texts; axe finds nothing."""

from __future__ import annotations

import contextlib
import random
import time

import pytest
from sqlalchemy import select
from tests.collect.people_world import add_account, add_campaign
from tests.collect.rendering.corpus import MARKER, TEXTS
from tests.collect.screen.serving import COOKIE, Server, axe, service, session_of

from truing.collect import campaigns
from truing.collect.chat import replies
from truing.collect.chat.replies import WrittenReply
from truing.collect.config import Attribute, CritiqueTask, PairTask, RankingTask, RewriteTask, ScalesTask
from truing.collect.new_items import NewItem
from truing.collect.schema import judgment
from truing.records import Prompt

pytestmark = pytest.mark.browser
WIDE, PHONE, ENLARGED = {"width": 1280, "height": 800}, {"width": 390, "height": 844}, {"width": 320, "height": 256}
EVERYTHING = (PairTask(), ScalesTask(attributes=(Attribute(name="tone"), Attribute(name="depth"))), CritiqueTask(), RewriteTask())


@pytest.fixture
def desk(chromium, world):
    """Opens the screen on a new campaign: `desk(tasks, responses of each item)`; afterwards nothing may have gone wrong."""
    troubles, fetched = [], []
    with Server(service(world.database, world.folder, rng=random.Random(1))) as url, contextlib.ExitStack() as stack:

        def open_screen(tasks, responses, *, viewport=WIDE, scheme="light", prompts=None, **settings):
            world.campaign_id = add_campaign(world.database, f"campaign-{random.random()}", tasks=tasks, overlap=1, **settings)
            new = [_item(n, texts, prompts[n] if prompts else f"Question {n}?") for n, texts in enumerate(responses)]
            world.database.write(lambda c: campaigns.add_items(c, world.campaign_id, new, now=0.0))
            context = chromium.new_context(viewport=viewport, color_scheme=scheme, reduced_motion="reduce", base_url=url)
            stack.callback(context.close)
            context.add_cookies([{"name": COOKIE, "value": session_of(world.database, world.rater_id), "url": url}])
            page = context.new_page()
            page.on("console", lambda message: troubles.append(message.text))
            page.on("pageerror", lambda error: troubles.append(str(error)))
            page.on("requestfinished", lambda request: fetched.append(request.url))
            page.on("dialog", lambda dialog: (troubles.append("dialog"), dialog.dismiss()))
            page.on("request", lambda request: request.url.startswith(url) or troubles.append(request.url))
            page.goto(f"/rate/{world.campaign_id}")
            return page

        open_screen.troubles, open_screen.fetched = troubles, fetched
        yield open_screen
        assert [t for t in troubles if "ERR_INTERNET_DISCONNECTED" not in t] == []


def _item(number, responses, prompt):
    return NewItem(external_id=f"item-{number}", prompt=Prompt.from_text(prompt), responses=tuple(responses))


def pairs(count):
    return [(f"First answer {n}.", f"Second **answer** {n}, which is longer.") for n in range(count)]


def lease_of(page):
    return page.locator("#task").get_attribute("data-lease")


def saved(world):
    with world.database.read() as connection:
        return connection.execute(select(judgment).order_by(judgment.c.id)).mappings().all()


def pressed(page, *keys):
    for key in keys:
        page.keyboard.press(key)


def send(page, *keys):
    """Press keys and wait for another item, or for the end."""
    before = lease_of(page)
    pressed(page, *keys)
    page.wait_for_function("before => document.querySelector('#task')?.dataset.lease !== before", arg=before)


def wait_for_the_next(desk, page):
    """Until the item after the one that is shown has been fetched ahead."""
    lease, began = lease_of(page), time.monotonic()
    while not any("/next?" in url and lease in url for url in desk.fetched):
        assert time.monotonic() - began < 30, desk.fetched
        page.wait_for_timeout(20)


def wait_for_judgments(page, world, count):
    page.wait_for_function("() => !document.querySelector('#outbox-state').textContent")
    assert len(saved(world)) == count
    return saved(world)


def test_twenty_comparisons_by_keyboard_one_taken_back(desk, world):
    page = desk((PairTask(),), pairs(21))
    for number in range(20):
        send(page, "12345670"[number % 8], "Enter")
    wait_for_judgments(page, world, 20)
    page.keyboard.press("u")
    page.get_by_text("Taken back.").wait_for()
    assert page.locator("[name=pair]:checked").get_attribute("data-digit") == "12345670"[19 % 8]
    send(page, "7", "7")
    rows = wait_for_judgments(page, world, 22)
    assert [row["kind"] for row in rows[-2:]] == ["withdrawn", "answer"]
    place = rows[-1]["screen_order"][1]
    assert rows[-1]["answers"][0]["choice"] == ("first", "second")[place]
    assert rows[-1]["answers"][0]["margin"] == 3
    assert 0 < sum(row["active_s"] for row in rows) < 60


def test_everything_a_task_can_ask_for_by_keyboard(desk, world):
    page = desk(EVERYTHING, pairs(2))
    pressed(page, "6", "r")
    page.wait_for_function("() => document.querySelector('#rewrite').value !== ''")
    better = page.locator(".pane").nth(1).locator(".response").inner_text().replace("answer", "**answer**", 1)
    assert page.locator("#rewrite").input_value().replace("*", "") == better.replace("*", "")
    page.keyboard.insert_text("Rewritten. ")
    pressed(page, "Escape")
    page.locator("h1").focus()
    pressed(page, "c")
    page.keyboard.insert_text("1 2 3 keys rest here f s u")
    page.locator("h1").focus()
    pressed(page, "f", " ")
    page.locator(".score input").first.focus()
    pressed(page, "3", "4", "0", "2")
    page.locator("h1").focus()
    send(page, "Enter")
    (row,) = wait_for_judgments(page, world, 1)
    by_type = {answer["type"]: answer for answer in row["answers"]}
    right = row["screen_order"][1]
    assert by_type["pair"] == {"type": "pair", "choice": ("first", "second")[right], "margin": 2, "both_bad": False}
    assert by_type["scales"]["scores"][right] == {"tone": 0, "depth": 2}
    assert by_type["critique"]["text"] == "1 2 3 keys rest here f s u"
    assert by_type["rewrite"]["of"] == right
    assert by_type["rewrite"]["text"].startswith("Rewritten. ")
    assert row["flags"] == ["unsafe"]


def test_what_is_missing_is_said_and_focused(desk, world):
    page = desk((ScalesTask(attributes=(Attribute(name="tone"),)), CritiqueTask(is_required=True)), pairs(1))
    pressed(page, "3", "Enter")
    page.get_by_text("Not scored yet: Right: Tone.").wait_for()
    page.keyboard.press("1")
    page.locator("h1").focus()
    page.keyboard.press("Enter")
    page.get_by_text("Write a few words on why first.").wait_for()
    assert page.evaluate("document.activeElement.id") == "critique"
    assert saved(world) == []


def test_enter_sends_after_the_guideline_was_opened_and_closed(desk, world):
    page = desk((PairTask(),), pairs(2), guideline="main")
    page.keyboard.press("g")
    page.locator(".clause-text").first.wait_for()
    pressed(page, "g", "2")
    send(page, "Enter")
    (row,) = wait_for_judgments(page, world, 1)
    assert row["kind"] == "answer"
    assert page.locator("#guideline").is_hidden()


def test_scores_of_four_answers_do_not_overlap(desk):
    overall = Attribute(name="overall", low=1, high=7, low_label="very bad", high_label="very good")
    page = desk((RankingTask(), ScalesTask(attributes=(overall,))), [("one", "two", "three", "four")])
    assert page.locator(".score").count() == 4
    assert page.evaluate("[...document.querySelectorAll('.score')].every(row => row.scrollWidth <= row.clientWidth)")


def test_ranking_by_digits_ties_and_drag(desk, world):
    page = desk((RankingTask(),), [("one", "two", "three")] * 3)
    pressed(page, "3", "1", "=", "2")
    assert page.locator(".order li").all_text_contents() == ["1. Answer 3", "2. Answer 1", "2. Answer 2"]
    send(page, "Enter")
    (row,) = wait_for_judgments(page, world, 1)
    assert [row["answers"][0]["ranks"][response] for response in row["screen_order"]] == [2, 2, 1]
    page.locator(".order li").nth(2).drag_to(page.locator(".order li").first, target_position={"x": 4, "y": 10})
    assert [page.locator(f"[name=rank-{n}]").input_value() for n in range(3)] == ["2", "3", "1"]
    send(page, "Enter")


def test_a_skip_has_a_reason(desk, world):
    page = desk((PairTask(),), pairs(2))
    pressed(page, "s", " ")
    send(page, "Tab", "Tab", "Enter")
    (row,) = wait_for_judgments(page, world, 1)
    assert (row["kind"], row["skip_reason"]) == ("skip", "I do not know enough about this")


def test_offline_answers_wait_and_arrive_once(desk, world):
    page = desk((PairTask(),), pairs(4))
    wait_for_the_next(desk, page)
    page.context.set_offline(True)
    send(page, "1", "Enter")
    page.get_by_text("1 answer waits to be sent").wait_for()
    pressed(page, "2", "Enter")
    page.get_by_role("heading", name="You are offline").wait_for()
    assert page.get_by_text("2 answers wait to be sent").is_visible()
    assert saved(world) == []
    page.context.set_offline(False)
    page.locator("#task").wait_for()
    assert len(wait_for_judgments(page, world, 2)) == 2


def test_a_closed_tab_loses_neither_draft_nor_outbox(desk, world):
    page = desk((PairTask(), CritiqueTask()), pairs(3))
    wait_for_the_next(desk, page)
    page.context.set_offline(True)
    send(page, "1", "Enter")
    pressed(page, "5", "c")
    page.keyboard.insert_text("half a thought")
    page.context.set_offline(False)
    page.reload()
    page.locator("#critique").wait_for()
    wait_for_judgments(page, world, 1)
    assert page.locator("#critique").input_value() == "half a thought"
    assert page.locator("[name=pair]:checked").get_attribute("data-digit") == "5"


def test_an_answer_that_the_service_fails_on_is_set_aside_and_later_ones_are_sent(desk, world):
    page = desk((PairTask(),), pairs(4))
    page.clock.install()
    desk.fetched.clear()
    page.reload()
    wait_for_the_next(desk, page)
    failing = lease_of(page)

    def fail(route):
        if route.request.post_data_json["lease_id"] != failing:
            return route.continue_()
        return route.fulfill(status=500, json={"error": {"code": "internal", "message": "Something went wrong."}})

    page.route("**/rate/submit", fail)
    send(page, "1", "Enter")
    page.get_by_text("Not taken yet, and kept here: Something went wrong.").wait_for()
    wait_for_the_next(desk, page)
    send(page, "2", "Enter")
    assert page.get_by_text("2 answers wait to be sent").is_visible()
    page.clock.fast_forward(40_000)
    page.get_by_text("It is kept on this machine, and the others are sent.").wait_for()
    page.wait_for_function("() => document.querySelector('#outbox-state').textContent === '1 answer could not be taken'")
    send(page, "3", "Enter")
    page.wait_for_function("() => document.querySelector('#outbox-state').textContent === '1 answer could not be taken'")
    assert len(saved(world)) == 2
    assert failing not in {row["lease_id"] for row in saved(world)}
    page.unroute("**/rate/submit")
    with page.expect_response("**/rate/submit"):
        page.reload()
    assert failing in {row["lease_id"] for row in wait_for_judgments(page, world, 3)}
    desk.troubles[:] = [t for t in desk.troubles if "status of 500" not in t]


def test_keys_can_be_changed_and_switched_off(desk, world):
    page = desk((PairTask(),), pairs(2))
    campaign = page.url
    page.goto("/rate/settings")
    page.get_by_label("Skip, with a reason").fill("x")
    page.get_by_role("button", name="Save").click()
    page.goto(campaign)
    page.keyboard.press("s")
    assert page.locator("[data-panel=skip]").is_hidden()
    page.keyboard.press("x")
    assert page.locator("[data-panel=skip]").is_visible()
    page.goto("/rate/settings")
    page.get_by_label("Single keys work").uncheck()
    page.get_by_role("button", name="Save").click()
    page.goto(campaign)
    pressed(page, "x", "1")
    assert page.locator("[data-panel=skip]").is_hidden()
    assert page.locator("[name=pair]:checked").count() == 0


def test_the_answers_scroll_together(desk):
    page = desk((PairTask(),), [("short\n\n" * 60, "long\n\n" * 120)])
    page.locator(".pane").first.evaluate("pane => { pane.scrollTop = pane.scrollHeight; }")
    is_at_its_end = "pane => pane.scrollHeight - pane.clientHeight - pane.scrollTop < 2"
    page.wait_for_function(f"() => [...document.querySelectorAll('.pane')].every({is_at_its_end})")


def test_harmful_texts_are_veiled_until_asked_for(desk, world, monkeypatch):
    monkeypatch.setattr("truing.collect.people.limits.check", lambda *_, **__: None)
    page = desk((PairTask(),), pairs(1), exposure={"harmful": True})
    page.keyboard.press("1")
    assert page.locator("[name=pair]:checked").count() == 0
    assert axe(page) == []
    page.get_by_role("button", name="Show this one").click()
    page.keyboard.press("1")
    assert page.locator("[name=pair]:checked").count() == 1


@pytest.mark.parametrize(
    ("viewport", "scheme"),
    [
        (WIDE, "light"),
        pytest.param(WIDE, "dark", marks=pytest.mark.slow),
        (PHONE, "dark"),
        pytest.param(PHONE, "light", marks=pytest.mark.slow),
        (ENLARGED, "light"),
    ],
)
def test_axe_finds_nothing_and_no_page_scrolls_sideways(desk, world, viewport, scheme):
    text = "# Title\n\n| a | b |\n|---|--:|\n| 1 | 2 |\n\n```python\n" + "x" * 300 + "\n```\n\n" + "w" * 300
    page = desk(EVERYTHING, [(text, f"{text} [link](https://a.example)")], viewport=viewport, scheme=scheme, guideline="main")
    assert axe(page) == []
    pressed(page, "1", "d", "f", "c", "Escape")
    page.locator("h1").first.focus()
    pressed(page, "s", "Escape")
    page.locator("h1").first.focus()
    page.locator("mark").first.wait_for()
    assert axe(page) == []
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.keyboard.press("g")
    page.locator(".clause-text").first.wait_for()
    assert axe(page) == []
    page.keyboard.press("Escape")
    page.keyboard.press("?")
    page.locator("#help[open]").wait_for()
    assert axe(page) == []
    page.goto("/rate/settings")
    assert axe(page) == []
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_hostile_texts_run_nothing_load_nothing_and_leave_the_screen_whole(desk, world):
    texts = [text.encode("utf-8", "replace").decode() for text in TEXTS]
    groups = [texts[start : start + 9] for start in range(0, len(texts) - 1, 9)]
    page = desk((RankingTask(), CritiqueTask()), groups, prompts=[group[0] for group in groups])
    for group in groups:
        assert page.locator(".pane").count() == len(group)
        assert page.evaluate(f"window.{MARKER}") is None
        assert (
            page.evaluate(
                "document.querySelectorAll('#task script, #task img, #task iframe, #task style, .prose a, [onerror]').length"
            )
            == 0
        )
        assert page.locator(".dock").is_visible()
        send(page, *"123456789"[: len(group)], "Enter")
    assert page.get_by_role("heading", name="That was all for you").is_visible()


def test_who_has_not_read_the_new_guideline_is_sent_to_it(desk, world):
    other = add_account(world.database, "rater-2")
    page = desk((PairTask(),), pairs(1), guideline="main")
    page.context.clear_cookies()
    page.context.add_cookies([{"name": COOKIE, "value": session_of(world.database, other), "url": page.url}])
    page.reload()
    assert page.url.endswith("/start")
    assert axe(page) == []


def test_a_live_chat_by_keyboard(desk, world):
    page = desk((PairTask(),), [], live={"policies": ("alpha", "beta")})
    page.keyboard.insert_text("Hello there?")
    assert axe(page) == []
    page.keyboard.press("Control+Enter")
    page.get_by_text("Two answers are being written.").wait_for()
    assert axe(page) == []
    for request in world.database.write(lambda c: replies.take(c, ("alpha", "beta"), 8, now=1.0)):
        written = WrittenReply(text="An answer of **one** policy.")
        world.database.write(lambda c, r=request, w=written: replies.finish(c, r.reply_id, w))
    page.locator("#task").wait_for()
    pressed(page, "2", "Enter")
    page.get_by_label("Your next message").wait_for()
    assert page.get_by_text("An answer of one policy.").is_visible()
    assert axe(page) == []
    page.get_by_role("button", name="Begin another conversation").click()
    page.get_by_role("heading", name="Begin a conversation").wait_for()
    wait_for_judgments(page, world, 1)


def held_back(page):
    """Load the page anew with its script on its way; what is returned lets it come."""
    script, waiting = "**/static/screen/main.js", []

    def hold(route):
        waiting.append(route)

    page.route(script, hold)
    with page.expect_request(script):
        page.reload(wait_until="commit")
    page.locator("#task, #chat").wait_for()

    def come():
        for route in waiting:
            route.continue_()
        page.unroute(script)

    return come


def test_keys_pressed_before_the_script_has_come_count(desk, world):
    page = desk((PairTask(),), pairs(2))
    come, before = held_back(page), lease_of(page)
    pressed(page, "2", "Enter", "7", "Enter")
    come()
    page.wait_for_function("before => document.querySelector('#task')?.dataset.lease !== before", arg=before)
    (row,) = wait_for_judgments(page, world, 1)
    assert (row["answers"][0]["choice"], row["answers"][0]["margin"]) == (("first", "second")[row["screen_order"][0]], 2)
    assert page.locator("[name=pair]:checked").count() == 0  # the item that came since was not there to be answered


def test_what_was_written_and_clicked_before_the_script_has_come_stays(desk, world):
    page = desk((PairTask(), CritiqueTask(is_required=True)), pairs(2))
    pressed(page, "3")
    come, before = held_back(page), lease_of(page)
    page.locator("#critique").fill("half a thought: 1 2 s u")
    page.keyboard.type(", and more")
    come()
    page.wait_for_function("() => document.querySelector('[name=pair]:checked')")
    assert page.evaluate("document.activeElement.id") == "critique"
    page.keyboard.type(" of it")
    assert page.locator("#critique").input_value() == "half a thought: 1 2 s u, and more of it"
    come = held_back(page)
    page.keyboard.press("2")
    page.locator("[name=pair][data-digit='5']").check()
    page.get_by_role("button", name="Flag").click()
    page.get_by_role("button", name="Send").click()
    come()
    page.wait_for_function("before => document.querySelector('#task')?.dataset.lease !== before", arg=before)
    (row,) = wait_for_judgments(page, world, 1)
    by_type = {answer["type"]: answer for answer in row["answers"]}
    assert (by_type["pair"]["choice"], by_type["pair"]["margin"]) == (("first", "second")[row["screen_order"][1]], 1)
    assert by_type["critique"]["text"] == "half a thought: 1 2 s u, and more of it"


def test_a_message_begun_before_the_script_has_come_stays(desk, world):
    page = desk((PairTask(),), [], live={"policies": ("alpha", "beta")})
    come = held_back(page)
    page.locator("#message-text").fill("Hello the")
    come()
    page.wait_for_function("() => document.activeElement.id === 'message-text'")
    page.keyboard.type("re?")
    page.keyboard.press("Control+Enter")
    page.get_by_text("Two answers are being written.").wait_for()
    assert page.get_by_text("Hello there?").is_visible()


def test_taking_back_twice_takes_two_answers_back(desk, world):
    page = desk((PairTask(),), pairs(4))
    for key in "12":
        send(page, key, "Enter")
    wait_for_judgments(page, world, 2)
    pressed(page, "u", "u")
    page.wait_for_function("() => document.querySelector('[name=pair]:checked')?.dataset.digit === '1'")
    send(page, "Enter")
    assert [row["kind"] for row in wait_for_judgments(page, world, 5)] == ["answer", "answer", "withdrawn", "withdrawn", "answer"]
