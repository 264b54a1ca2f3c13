"""Events that somebody asked to hear of, posted until they are taken: the delivery table is the queue.

An event becomes one delivery for each webhook that wants its action. A delivery is tried at once and then after growing pauses;
what answers 2xx has taken it, anything else (a redirect too) has not. A delivery in a process that died is tried again.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import NamedTuple

import httpx
from sqlalchemy import Connection, RowMapping, case, func, insert, select, update

from truing.collect.database import Database
from truing.collect.schema import event, webhook, webhook_delivery
from truing.collect.webhooks.addresses import ForbiddenAddressError, Target, checked_target
from truing.collect.webhooks.signing import DELIVERY_HEADER, HEADER, derived_secret, sign
from truing.records import canonical_json

PAUSES_S = (10.0, 60.0, 300.0, 1800.0, 7200.0, 21_600.0, 43_200.0, 86_400.0)
"""Before the second attempt, the third, and so on; after the last, two days on, a delivery is given up."""
CLAIM_S = 60.0
"""An attempt that has not ended by then was in a process that died."""
SETTLE_S = 2.0
"""Events younger than this wait: with several processes, an earlier number may be committed after a later one."""
TIMEOUT_S = 10.0
BATCH = 50


class Due(NamedTuple):
    """A delivery to attempt now."""

    delivery_id: int
    webhook_id: int
    event_id: int
    url: str
    secret: str
    attempts: int
    body: bytes


Send = Callable[[Target, str, bytes, dict[str, str]], int]
"""(where, URL, body, headers) -> HTTP status."""


def post(target: Target, url: str, body: bytes, headers: dict[str, str]) -> int:
    """Post to the address that was checked, under the host's own name; follow no redirect, use no proxy, read no answer."""
    pinned = httpx.URL(url).copy_with(host=target.address, port=target.port)
    named = {**headers, "Host": httpx.URL(url).netloc.decode()}
    client = httpx.Client(follow_redirects=False, trust_env=False, timeout=TIMEOUT_S)
    with client, client.stream("POST", pinned, content=body, headers=named, extensions={"sni_hostname": target.host}) as answer:
        return answer.status_code


def deliver_due(
    database: Database, service_key: bytes, *, now: float, networks: Sequence[str] = (), send: Send = post, rng: random.Random
) -> int:
    """Queue what happened since the last call, and attempt what is due. Returns how many attempts were made."""
    database.write(lambda connection: fan_out(connection, now=now))
    due = database.write(lambda connection: claim(connection, service_key, now=now))
    for delivery in due:
        status, error = attempt(delivery, now=now, networks=networks, send=send)
        pause_s = _pause_s(delivery.attempts, rng)
        database.write(partial(settle, delivery=delivery, status=status, error=error, pause_s=pause_s, now=now))
    return len(due)


def fan_out(connection: Connection, *, now: float) -> None:
    """A delivery for each webhook and each event that it wants and has not seen."""
    newest = connection.scalar(select(func.max(event.c.id)).where(event.c.at <= now - SETTLE_S)) or 0
    for hook in connection.execute(select(webhook).where(webhook.c.disabled_at.is_(None))).mappings().all():
        seen = hook["last_event_id"]
        if newest <= seen:
            continue
        wanted = select(event.c.id).where(event.c.id > seen, event.c.id <= newest, event.c.action.in_(hook["actions"]))
        rows = [
            {"webhook_id": hook["id"], "event_id": event_id, "attempts": 0, "next_attempt_at": now}
            for event_id in connection.scalars(wanted.order_by(event.c.id))
        ]
        # Another process that was first has moved the mark, or removed the webhook: then nothing is changed here.
        unchanged = (webhook.c.id == hook["id"], webhook.c.last_event_id == seen, webhook.c.disabled_at.is_(None))
        moved = update(webhook).where(*unchanged)
        if connection.execute(moved.values(last_event_id=newest)).rowcount and rows:
            connection.execute(insert(webhook_delivery), rows)


def claim(connection: Connection, service_key: bytes, *, now: float) -> list[Due]:
    """Take deliveries that are due, the longest due first; nobody else takes them for `CLAIM_S`."""
    due = (
        select(webhook_delivery.c.id)
        .join(webhook, webhook.c.id == webhook_delivery.c.webhook_id)
        .where(webhook_delivery.c.next_attempt_at <= now, webhook.c.disabled_at.is_(None))
        .order_by(webhook_delivery.c.next_attempt_at, webhook_delivery.c.id)
        .limit(BATCH)
    )
    taken = update(webhook_delivery).where(webhook_delivery.c.id.in_(due), webhook_delivery.c.next_attempt_at <= now)
    ids = list(connection.scalars(taken.values(next_attempt_at=now + CLAIM_S).returning(webhook_delivery.c.id)))
    rows = (
        select(webhook_delivery.c.id.label("delivery_id"), webhook_delivery.c.attempts, webhook.c.url, webhook.c.salt, event)
        .add_columns(webhook.c.id.label("webhook_id"))
        .join(webhook, webhook.c.id == webhook_delivery.c.webhook_id)
        .join(event, event.c.id == webhook_delivery.c.event_id)
        .where(webhook_delivery.c.id.in_(ids))
        .order_by(webhook_delivery.c.id)
    )
    return [_due(row, service_key) for row in connection.execute(rows).mappings()]


def attempt(delivery: Due, *, now: float, networks: Sequence[str], send: Send) -> tuple[int | None, str]:
    """Post once. Returns the status, and what went wrong (empty = taken)."""
    headers = {
        "Content-Type": "application/json",
        "User-Agent": "truing-webhooks",
        HEADER: sign(delivery.secret, delivery.body, now=now),
        DELIVERY_HEADER: f"{delivery.webhook_id}-{delivery.event_id}",
    }
    try:
        target = checked_target(delivery.url, networks)
        status = send(target, delivery.url, delivery.body, headers)
    except ForbiddenAddressError as error:
        return None, str(error)
    except httpx.HTTPError as error:
        return None, f"{type(error).__name__}: {error}"
    if 200 <= status < 300:
        return status, ""
    return status, "redirects are not followed: give the new URL" if 300 <= status < 400 else f"answered {status}"


def settle(connection: Connection, *, delivery: Due, status: int | None, error: str, pause_s: float | None, now: float) -> None:
    """Write down how an attempt went, and when the next one is (None: it is given up, as where the webhook was removed)."""
    values = {"attempts": delivery.attempts + 1, "last_status": status, "last_error": error[:500]}
    is_pending = webhook_delivery.c.next_attempt_at.is_not(None)
    next_at = None if not error or pause_s is None else case((is_pending, now + pause_s))
    done = {"next_attempt_at": next_at, "delivered_at": None if error else now}
    connection.execute(update(webhook_delivery).where(webhook_delivery.c.id == delivery.delivery_id).values(**values, **done))


def _pause_s(attempts: int, rng: random.Random) -> float | None:
    """Up to a tenth longer than planned, so that what failed together is not tried again together. None after the last."""
    return PAUSES_S[attempts] * rng.uniform(1.0, 1.1) if attempts < len(PAUSES_S) else None


def _due(row: RowMapping, service_key: bytes) -> Due:
    content = {
        "event": row["id"],
        "action": row["action"],
        "subject": row["subject"],
        "at": datetime.fromtimestamp(row["at"], UTC).isoformat(timespec="milliseconds"),
        "detail": row["detail"],
    }
    secret = derived_secret(service_key, row["salt"])
    identity = (row["delivery_id"], row["webhook_id"], row["id"], row["url"])
    return Due(*identity, secret, row["attempts"], canonical_json(content).encode())
