"""The addresses of the rating screen. A page comes once; after it, items come as parts and answers go as JSON."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any

from fastapi import APIRouter, Query
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response
from markupsafe import Markup
from pydantic import Field, JsonValue
from sqlalchemy import Connection, RowMapping

from truing.collect import campaigns, judgments, leases
from truing.collect.accounts import own_settings
from truing.collect.chat import conversations
from truing.collect.chat.conversations import Comparing, Composing, Waiting
from truing.collect.chat.routes import part as chat_part
from truing.collect.errors import ConflictError, NotAllowedError, ServiceError
from truing.collect.judgments import Acknowledgement, Submission
from truing.collect.leases import Lease
from truing.collect.onboarding.admission import OnboardingError
from truing.collect.people.limits import BLUR
from truing.collect.screen import items
from truing.collect.screen.keys import ACTIONS, SETTING, ScreenSettings, from_form, key_label, settings_of
from truing.collect.screen.view import TaskView, words_of
from truing.collect.sent import Sent
from truing.collect.web import Form, Visit, Visitor

router = APIRouter(prefix="/rate", include_in_schema=False)

SKIP_REASONS = ("I do not know enough about this", "Not in a language I read", "Too upsetting", "Shown wrongly or cut off")
MOST_DRAFT_FIELDS = 200


class Undo(Sent):
    """Which answer is to be taken back. The key is drawn by the browser, once for this undo."""

    lease_id: str = Field(max_length=40)
    idempotency_key: str = Field(min_length=8, max_length=100)


class DraftContent(Sent):
    """The fields of an unfinished task by name, as the screen has them, and the seconds spent so far."""

    fields: dict[str, JsonValue] = Field(max_length=MOST_DRAFT_FIELDS)
    active_s: float = Field(ge=0.0, le=86_400.0)
    saved_at: float = Field(ge=0.0)


@router.get("/settings")
def settings_page(visit: Visitor, saved: bool = False) -> HTMLResponse:
    """A rater's keys."""
    return _settings_page(visit, settings_of(visit.account["settings"]), saved=saved)


@router.post("/settings")
def save_settings(visit: Visitor, form: Form) -> Response:
    """Keep a rater's keys; what cannot be is said on the page."""
    try:
        chosen = from_form({name: str(value) for name, value in form.items()})
    except ServiceError as error:
        return _settings_page(visit, settings_of(visit.account["settings"]), error=str(error))
    kept = chosen.model_dump(mode="json")
    visit.database.write(lambda c: own_settings.change(c, visit.account["id"], {SETTING: kept}))
    return RedirectResponse("/rate/settings?saved=1", status_code=303)


@router.get("/{campaign_id}")
async def rating_page(visit: Visitor, campaign_id: int) -> HTMLResponse:
    """The screen with the rater's next item. Raises OnboardingError where something else comes first."""
    row = await run_in_threadpool(_campaign, visit, campaign_id)
    content = await _next_part(visit, campaign_id, ())
    settings = settings_of(visit.account["settings"])
    return visit.page(
        "screen/rate.html",
        campaign={"id": row["id"], "name": row["name"]},
        rater=visit.account["pseudonym"],
        has_guideline=row["guideline_id"] is not None,
        content=Markup(content),  # noqa: S704 - a template made it
        actions=ACTIONS,
        keys=settings.key_of,
        key_label=key_label,
        settings={**settings.model_dump(mode="json"), "keys": settings.key_of},
    )


def _campaign(visit: Visit, campaign_id: int) -> RowMapping:
    with visit.database.read() as connection:
        return campaigns.get(connection, campaign_id)


@router.get("/{campaign_id}/next")
async def next_part(
    visit: Visitor, campaign_id: int, holding: Annotated[tuple[str, ...], Query(max_length=20)] = ()
) -> HTMLResponse:
    """The next item's part of the page; `holding` are the leases that the tab has at hand."""
    try:
        return HTMLResponse(await _next_part(visit, campaign_id, holding))
    except OnboardingError as error:
        return HTMLResponse(_nothing(visit, "Something comes first", str(error), (f"/campaigns/{campaign_id}/start", "Go on")))


@router.get("/{campaign_id}/guideline")
def guideline_part(visit: Visitor, campaign_id: int) -> HTMLResponse:
    """The guideline beside the item, changes marked."""
    with visit.database.read() as connection:
        panel = items.guideline_panel(connection, campaign_id, visit.account["id"])
    return HTMLResponse(visit.render("screen/guideline.html", panel=panel))


