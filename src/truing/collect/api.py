"""The API's core under /api/v1: campaigns, items, judgments, tokens. `exchange.routes` adds imports, exports and webhooks.

Requests carry `Authorization: Bearer TOKEN`; errors are `{"error": {"code", "message"}}`.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request
from pydantic import Field, JsonValue
from sqlalchemy import Connection, RowMapping, select

from truing.collect import campaigns
from truing.collect.accounts import invites, tokens
from truing.collect.accounts.tokens import Scope
from truing.collect.answers import Answer, Answers
from truing.collect.campaigns import Progress
from truing.collect.config import CampaignConfig
from truing.collect.errors import NotAllowedError, ServiceError
from truing.collect.guidelines import versions
from truing.collect.new_items import read_items
from truing.collect.schema import account, item, judgment
from truing.collect.sent import Sent
from truing.collect.uploads import upload_route
from truing.collect.web import Serving, authorize
from truing.records import Record

router = APIRouter(prefix="/api/v1", tags=["core"])
uploads = APIRouter(route_class=upload_route(authorize))

LARGEST_PAGE = 1000
Limit = Annotated[int, Query(ge=1, le=LARGEST_PAGE)]
After = Annotated[int, Query(ge=0, description="Only what comes after this id: `next` of the page before.")]


class NewToken(Sent):
    """A token to be made."""

    name: str = Field(min_length=1, max_length=tokens.LONGEST_NAME)
    scopes: tuple[Scope, ...] = Field(min_length=1)


class TokenView(Record):
    """A token. `token` is the secret itself, shown only when it is made."""

    id: int
    name: str
    scopes: tuple[str, ...]
    token: str | None = None


class NewInvite(Sent):
    """An invitation to be made."""

    role: Literal["rater", "lead", "admin"] = "rater"


class InviteView(Record):
    """An invitation's link, shown only when it is made."""

    link: str


class NewGuideline(Sent):
    """A guideline, or its next version."""

    name: str = Field(min_length=1, max_length=200)
    text: str = Field(min_length=1, max_length=500_000)
    note: str = Field(default="", max_length=2000)
    after: int = Field(default=0, ge=0)
    """The version that it follows; 0 = a new guideline."""


class GuidelineMade(Record):
    """A version that was published."""

    guideline_hash: str
    version: int


class CampaignMade(Record):
    """A campaign with all its settings, and how far it is."""

    id: int
    status: Literal["open", "paused", "closed"]
    config: CampaignConfig
    progress: Progress


class NewStatus(Sent):
    """What a campaign is to be."""

    status: Literal["open", "paused", "closed"]


class ItemsAdded(Record):
    """The ids of items that were added, in the order that they were sent."""

    ids: tuple[int, ...]


class ItemView(Record):
    """An item, with the policies behind it."""

    id: int
    external_id: str
    purpose: Literal["task", "gold", "calibration"]
    prompt: dict[str, JsonValue]
    responses: tuple[str, ...]
    policies: tuple[str, ...]
    gold: tuple[Answer, ...] | None
    source: str
    group: str
    strategy: str
    propensity: float | None


class ItemPage(Record):
    """Items by id; `next` = where the page after begins, None on the last."""

    items: tuple[ItemView, ...]
    next: int | None


class JudgmentView(Record):
    """One revision of one rater's answer, in stored order. The rater appears by pseudonym only."""

    id: int
    item: str
    rater: str
    revision: int
    is_current: bool
    kind: Literal["answer", "skip", "withdrawn"]
    purpose: Literal["task", "gold", "repeat", "calibration"]
    answers: tuple[Answer, ...]
    screen_order: tuple[int, ...]
    flags: tuple[str, ...]
    clause: str
    skip_reason: str
    guideline_hash: str
    active_s: float | None
    is_surplus: bool
    judged_at: float


class JudgmentPage(Record):
    """Judgments by id; `next` = where the page after begins, None on the last."""

    judgments: tuple[JudgmentView, ...]
    next: int | None


@router.post("/campaigns", status_code=201)
def create_campaign(request: Request, service: Serving, settings: dict[str, JsonValue]) -> CampaignMade:
    """Make a campaign; the body holds the settings that depart from the defaults, or from the preset it names."""
    by = authorize(request, "campaigns")["id"]
    config = _valid(settings)

    def work(connection: Connection) -> CampaignMade:
        campaign_id = campaigns.create(connection, config, now=service.clock(), by=by)
        return _campaign(connection, campaign_id)

    return service.database.write(work)


@router.get("/campaigns/{campaign_id}")
def see_campaign(request: Request, service: Serving, campaign_id: int) -> CampaignMade:
    """A campaign's settings and how far it is."""
    authorize(request, "read")
    with service.database.read() as connection:
        return _campaign(connection, campaign_id)


@router.post("/campaigns/{campaign_id}/status")
def set_status(request: Request, service: Serving, campaign_id: int, new: NewStatus) -> CampaignMade:
    """Pause, resume or close a campaign."""
    by = authorize(request, "campaigns")["id"]

    def work(connection: Connection) -> CampaignMade:
        campaigns.set_status(connection, campaign_id, new.status, now=service.clock(), by=by)
        return _campaign(connection, campaign_id)

    return service.database.write(work)


@uploads.post(
    "/campaigns/{campaign_id}/items",
    status_code=201,
    openapi_extra={"requestBody": {"content": {"application/x-ndjson": {"schema": {"type": "string"}}}, "required": True}},
)
async def add_items(request: Request, campaign_id: int) -> ItemsAdded:
    """Add items: one JSON object a line, a plain line a prompt. All are added, or none."""
    from fastapi.concurrency import run_in_threadpool

    by = (await run_in_threadpool(authorize, request, "campaigns"))["id"]
    return await run_in_threadpool(_add_items, request, campaign_id, by, await request.body())


