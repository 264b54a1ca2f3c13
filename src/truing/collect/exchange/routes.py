"""The API of exchange: comparisons and files in, exports out, webhooks. Everything under /api/v1, by token.

| scope | may |
|---|---|
| read | see campaigns, batches |
| campaigns | add comparisons and import files |
| export | freeze, see and fetch exports |
| webhooks | make, see and remove webhooks |

A POST with an `Idempotency-Key` that was seen gets the reply it got then.
"""

from __future__ import annotations

import secrets
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import FileResponse
from sqlalchemy import Connection, RowMapping, func, select

from truing.collect import campaigns, idempotency
from truing.collect.api_records import (
    BatchView,
    CampaignView,
    DeliveryView,
    ExportView,
    ImportResult,
    NewComparisons,
    NewExport,
    NewWebhook,
    WebhookView,
)
from truing.collect.config import ServiceConfig
from truing.collect.database import Database
from truing.collect.errors import ConflictError, NotFoundError, ServiceError
from truing.collect.exchange import exports
from truing.collect.exchange.config import FieldNames
from truing.collect.exchange.formats import read_judged
from truing.collect.exchange.importing import BATCH, add_comparisons, import_judged
from truing.collect.exchange.worker import Worker
from truing.collect.schema import guideline, item, slot
from truing.collect.uploads import upload_route
from truing.collect.webhooks import registry
from truing.config import validate
from truing.data.files import SUFFIXES
from truing.errors import TruingError
from truing.records import Record
from truing.store.artifacts import MANIFEST, read_artifact

Scope = Literal["read", "campaigns", "export", "webhooks"]


@dataclass(frozen=True)
class Exchange:
    """What the routes work with."""

    database: Database
    authorize: Callable[[Request, Scope], int]
    """The account behind a request's token. Raises NotSignedInError, NotAllowedError where the token lacks the scope."""
    worker: Worker
    folder: Path
    """Where exports are written."""
    service_key: bytes
    clock: Callable[[], float]
    config: ServiceConfig


def make_router(exchange: Exchange) -> APIRouter:
    """Every route of exchange."""
    router = APIRouter(prefix="/api/v1", tags=["exchange"])
    _add_campaign_routes(router, exchange)
    uploads = APIRouter(route_class=upload_route(exchange.authorize))
    _add_uploads(uploads, exchange)
    router.include_router(uploads)
    _add_export_routes(router, exchange)
    _add_webhook_routes(router, exchange)
    return router


def _add_campaign_routes(router: APIRouter, exchange: Exchange) -> None:
    @router.get("/campaigns")
    def list_campaigns(request: Request) -> list[CampaignView]:
        """Every campaign and how far it is, newest first."""
        exchange.authorize(request, "read")
        with exchange.database.read() as connection:
            return [_campaign_view(connection, row) for row in campaigns.listed(connection)]

    @router.get("/campaigns/{campaign_id}/batches/{batch}")
    def see_batch(request: Request, campaign_id: int, batch: str) -> BatchView:
        """How many judgments a batch of comparisons needs, and how many it has."""
        exchange.authorize(request, "read")
        with exchange.database.read() as connection:
            campaigns.get(connection, campaign_id)
            return _batch_view(connection, campaign_id, batch)


