"""Handing out work: a slot is found and taken by one statement, so no two raters ever have the same one.

A rater gets an item once; the blind repeat is the one exception, with the sides swapped. Sides are drawn here, stored with the
lease, and never sent. A lease that ran out, or was released, gives its slot back; should the same rater get the item again,
it is the same lease with the same sides, so an old tab still answers the right thing.
"""

from __future__ import annotations

import random
import secrets
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from sqlalchemy import Connection, RowMapping, and_, bindparam, exists, func, insert, or_, select, update

from truing.collect import audit, campaigns
from truing.collect.config import CampaignConfig
from truing.collect.errors import ConflictError, NotFoundError
from truing.collect.onboarding import admission
from truing.collect.onboarding.steps import Step
from truing.collect.schema import campaign, item, lease, slot
from truing.collect.words import MINUTE_S


@dataclass(frozen=True)
class Lease:
    """An item in a rater's hands until `expires_at`. `screen_order[i]` = index of the response shown at place i."""

    lease_id: str
    campaign_id: int
    item_id: int
    rater_id: int
    slot_id: int | None
    purpose: str
    occasion: int
    screen_order: tuple[int, ...]
    state: str
    leased_at: float
    expires_at: float


def next_lease(
    connection: Connection,
    row: RowMapping,
    config: CampaignConfig,
    rater_id: int,
    *,
    now: float,
    rng: random.Random,
    holding: Collection[str] = (),
) -> Lease | None:
    """What the rater is to do next in a campaign, `row` with its settings; None where there is nothing for them.

    An item they hold already, and that is not among `holding` (what their tab has at hand), comes first. Raises ConflictError
    while the campaign is paused or closed.
    """
    if row["status"] != "open":
        raise ConflictError(f"the campaign is {row['status']}: nothing is handed out")
    campaign_id = row["id"]
    held = _held(connection, campaign_id, rater_id, now)
    waiting = [found for found in held if found.lease_id not in holding]
    if waiting or len(held) >= config.max_held:
        return _renewed(connection, (waiting or held)[0], config, now)
    if admission.admit(connection, row, config, rater_id, now=now) is Step.CALIBRATION:
        return _calibration(connection, campaign_id, rater_id, config, now, rng, holding)
    slot_row = _take_slot(connection, campaign_id, rater_id)
    if slot_row is None:
        return None
    special = _special(connection, campaign_id, rater_id, config, rng)
    if special is None:
        return _lease_slot(connection, slot_row, rater_id, config, now, rng)
    _open_slots(connection, [slot_row["lease_id"]])
    return _insert(connection, special, campaign_id, rater_id, config, now)


def lease_item(connection: Connection, item_id: int, rater_id: int, *, now: float, rng: random.Random) -> Lease:
    """Lease this very item, made a moment ago for this rater. Raises ConflictError where it has no open slot."""
    first = select(slot.c.id).where(slot.c.item_id == item_id, slot.c.state == "open").limit(1).scalar_subquery()
    take = update(slot).where(slot.c.id == first).values(state="leased", lease_id=secrets.token_urlsafe(18))
    row = (
        connection.execute(take.returning(slot.c.id, slot.c.item_id, slot.c.lease_id, slot.c.campaign_id))
        .mappings()
        .one_or_none()
    )
    if row is None:
        raise ConflictError("this item is in somebody else's hands")
    config = campaigns.config_of(campaigns.get(connection, row["campaign_id"]))
    return _lease_slot(connection, row, rater_id, config, now, rng)


_GET = (
    select(lease, campaign.c.name, campaign.c.config, campaign.c.guideline_id)
    .join(campaign, campaign.c.id == lease.c.campaign_id)
    .where(lease.c.id == bindparam("of_lease"))
)
_GET_LOCKED = _GET.with_for_update(of=lease)


def get(connection: Connection, lease_id: str, rater_id: int | None = None) -> Lease:
    """A lease; with `rater_id`, only where it is theirs. Raises NotFoundError."""
    return with_campaign(connection, lease_id, rater_id)[0]


def with_campaign(
    connection: Connection, lease_id: str, rater_id: int | None = None, *, lock: bool = False
) -> tuple[Lease, RowMapping]:
    """The same with its campaign's name, settings and guideline.

    `lock` has other processes wait with the same lease until this transaction ends; SQLite's one writer needs none.
    """
    row = connection.execute(_GET_LOCKED if lock else _GET, {"of_lease": lease_id}).mappings().one_or_none()
    if row is None or rater_id not in {None, row["rater_id"]}:
        raise NotFoundError("this item is not in your hands. Go back to the start page and take the next one.")
    return _lease(row), row


