"""Pages that make campaigns: a form that starts from a preset, and items uploaded or pasted, at once or later."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from fastapi import APIRouter
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from sqlalchemy import Connection
from starlette.datastructures import FormData, UploadFile

from truing.collect import campaigns
from truing.collect.config import CampaignConfig
from truing.collect.guidelines import versions
from truing.collect.making.form import fields, settings
from truing.collect.new_items import NewItem, read_items
from truing.collect.uploads import upload_route
from truing.collect.web import Form, LeadVisit, Visit, authorize
from truing.errors import TruingError

router = APIRouter()
uploads = APIRouter(route_class=upload_route(authorize))


@router.get("/lead/campaigns/new")
def new(visit: LeadVisit, preset: str = "") -> HTMLResponse:
    """The form, filled in with a preset's settings or with the defaults."""
    start = campaigns.resolved({"name": "-", "preset": preset}, "campaign") if preset else CampaignConfig(name="-")
    return _form_page(visit, fields(start))


@uploads.post("/lead/campaigns")
def make(visit: LeadVisit, form: Form) -> Response:
    """Make the campaign with its items, or show the form again with what is wrong."""
    sent = {name: value for name, value in form.items() if isinstance(value, str)}
    try:
        config, items = settings(sent), _items(form)

        def work(connection: Connection) -> int:
            return campaigns.make(connection, config, items, now=visit.now, by=visit.account["id"])

        return RedirectResponse(f"/lead/campaigns/{visit.database.write(work)}", 303)
    except TruingError as error:
        return _form_page(visit, sent, str(error))


@router.get("/lead/campaigns/{campaign_id}/items")
def items_page(visit: LeadVisit, campaign_id: int) -> HTMLResponse:
    """Items for a campaign that is there."""
    return _items_page(visit, campaign_id)


@uploads.post("/lead/campaigns/{campaign_id}/items")
def add_items(visit: LeadVisit, form: Form, campaign_id: int) -> Response:
    """Add them all, or say what is wrong and add none."""
    try:
        items = _items(form)
        visit.database.write(
            lambda c: campaigns.add_items(c, campaign_id, items, now=visit.now, by=visit.account["id"]),
        )
        return RedirectResponse(f"/lead/campaigns/{campaign_id}", 303)
    except TruingError as error:
        return _items_page(visit, campaign_id, str(form.get("items", "")), str(error))


router.include_router(uploads)


def _items(form: FormData) -> list[NewItem]:
    """What was uploaded and what was pasted, one after the other."""
    file = form.get("file")
    uploaded = read_items(file.file.read(), f"{file.filename}, ") if isinstance(file, UploadFile) else []
    return [*uploaded, *read_items(str(form.get("items", "")).encode(), "pasted items, ")]


def _form_page(visit: Visit, sent: dict[str, Any], problem: str = "") -> HTMLResponse:
    with visit.database.read() as connection:
        guidelines = [version.name for version in versions.all_newest(connection)]
    status = 400 if problem else 200
    context = {"problem": problem, "guidelines": guidelines, "presets": campaigns.presets()}
    return visit.page("making/campaign.html", status, sent=defaultdict(str, sent), **context)


def _items_page(visit: Visit, campaign_id: int, pasted: str = "", problem: str = "") -> HTMLResponse:
    with visit.database.read() as connection:
        row = campaigns.get(connection, campaign_id)
    config = campaigns.config_of(row)
    status = 400 if problem else 200
    return visit.page("making/items.html", status, campaign=row, config=config, pasted=pasted, problem=problem)
