"""What raters are shown. Blinding is here and nowhere else: the query takes the prompt's messages and the responses' texts, so that
nothing built from it can tell who wrote what, what the item is for, or how it was chosen.
"""

from __future__ import annotations

from pydantic import JsonValue
from sqlalchemy import Connection, select

from truing.collect import campaigns, judgments
from truing.collect.config import Task
from truing.collect.leases import Lease
from truing.collect.schema import guideline, item
from truing.records import Message, Record


class RaterView(Record):
    """One item as its rater sees it. `responses[i]` stands at place i of the screen."""

    lease_id: str
    campaign: str
    tasks: tuple[Task, ...]
    flags: tuple[str, ...]
    messages: tuple[Message, ...]
    responses: tuple[str, ...]
    guideline_hash: str
    draft: dict[str, JsonValue] | None
    expires_at: float


def rater_view(connection: Connection, lease: Lease) -> RaterView:
    """The view of a leased item."""
    row = campaigns.get(connection, lease.campaign_id)
    config = campaigns.config_of(row)
    prompt, responses = connection.execute(select(item.c.prompt, item.c.responses).where(item.c.id == lease.item_id)).one()
    shown = select(guideline.c.guideline_hash).where(guideline.c.id == row["guideline_id"])
    return RaterView(
        lease_id=lease.lease_id,
        campaign=config.name,
        tasks=config.tasks,
        flags=config.flags,
        messages=tuple(Message.model_validate(message) for message in prompt["messages"]),
        responses=tuple(responses[index] for index in lease.screen_order),
        guideline_hash=connection.scalar(shown) or "",
        draft=judgments.read_draft(connection, lease.lease_id),
        expires_at=lease.expires_at,
    )
