"""The audit trail: who did what, when. Rows of `event` are only ever added."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import JsonValue
from sqlalchemy import Connection, insert

from truing.collect.schema import event


def record(
    connection: Connection,
    action: str,
    subject: str,
    *,
    now: float,
    by: int | None = None,
    detail: Mapping[str, JsonValue] | None = None,
) -> None:
    """Note an action ("campaign.paused") on a subject ("campaign:3"). `detail` holds no secret and no text of a rater."""
    connection.execute(insert(event).values(at=now, account_id=by, action=action, subject=subject, detail=dict(detail or {})))