@router.get("/task/{lease_id}")
def task_part(visit: Visitor, lease_id: str) -> HTMLResponse:
    """An item in the rater's hands, once more."""
    with visit.database.read() as connection:
        view = items.task(connection, lease_id, visit.account["id"])
    return HTMLResponse(_task_part(visit, view))


@router.get("/task/{lease_id}/difference")
def difference_part(visit: Visitor, lease_id: str) -> HTMLResponse:
    """Both answers with what differs marked."""
    with visit.database.read() as connection:
        sides = items.difference(connection, lease_id, visit.account["id"])
    return HTMLResponse(Markup("<div>{}</div><div>{}</div>").format(*sides))


@router.get("/task/{lease_id}/text")
def response_text(visit: Visitor, lease_id: str, place: int) -> PlainTextResponse:
    """An answer as it was written, to start a rewrite from."""
    with visit.database.read() as connection:
        return PlainTextResponse(items.response_text(connection, lease_id, visit.account["id"], place))


@router.put("/task/{lease_id}/draft", status_code=204)
async def save_draft(visit: Visitor, lease_id: str, draft: DraftContent) -> None:
    """Keep unfinished work."""
    content = draft.model_dump(mode="json")
    await visit.database.written(lambda c: judgments.save_draft(c, visit.account["id"], lease_id, content, now=visit.now))


@router.post("/submit")
async def submit(visit: Visitor, submission: Submission) -> Acknowledgement:
    """Keep an answer or a skip. Answered only once it is on disk."""
    return await visit.database.written(lambda c: judgments.submit(c, visit.account["id"], submission, now=visit.now))


@router.post("/undo")
async def undo(visit: Visitor, sent: Undo) -> Acknowledgement:
    """Take an answer back."""
    rater_id = visit.account["id"]
    return await visit.database.written(lambda c: judgments.undo(c, rater_id, sent.lease_id, sent.idempotency_key, now=visit.now))


async def _next_part(visit: Visit, campaign_id: int, holding: tuple[str, ...]) -> str:
    rater_id = visit.account["id"]

    def work(connection: Connection) -> tuple[Lease | Composing | Waiting | None, RowMapping]:
        now, rng = visit.now, visit.rng
        row = campaigns.get(connection, campaign_id)
        config = campaigns.config_of(row)
        if config.live is not None:
            at = conversations.state(connection, campaign_id, rater_id, now=now, rng=rng)
            if at is not None:
                return (leases.get(connection, at.lease_id) if isinstance(at, Comparing) else at), row
        return leases.next_lease(connection, row, config, rater_id, now=now, rng=rng, holding=holding), row

    try:
        found, row = await visit.database.written(work)
    except OnboardingError:
        raise
    except (ConflictError, NotAllowedError) as error:
        return _nothing(visit, "Nothing is handed out just now", str(error))
    if found is None:
        return await run_in_threadpool(_no_more, visit, campaign_id)
    return await run_in_threadpool(_shown, visit, found, row)


def _no_more(visit: Visit, campaign_id: int) -> str:
    with visit.database.read() as connection:
        is_empty = campaigns.is_empty(connection, campaign_id)
    if is_empty:
        return _nothing(visit, "Nothing to rate yet", "No item of this campaign is ready so far. Look again later.")
    return _nothing(visit, "That was all for you", "Every item of this campaign that you can rate has been rated. Thank you.")


def _shown(visit: Visit, found: Lease | Composing | Waiting, row: RowMapping) -> str:
    if not isinstance(found, Lease):
        return chat_part(visit, found)
    with visit.database.read() as connection:
        view = items.view(connection, found, row)
    return _task_part(visit, view)


def _task_part(visit: Visit, view: TaskView) -> str:
    settings = settings_of(visit.account["settings"])
    is_veiled = view.is_veiled and visit.account["settings"].get(BLUR, True)
    shown = replace(view, is_veiled=is_veiled)
    context = {"keys": settings.key_of, "key_label": key_label, "words_of": words_of, "skip_reasons": SKIP_REASONS}
    return visit.render("screen/task.html", view=shown, **context)


def _nothing(visit: Visit, heading: str, text: str, onward: tuple[str, str] | None = None) -> str:
    return visit.render("screen/nothing.html", heading=heading, text=text, onward=onward)


def _settings_page(visit: Visit, settings: ScreenSettings, **context: Any) -> HTMLResponse:
    said = {"error": "", "saved": False, **context}
    return visit.page("screen/settings.html", actions=ACTIONS, keys=settings.key_of, settings=settings, **said)