def renew(connection: Connection, lease_id: str, rater_id: int, *, now: float) -> float:
    """The rater is still at work: the lease runs anew. Returns when it ends. A lease that was lost stays lost."""
    found, row = with_campaign(connection, lease_id, rater_id)
    if found.state != "held":
        return found.expires_at
    return _renewed(connection, found, campaigns.config_of(row), now).expires_at


def release(connection: Connection, lease_id: str, *, now: float, by: int | None = None) -> None:
    """Give an item back, for its rater or a lead. What its rater may still send is kept all the same."""
    found = get(connection, lease_id)
    if found.state != "held":
        raise ConflictError("this item is not held any more")
    connection.execute(update(lease).where(lease.c.id == lease_id).values(state="released"))
    _open_slots(connection, [lease_id])
    audit.record(connection, "lease.released", f"lease:{lease_id}", now=now, by=by, detail={"rater": found.rater_id})


def release_all(connection: Connection, rater_id: int, *, now: float, by: int | None = None) -> int:
    """Give back everything a rater holds (they signed out, or were stopped). Returns how many items that was."""
    ids = connection.scalars(select(lease.c.id).where(lease.c.rater_id == rater_id, lease.c.state == "held")).all()
    for lease_id in ids:
        release(connection, lease_id, now=now, by=by)
    return len(ids)


_LATE = (
    select(lease.c.id)
    .where(lease.c.state == "held", lease.c.expires_at < bindparam("now"))
    .limit(1000)
    .with_for_update(skip_locked=True)
)
_EXPIRE = update(lease).where(lease.c.id.in_(_LATE.scalar_subquery())).values(state="released").returning(lease.c.id)


def expire(connection: Connection, *, now: float) -> int:
    """Release every lease that ran out. Returns how many."""
    ids = connection.scalars(_EXPIRE, {"now": now}).all()
    _open_slots(connection, ids)
    return len(ids)


_OWN = update(slot).where(
    slot.c.item_id == bindparam("of_item"), slot.c.lease_id == bindparam("of_lease"), slot.c.state != "open"
)
_CLAIM_OWN = _OWN.values(state=bindparam("new_state")).returning(slot.c.id)
_FREE = (
    select(slot.c.id)
    .where(slot.c.item_id == bindparam("of_item"), slot.c.state == "open")
    .order_by(slot.c.rank)
    .limit(1)
    .with_for_update(skip_locked=True)
)
_CLAIM_FREE = (
    update(slot)
    .where(slot.c.id == _FREE.scalar_subquery())
    .values(state=bindparam("new_state"), lease_id=bindparam("of_lease"))
    .returning(slot.c.id)
)


def claim_slot(connection: Connection, found: Lease, state: str) -> int | None:
    """A slot of the lease's item for it: its own, or, where that was given away, another that is open. None = none is left.

    `state` is what the slot becomes: "done" for an answer, "leased" for one taken back.
    """
    values = {"of_item": found.item_id, "of_lease": found.lease_id, "new_state": state}
    slot_id = connection.scalar(_CLAIM_OWN, values)
    if slot_id is None:
        slot_id = connection.scalar(_CLAIM_FREE, values)
    return int(slot_id) if slot_id is not None else None


def give_up_slot(connection: Connection, lease_id: str) -> None:
    """Open the slot that a lease has, whatever became of it."""
    _open_slots(connection, [lease_id])


_SEEN = exists().where(lease.c.item_id == slot.c.item_id, lease.c.rater_id == bindparam("rater"), lease.c.state != "released")
_FIRST = (
    select(slot.c.id)
    .where(slot.c.campaign_id == bindparam("campaign"), slot.c.state == "open", ~_SEEN)
    .order_by(slot.c.rank, slot.c.id)
    .limit(1)
    .with_for_update(skip_locked=True)
)
_TAKE = (
    update(slot)
    .where(slot.c.id == _FIRST.scalar_subquery())
    .values(state="leased", lease_id=bindparam("new_lease_id"))
    .returning(slot.c.id, slot.c.item_id, slot.c.lease_id, slot.c.campaign_id)
)


