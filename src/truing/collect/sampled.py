"""Items whose responses a worker samples: complete once the last one is there, tried again where a policy failed."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, Select, func, select, update

from truing.collect import audit, campaigns
from truing.collect.schema import item, reply


@dataclass(frozen=True)
class Failure:
    """Responses that a policy could not write, with what its worker said last."""

    policy: str
    count: int
    error: str


def complete(connection: Connection, reply_id: int) -> None:
    """Where this was an item's last response: the item has its responses from now on, and is handed out."""
    item_id = connection.scalar(select(reply.c.item_id).where(reply.c.id == reply_id))
    if item_id is None:
        return
    # Locked before it is looked whether others are missing: of two workers that bring the last two at once, one waits.
    row = connection.execute(select(item).where(item.c.id == item_id).with_for_update()).mappings().one()
    written = connection.execute(select(reply).where(reply.c.item_id == item_id).order_by(reply.c.place)).mappings().all()
    if row["responses"] or any(one["state"] != "done" for one in written):
        return
    values = {"responses": [one["text"] for one in written], "policies": [one["policy"] for one in written]}
    connection.execute(update(item).where(item.c.id == item_id).values(**values))
    config = campaigns.config_of(campaigns.get(connection, row["campaign_id"]))
    campaigns.open_slots(connection, row["campaign_id"], config, [item_id])


def failures(connection: Connection, campaign_id: int) -> list[Failure]:
    """What could not be written for a campaign's items, by policy."""
    columns = (reply.c.policy, func.count().label("count"), func.max(reply.c.error).label("error"))
    rows = connection.execute(select(*columns).where(reply.c.id.in_(_failed(campaign_id))).group_by(reply.c.policy))
    return [Failure(row.policy, int(row._mapping["count"]), row.error) for row in rows]


def try_again(connection: Connection, campaign_id: int, *, now: float, by: int) -> None:
    """Offer what failed to the workers once more."""
    again = update(reply).where(reply.c.id.in_(_failed(campaign_id))).values(state="waiting", error="", asked_at=now)
    connection.execute(again)
    audit.record(connection, "campaign.resampled", f"campaign:{campaign_id}", now=now, by=by)


def _failed(campaign_id: int) -> Select[tuple[int]]:
    of_item = select(reply.c.id).join(item, item.c.id == reply.c.item_id)
    return of_item.where(item.c.campaign_id == campaign_id, reply.c.state == "failed")