def _add_uploads(router: APIRouter, exchange: Exchange) -> None:
    @router.post("/campaigns/{campaign_id}/comparisons", response_model=ImportResult)
    async def add(request: Request, campaign_id: int, new: NewComparisons) -> Response:
        """Have comparisons judged; those whose id the campaign has are left as they are."""

        def work(connection: Connection, account_id: int) -> ImportResult:
            before = _count_items(connection, campaign_id)
            add_comparisons(connection, campaign_id, new.comparisons, batch=new.batch, now=exchange.clock(), by=account_id)
            added = _count_items(connection, campaign_id) - before
            return ImportResult(items=added, present=len({c.comparison_id for c in new.comparisons}) - added)

        return await _once(exchange, request, "campaigns", work)

    @router.post("/campaigns/{campaign_id}/imports")
    async def import_file(
        request: Request,
        campaign_id: int,
        file_name: str,
        format_name: Annotated[str | None, Query(alias="format")] = None,
        judgments: bool = False,
        drop_bad_rows: bool = False,
    ) -> ImportResult:
        """A file of judged answers, as the body. Made again after a failure, it adds what is missing."""
        account_id = await run_in_threadpool(exchange.authorize, request, "campaigns")
        names = {k.removeprefix("field_"): v for k, v in request.query_params.items() if k.startswith("field_")}
        fields = validate(FieldNames, names, "fields")
        suffix = next((s for s in sorted(SUFFIXES, key=len, reverse=True) if file_name.endswith(s)), None)
        if suffix is None:
            raise ServiceError(f"file_name {file_name!r}: use one of {', '.join(SUFFIXES)}")
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / f"upload{suffix}"
            await _receive(request, path, exchange.config.max_upload_bytes)
            skipped: list[str] | None = [] if drop_bad_rows else None

            def work() -> ImportResult:
                rows = read_judged(path, format_name, fields, skipped=skipped)
                added = import_judged(
                    exchange.database, campaign_id, rows, with_judgments=judgments, now=exchange.clock(), by=account_id
                )
                counts = {"items": added.items, "judgments": added.judgments, "present": added.present}
                return ImportResult(**counts, left_out=tuple(_named(m, path, file_name) for m in skipped or []))

            try:
                return await run_in_threadpool(work)
            except ServiceError:
                raise
            except TruingError as error:
                raise ServiceError(_named(str(error), path, file_name)) from None


def _add_export_routes(router: APIRouter, exchange: Exchange) -> None:
    @router.post("/exports", response_model=ExportView, status_code=202)
    async def begin(request: Request, new: NewExport) -> Response:
        """Freeze what the campaigns have now; the set is written in the background."""
        config = exports.ExportConfig(campaigns=new.campaigns, batches=new.batches, pairs=new.pairs)

        def work(connection: Connection, account_id: int) -> ExportView:
            export_id = exports.begin(connection, new.name, config, now=exchange.clock(), by=account_id)
            return _export_view(exports.get(connection, export_id), exchange.folder)

        reply = await _once(exchange, request, "export", work, status=202)
        exchange.worker.wake()
        return reply

    @router.get("/exports")
    def list_exports(request: Request) -> list[ExportView]:
        """Every export, newest first."""
        exchange.authorize(request, "export")
        with exchange.database.read() as connection:
            return [_export_view(row, exchange.folder) for row in exports.listed(connection)]

    @router.get("/exports/{export_id}")
    def see_export(request: Request, export_id: int) -> ExportView:
        """How far an export is, and its files once it is done."""
        exchange.authorize(request, "export")
        with exchange.database.read() as connection:
            return _export_view(exports.get(connection, export_id), exchange.folder)

    @router.get("/exports/{export_id}/files/{path:path}")
    def fetch(request: Request, export_id: int, path: str) -> FileResponse:
        """One file of a finished export."""
        exchange.authorize(request, "export")
        with exchange.database.read() as connection:
            row = exports.get(connection, export_id)
        if row["state"] != "done":
            raise ConflictError(f"export {row['name']!r} is {row['state']}; its files are there once it is done")
        files = [entry.path for entry in _export_view(row, exchange.folder).files]
        if path not in ([MANIFEST, *files] if files else []):
            raise NotFoundError(f"export {row['name']!r} has no file {path!r}")
        return FileResponse(exchange.folder / row["name"] / path, media_type="application/octet-stream")


def _add_webhook_routes(router: APIRouter, exchange: Exchange) -> None:
    @router.post("/webhooks", response_model=WebhookView, status_code=201)
    async def create(request: Request, new: NewWebhook) -> WebhookView:
        """Have events posted to a URL. The secret is in this reply and nowhere else."""
        account_id = await run_in_threadpool(exchange.authorize, request, "webhooks")
        draw = f"{account_id}:{_key(request) or secrets.token_hex(16)}"

        def work(connection: Connection) -> tuple[int, str]:
            return registry.create(
                connection, new.url, new.actions, exchange.service_key, draw=draw, now=exchange.clock(), by=account_id
            )

        webhook_id, secret = await run_in_threadpool(exchange.database.write, work)
        return WebhookView(id=webhook_id, url=new.url, actions=new.actions, secret=secret)

    @router.get("/webhooks")
    def list_webhooks(request: Request) -> list[WebhookView]:
        """Every webhook in use."""
        exchange.authorize(request, "webhooks")
        with exchange.database.read() as connection:
            rows = registry.listed(connection)
        return [WebhookView(id=row["id"], url=row["url"], actions=tuple(row["actions"])) for row in rows]

    @router.get("/webhooks/{webhook_id}/deliveries")
    def list_deliveries(request: Request, webhook_id: int) -> list[DeliveryView]:
        """The latest deliveries, newest first."""
        exchange.authorize(request, "webhooks")
        with exchange.database.read() as connection:
            return [_delivery_view(row) for row in registry.deliveries(connection, webhook_id)]

    @router.delete("/webhooks/{webhook_id}", status_code=204)
    def remove(request: Request, webhook_id: int) -> None:
        """Post nothing there any more."""
        account_id = exchange.authorize(request, "webhooks")
        exchange.database.write(lambda connection: registry.remove(connection, webhook_id, now=exchange.clock(), by=account_id))


