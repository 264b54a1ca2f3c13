"""What a person chose for themselves, kept with their account."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import JsonValue
from sqlalchemy import Connection, select, update

from truing.collect.schema import account


def change(connection: Connection, account_id: int, chosen: Mapping[str, JsonValue]) -> None:
    """Set some of a person's settings. The others stay as they are now, not as they were when a page was read."""
    present = connection.scalar(select(account.c.settings).where(account.c.id == account_id).with_for_update()) or {}
    connection.execute(update(account).where(account.c.id == account_id).values(settings={**present, **chosen}))