@router.get("/campaigns/{campaign_id}/items")
def list_items(request: Request, service: Serving, campaign_id: int, after: After = 0, limit: Limit = 200) -> ItemPage:
    """A campaign's items."""
    authorize(request, "read")
    query = select(item).where(item.c.campaign_id == campaign_id, item.c.id > after).order_by(item.c.id).limit(limit)
    with service.database.read() as connection:
        campaigns.get(connection, campaign_id)
        rows = list(connection.execute(query).mappings())
    return ItemPage(items=tuple(_item(row) for row in rows), next=_next(rows, limit))


@router.get("/campaigns/{campaign_id}/judgments")
def list_judgments(
    request: Request, service: Serving, campaign_id: int, after: After = 0, limit: Limit = 200, current: bool = True
) -> JudgmentPage:
    """A campaign's judgments; with `current=false` also the revisions that later ones took the place of."""
    authorize(request, "read")
    query = (
        select(judgment, account.c.pseudonym, item.c.external_id)
        .join(account, account.c.id == judgment.c.rater_id)
        .join(item, item.c.id == judgment.c.item_id)
        .where(judgment.c.campaign_id == campaign_id, judgment.c.id > after)
        .order_by(judgment.c.id)
        .limit(limit)
    )
    with service.database.read() as connection:
        campaigns.get(connection, campaign_id)
        rows = list(connection.execute(query.where(judgment.c.is_current) if current else query).mappings())
    return JudgmentPage(judgments=tuple(_judgment(row) for row in rows), next=_next(rows, limit))


@router.post("/guidelines", status_code=201)
def publish_guideline(request: Request, service: Serving, new: NewGuideline) -> GuidelineMade:
    """Publish a guideline, or its next version."""
    by = authorize(request, "campaigns")["id"]
    made = service.database.write(
        lambda c: versions.publish(c, new.name, new.text, now=service.clock(), by=by, change_note=new.note, after=new.after)
    )
    return GuidelineMade(guideline_hash=made.guideline.guideline_hash, version=made.guideline.version)


@router.post("/tokens", status_code=201)
def create_token(request: Request, service: Serving, new: NewToken) -> TokenView:
    """Make a token for the person who asks."""
    owner = authorize(request, "people")
    token_id, secret = service.database.write(
        lambda connection: tokens.create(connection, owner, new.name, new.scopes, now=service.clock())
    )
    return TokenView(id=token_id, name=new.name, scopes=tuple(sorted(set(new.scopes))), token=secret)


@router.get("/tokens")
def list_tokens(request: Request, service: Serving) -> list[TokenView]:
    """One's own tokens in use."""
    owner = authorize(request, "people")
    with service.database.read() as connection:
        rows = tokens.listed(connection, owner["id"])
    return [TokenView(id=row["id"], name=row["name"], scopes=tuple(row["scopes"])) for row in rows]


@router.delete("/tokens/{token_id}", status_code=204)
def revoke_token(request: Request, service: Serving, token_id: int) -> None:
    """End a token."""
    owner = authorize(request, "people")
    service.database.write(lambda connection: tokens.revoke(connection, token_id, owner, now=service.clock()))


@router.post("/invites", status_code=201)
def create_invite(request: Request, service: Serving, new: NewInvite) -> InviteView:
    """A link that makes one account."""
    by = authorize(request, "people")
    if new.role != "rater" and by["role"] != "admin":
        raise NotAllowedError("only an administrator invites leads and administrators")
    secret = service.database.write(
        lambda connection: invites.create(connection, new.role, service.config, now=service.clock(), by=by["id"])
    )
    return InviteView(link=f"{service.config.public_url}/invite/{secret}")


router.include_router(uploads)


def _valid(settings: dict[str, Any]) -> CampaignConfig:
    from truing.errors import TruingError

    try:
        return campaigns.resolved(settings, "campaign")
    except ServiceError:
        raise
    except TruingError as error:
        raise ServiceError(str(error)) from None


def _add_items(request: Request, campaign_id: int, by: int, body: bytes) -> ItemsAdded:
    service = request.app.state.service
    rows = read_items(body)
    ids = service.database.write(
        lambda connection: campaigns.add_items(connection, campaign_id, rows, now=service.clock(), by=by)
    )
    return ItemsAdded(ids=tuple(ids))


def _campaign(connection: Connection, campaign_id: int) -> CampaignMade:
    row = campaigns.get(connection, campaign_id)
    return CampaignMade(
        id=row["id"],
        status=row["status"],
        config=campaigns.config_of(row),
        progress=campaigns.progress(connection, campaign_id),
    )


def _item(row: RowMapping) -> ItemView:
    names = ("id", "external_id", "purpose", "prompt", "responses", "policies", "source", "strategy", "propensity")
    gold = None if row["gold"] is None else Answers.validate_python(row["gold"])
    return ItemView.model_validate({**{name: row[name] for name in names}, "group": row["item_group"], "gold": gold})


def _judgment(row: RowMapping) -> JudgmentView:
    same = {name: row[name] for name in JudgmentView.model_fields if name not in {"item", "rater"}}
    return JudgmentView.model_validate({**same, "item": row["external_id"], "rater": row["pseudonym"]})


def _next(rows: list[RowMapping], limit: int) -> int | None:
    return int(rows[-1]["id"]) if len(rows) == limit else None