def _take_slot(connection: Connection, campaign_id: int, rater_id: int) -> RowMapping | None:
    """Take the first open slot of an item that this rater has not had, under a new lease's id."""
    values = {"campaign": campaign_id, "rater": rater_id, "new_lease_id": secrets.token_urlsafe(18)}
    return connection.execute(_TAKE, values).mappings().one_or_none()


_RESPONSES = func.json_array_length(item.c.responses).label("responses")
_EARLIER = (
    select(_RESPONSES, lease)
    .select_from(item)
    .outerjoin(lease, and_(lease.c.item_id == item.c.id, lease.c.rater_id == bindparam("rater"), lease.c.occasion == 0))
    .where(item.c.id == bindparam("of_item"))
)


def _lease_slot(
    connection: Connection, slot_row: RowMapping, rater_id: int, config: CampaignConfig, now: float, rng: random.Random
) -> Lease:
    """The lease of a slot just taken: the rater's earlier one of that item where there was one, else a new one."""
    earlier = connection.execute(_EARLIER, {"of_item": slot_row["item_id"], "rater": rater_id}).mappings().one()
    if earlier["id"] is None:
        order = drawn_order(earlier["responses"], rng)
        new = _New(slot_row["lease_id"], slot_row["item_id"], slot_row["id"], "task", 0, order)
        return _insert(connection, new, slot_row["campaign_id"], rater_id, config, now)
    connection.execute(update(slot).where(slot.c.id == slot_row["id"]).values(lease_id=earlier["id"]))
    values = {"state": "held", "slot_id": slot_row["id"], "leased_at": now, "expires_at": _end(config, now)}
    connection.execute(update(lease).where(lease.c.id == earlier["id"]).values(**values))
    return get(connection, earlier["id"])


@dataclass(frozen=True)
class _New:
    lease_id: str
    item_id: int
    slot_id: int | None
    purpose: str
    occasion: int
    screen_order: tuple[int, ...]


def _special(connection: Connection, campaign_id: int, rater_id: int, config: CampaignConfig, rng: random.Random) -> _New | None:
    """A gold item or a blind repeat, in the shares that the campaign asks for; None = an ordinary item."""
    draw = rng.random()
    if draw < config.gold_share:
        return _known(connection, campaign_id, rater_id, "gold", rng)
    if draw < config.gold_share + config.repeat_share:
        return _repeat(connection, campaign_id, rater_id, config, rng)
    return None


def _calibration(
    connection: Connection,
    campaign_id: int,
    rater_id: int,
    config: CampaignConfig,
    now: float,
    rng: random.Random,
    holding: Collection[str],
) -> Lease | None:
    """The calibration item that the rater began, or a new one; None where none is left that they have not had.

    One at a time: what comes after it depends on how it is answered.
    """
    mine = and_(lease.c.rater_id == rater_id, lease.c.campaign_id == campaign_id, lease.c.purpose == "calibration")
    begun = connection.scalar(select(lease.c.id).where(mine, lease.c.state.in_(("held", "released"))).limit(1))
    if begun is not None:
        values = {"state": "held", "leased_at": now, "expires_at": _end(config, now)}
        connection.execute(update(lease).where(lease.c.id == begun).values(**values))
        return None if begun in holding else get(connection, begun)
    new = _known(connection, campaign_id, rater_id, "calibration", rng)
    return None if new is None else _insert(connection, new, campaign_id, rater_id, config, now)


def _known(connection: Connection, campaign_id: int, rater_id: int, purpose: str, rng: random.Random) -> _New | None:
    """An item whose answer is known (gold, calibration), and that the rater has not had, nor the item it was made from."""
    had = exists().where(lease.c.item_id == item.c.id, lease.c.rater_id == rater_id)
    known = (item.c.campaign_id == campaign_id, item.c.purpose == purpose)
    unseen = connection.execute(select(item.c.id, item.c.meta).where(*known, ~had).order_by(item.c.id)).all()
    origins = {row.id: row.meta["adjudicated_from"] for row in unseen if "adjudicated_from" in row.meta}
    mine = (lease.c.rater_id == rater_id, lease.c.item_id.in_(set(origins.values())))
    rated = set(connection.scalars(select(lease.c.item_id).where(*mine))) if origins else set()
    ids = [row.id for row in unseen if origins.get(row.id) not in rated]
    if not ids:
        return None
    item_id = rng.choice(ids)
    order = drawn_order(_responses(connection, item_id), rng)
    return _New(secrets.token_urlsafe(18), item_id, None, purpose, 0, order)