async def _once(
    exchange: Exchange, request: Request, scope: Scope, work: Callable[[Connection, int], Record], *, status: int = 200
) -> Response:
    """Do a request's work in one transaction, or give the reply that it got when it was sent before."""
    account_id = await run_in_threadpool(exchange.authorize, request, scope)
    sent = idempotency.fingerprint(request.method, request.url.path, await request.body())
    key = _key(request)

    def write(connection: Connection) -> str:
        return idempotency.once(connection, account_id, key, sent, lambda inner: work(inner, account_id), now=exchange.clock())

    reply = await run_in_threadpool(exchange.database.write, write)
    return Response(reply, status_code=status, media_type="application/json")


def _key(request: Request) -> str:
    key = request.headers.get("Idempotency-Key", "")
    if len(key) > idempotency.LONGEST_KEY:
        raise ServiceError(f"Idempotency-Key: {idempotency.LONGEST_KEY} characters at most")
    return key


async def _receive(request: Request, path: Path, most_bytes: int) -> None:
    received = 0
    with path.open("wb") as file:
        async for part in request.stream():
            received += len(part)
            if received > most_bytes:
                raise ServiceError(f"the file is larger than the {most_bytes >> 20} MiB that are taken; import it in parts")
            file.write(part)


def _named(message: str, path: Path, file_name: str) -> str:
    """What went wrong, under the name that the sender gave the file."""
    return message.replace(str(path), file_name)


def _count_items(connection: Connection, campaign_id: int) -> int:
    return connection.scalar(select(func.count()).select_from(item).where(item.c.campaign_id == campaign_id)) or 0


def _campaign_view(connection: Connection, row: RowMapping) -> CampaignView:
    found = campaigns.progress(connection, row["id"])
    followed = connection.scalar(select(guideline.c.guideline_hash).where(guideline.c.id == row["guideline_id"]))
    return CampaignView(
        id=row["id"],
        name=row["name"],
        status=row["status"],
        guideline_hash=followed or "",
        items=found.items,
        needed=found.needed,
        done=found.done,
    )


def _batch_view(connection: Connection, campaign_id: int, batch: str) -> BatchView:
    ids = select(item.c.id).where(item.c.campaign_id == campaign_id, item.c.meta[BATCH].as_string() == batch)
    states = select(slot.c.state, func.count()).where(slot.c.item_id.in_(ids)).group_by(slot.c.state)
    counts = {str(row[0]): int(row[1]) for row in connection.execute(states)}
    items = connection.scalar(select(func.count()).select_from(ids.subquery())) or 0
    return BatchView(batch=batch, items=items, needed=sum(counts.values()), done=counts.get("done", 0))


def _export_view(row: RowMapping, folder: Path) -> ExportView:
    path = folder / row["name"]
    is_there = row["state"] == "done" and (path / MANIFEST).exists()
    files: Any = read_artifact(path).manifest.files if is_there else ()
    return ExportView(
        id=row["id"],
        name=row["name"],
        state=row["state"],
        campaigns=tuple(row["config"]["campaigns"]),
        set_hash=row["set_hash"],
        error=row["error"],
        files=files,
    )


def _delivery_view(row: RowMapping) -> DeliveryView:
    values = {name: row[name] for name in DeliveryView.model_fields if name != "event"}
    return DeliveryView(event=row["event_id"], **values)
