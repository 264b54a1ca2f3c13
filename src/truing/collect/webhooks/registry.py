"""Who hears of what: webhooks made, listed and ended."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, RowMapping, func, insert, select, update

from truing.collect import audit
from truing.collect.errors import NotFoundError, ServiceError
from truing.collect.schema import event, webhook, webhook_delivery
from truing.collect.webhooks.addresses import ForbiddenAddressError, check_url
from truing.collect.webhooks.signing import derived_secret
from truing.records import content_hash

LATEST = 100
REMOVED = "the webhook was removed"


def create(
    connection: Connection,
    url: str,
    actions: Sequence[str],
    service_key: bytes,
    *,
    draw: str,
    now: float,
    by: int | None = None,
) -> tuple[int, str]:
    """A new webhook for what happens from now on. Returns its id and its secret, which is nowhere stored.

    The same `draw` gives the same webhook: a request that is sent again makes no second one. Raises ServiceError for a URL that
    cannot be right; where its host lies is checked again at every delivery.
    """
    try:
        check_url(url)
    except ForbiddenAddressError as error:
        raise ServiceError(str(error)) from None
    salt = content_hash(draw)
    known = connection.scalar(select(webhook.c.id).where(webhook.c.salt == salt))
    if known is not None:
        return known, derived_secret(service_key, salt)
    newest = connection.scalar(select(func.max(event.c.id))) or 0
    values = {"url": url, "actions": list(actions), "salt": salt, "last_event_id": newest, "created_by": by, "created_at": now}
    webhook_id = connection.scalar(insert(webhook).values(**values).returning(webhook.c.id))
    assert webhook_id is not None
    audit.record(connection, "webhook.created", f"webhook:{webhook_id}", now=now, by=by)
    return webhook_id, derived_secret(service_key, salt)


def listed(connection: Connection) -> list[RowMapping]:
    """Webhooks in use, oldest first."""
    return list(connection.execute(select(webhook).where(webhook.c.disabled_at.is_(None)).order_by(webhook.c.id)).mappings())


def remove(connection: Connection, webhook_id: int, *, now: float, by: int | None = None) -> None:
    """Post nothing there any more; what was on its way is given up. Raises NotFoundError."""
    ended = update(webhook).where(webhook.c.id == webhook_id, webhook.c.disabled_at.is_(None)).values(disabled_at=now)
    if not connection.execute(ended).rowcount:
        raise NotFoundError(f"there is no webhook {webhook_id}")
    pending = update(webhook_delivery).where(
        webhook_delivery.c.webhook_id == webhook_id, webhook_delivery.c.next_attempt_at.is_not(None)
    )
    connection.execute(pending.values(next_attempt_at=None, last_error=REMOVED))
    audit.record(connection, "webhook.removed", f"webhook:{webhook_id}", now=now, by=by)


def deliveries(connection: Connection, webhook_id: int) -> list[RowMapping]:
    """The latest deliveries, newest first."""
    rows = select(webhook_delivery).where(webhook_delivery.c.webhook_id == webhook_id)
    return list(connection.execute(rows.order_by(webhook_delivery.c.id.desc()).limit(LATEST)).mappings())