def _repeat(connection: Connection, campaign_id: int, rater_id: int, config: CampaignConfig, rng: random.Random) -> _New | None:
    again = lease.alias("again")
    had = exists().where(again.c.item_id == lease.c.item_id, again.c.rater_id == rater_id, again.c.occasion == 1)
    mine = and_(lease.c.rater_id == rater_id, lease.c.campaign_id == campaign_id, lease.c.state == "answered")
    answered = connection.execute(
        select(lease.c.item_id, lease.c.screen_order)
        .where(mine, lease.c.purpose == "task", ~had)
        .order_by(lease.c.leased_at.desc())
        .offset(config.repeat_gap)
    ).all()
    if not answered:
        return None
    item_id, order = rng.choice(answered)
    return _New(secrets.token_urlsafe(18), item_id, None, "repeat", 1, tuple(reversed(order)))


def drawn_order(count: int, rng: random.Random) -> tuple[int, ...]:
    """Which response stands at which place, drawn uniformly."""
    order = list(range(count))
    rng.shuffle(order)
    return tuple(order)


_INSERT = insert(lease)


def _insert(connection: Connection, new: _New, campaign_id: int, rater_id: int, config: CampaignConfig, now: float) -> Lease:
    found = Lease(
        lease_id=new.lease_id,
        campaign_id=campaign_id,
        item_id=new.item_id,
        rater_id=rater_id,
        slot_id=new.slot_id,
        purpose=new.purpose,
        occasion=new.occasion,
        screen_order=new.screen_order,
        state="held",
        leased_at=now,
        expires_at=_end(config, now),
    )
    values = {**vars(found), "id": found.lease_id, "screen_order": list(found.screen_order)}
    del values["lease_id"]
    connection.execute(_INSERT, values)
    return found


_MINE = and_(
    lease.c.state == "held",
    lease.c.rater_id == bindparam("rater"),
    lease.c.campaign_id == bindparam("campaign"),
    lease.c.purpose != "calibration",
)
_MINE_OR_LATE = (
    select(lease)
    .where(or_(_MINE, and_(lease.c.state == "held", lease.c.expires_at < bindparam("now"))))
    .order_by(lease.c.leased_at)
)


def _held(connection: Connection, campaign_id: int, rater_id: int, now: float) -> list[Lease]:
    """What a rater holds, once whatever ran out has been released."""
    rows = connection.execute(_MINE_OR_LATE, {"rater": rater_id, "campaign": campaign_id, "now": now}).mappings()
    held = [_lease(row) for row in rows]
    if any(found.expires_at < now for found in held):
        expire(connection, now=now)
    return [found for found in held if found.expires_at >= now]


_RENEW = update(lease).where(lease.c.id == bindparam("of_lease")).values(expires_at=bindparam("ends"))


def _renewed(connection: Connection, found: Lease, config: CampaignConfig, now: float) -> Lease:
    ends = _end(config, now)
    connection.execute(_RENEW, {"of_lease": found.lease_id, "ends": ends})
    return replace(found, expires_at=ends)


def _open_slots(connection: Connection, lease_ids: Sequence[str]) -> None:
    if lease_ids:
        connection.execute(update(slot).where(slot.c.lease_id.in_(lease_ids)).values(state="open", lease_id=None))


_COUNT = select(_RESPONSES).where(item.c.id == bindparam("of_item"))


def _responses(connection: Connection, item_id: int) -> int:
    return int(connection.scalar(_COUNT, {"of_item": item_id}) or 0)


def _end(config: CampaignConfig, now: float) -> float:
    return now + config.lease_minutes * MINUTE_S


def _lease(row: RowMapping) -> Lease:
    return Lease(
        lease_id=row["id"],
        campaign_id=row["campaign_id"],
        item_id=row["item_id"],
        rater_id=row["rater_id"],
        slot_id=row["slot_id"],
        purpose=row["purpose"],
        occasion=row["occasion"],
        screen_order=tuple(row["screen_order"]),
        state=row["state"],
        leased_at=row["leased_at"],
        expires_at=row["expires_at"],
    )
