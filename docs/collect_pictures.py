"""Take the guides' pictures of the collection service, filled with simulated content: docs/images/rating.png, rating-dark.png,
dashboard.png and campaign-form.png.

python -m docs.collect_pictures      (from the repository's root; needs the extra `dev` and a Chromium)
"""

from __future__ import annotations

import io
import random
import tempfile
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, Page, ViewportSize
from tests import chromium
from tests.collect.people_world import FIRST, SECOND, TIE, add_account, add_campaign, add_items, answer, take
from tests.collect.screen.serving import COOKIE, Server, service, session_of

from truing.collect import campaigns
from truing.collect.config import CritiqueTask, PairTask, RewriteTask
from truing.collect.database import Database, open_database
from truing.collect.guidelines import versions
from truing.collect.new_items import NewItem
from truing.records import Message, Prompt

IMAGES = Path(__file__).parent / "images"
NOW = 1_781_524_800.0
"""15 June 2026, 12:00 UTC."""
DAY_S = 86_400.0
WIDE, FORM, BOARD = (ViewportSize(width=w, height=h) for w, h in ((1280, 800), (1160, 1240), (1160, 1580)))

GUIDELINE = """Read the prompt and both answers to the end before you choose.

## Truth outweighs style {#truth}

A false statement that matters makes an answer the worse one, however well it reads.

## Length {#length}

Longer is not better. Of two equally good answers prefer the shorter.

## When unsure {#unsure}

Use the tie where neither is better.
"""
TURNS = (
    ("user", "How does Rust do without a garbage collector?"),
    ("assistant", "It knows at compile time when each value is last used."),
    ("user", "Explain ownership to someone who knows Python."),
)
RIGHT = """A value in Rust has **one owner**. When the owner goes out of scope, the value is dropped, so no collector is needed.

- *Moving* hands ownership over; the old name can no longer be used.
- *Borrowing* lends a value: many readers, or one writer, never both.

```rust
let a = String::from("x");
let b = a; // a is moved
```
"""
WRONG = """Rust keeps track of who owns a value, and frees it when its owner leaves scope.

| term | what happens |
|---|---|
| move | ownership passes on |
| borrow | a reference, for a while |

A value can have several owners at once, which is how data races are prevented. See [the book](https://doc.rust-lang.org/book/).
"""


def main(images: Path = IMAGES) -> None:
    """Fill a service and photograph it."""
    with tempfile.TemporaryDirectory() as folder, chromium.running() as browser:
        database = open_database(Path(folder) / "collect.sqlite")
        rng = random.Random(4)
        database.write(lambda c: versions.publish(c, "helpfulness", GUIDELINE, now=NOW - 20 * DAY_S))
        rater, lead = add_account(database, _pseudonym(rng), is_simulated=True), add_account(database, "lead-1", "lead")
        rated, worked = _campaign_to_rate(database, rater), _campaign_at_work(database, rng)
        with Server(service(database, Path(folder), clock=lambda: NOW, rng=random.Random(2))) as url:
            page = _open(browser, url, session_of(database, rater, NOW), f"/rate/{rated}", WIDE)
            for key in ("2" if "one owner" in page.locator(".pane").first.inner_text() else "6", "g"):
                page.keyboard.press(key)
            page.locator(".clause-text").first.wait_for()
            _photograph(page, images / "rating.png")
            page.emulate_media(color_scheme="dark")
            _photograph(page, images / "rating-dark.png")
            of_lead = session_of(database, lead, NOW)
            _photograph(_open(browser, url, of_lead, f"/lead/campaigns/{worked}", BOARD), images / "dashboard.png")
            page = _open(browser, url, of_lead, "/lead/campaigns/new?preset=helpsteer3", FORM)
            page.get_by_label("Name", exact=True).fill("helpfulness, July")
            page.get_by_label("Guideline").select_option("helpfulness")
            _photograph(page, images / "campaign-form.png")
        database.close()


def _photograph(page: Page, path: Path) -> None:
    """What is in view, in 256 colours: a third of the size."""
    shot = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    shot.quantize(256, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE).save(path, optimize=True)


def _open(browser: Browser, url: str, session: str, address: str, viewport: ViewportSize) -> Page:
    context = browser.new_context(base_url=url, viewport=viewport, reduced_motion="reduce")
    context.add_cookies([{"name": COOKIE, "value": session, "url": url}])
    page = context.new_page()
    page.goto(address)
    return page


def _campaign_to_rate(database: Database, rater: int) -> int:
    tasks = (PairTask(), CritiqueTask(), RewriteTask())
    campaign = add_campaign(database, "rust", tasks=tasks, guideline="helpfulness")
    prompt = Prompt.from_messages([Message(role=role, content=said) for role, said in TURNS])
    new = NewItem(prompt=prompt, responses=(RIGHT, WRONG))
    database.write(lambda c: campaigns.add_items(c, campaign, [new], now=NOW))
    _confirm(database, rater)
    return campaign


def _campaign_at_work(database: Database, rng: random.Random) -> int:
    """Eight simulated raters of unequal care, two weeks of a few items a day."""
    pay = {"currency": "EUR", "hourly": "18", "per_item": "0.05"}
    campaign = add_campaign(database, "helpfulness, June", guideline="helpfulness", overlap=3, gold_share=0.12, pay=pay)
    add_items(database, campaign, 200)
    add_items(database, campaign, 60, purpose="gold")
    cares = (0.92, 0.9, 0.88, 0.86, 0.84, 0.82, 0.78, 0.55)
    people = [(add_account(database, _pseudonym(rng), is_simulated=True), care) for care in cares]
    for person, _ in people:
        _confirm(database, person)
    for day in range(13, -1, -1):
        for person, care in people:
            at = NOW - day * DAY_S - rng.uniform(0.5, 4.0) * 3600
            for _ in range(rng.randrange(2, 7)):
                at += rng.uniform(40, 200)
                held = take(database, campaign, person, now=at, seed=rng.randrange(10**6))
                seconds = rng.uniform(25, 90)
                stored = rng.choices((FIRST, SECOND, TIE), (care, 0.94 - 0.94 * care, 0.06))[0]
                answer(database, person, held, stored, now=at + seconds, active_s=seconds)
    for person, _ in people[:3]:
        take(database, campaign, person, now=NOW - rng.uniform(60, 600), seed=1)
    return campaign


def _confirm(database: Database, person: int) -> None:
    database.write(lambda c: versions.confirm(c, person, 1, now=NOW - 19 * DAY_S))


def _pseudonym(rng: random.Random) -> str:
    return f"r-{rng.getrandbits(40):010x}"


if __name__ == "__main__":
    main()
