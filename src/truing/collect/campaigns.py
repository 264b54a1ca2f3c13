"""Campaigns: made, paused, resumed, closed; their items and how far they are."""

from __future__ import annotations

import random
from collections.abc import Sequence
from itertools import takewhile
from pathlib import Path
from typing import Any, Literal, NamedTuple

from sqlalchemy import Connection, RowMapping, bindparam, func, insert, select, update

from truing.collect import audit
from truing.collect.chat import replies
from truing.collect.config import CampaignConfig
from truing.collect.errors import ConflictError, NotFoundError, ServiceError
from truing.collect.guidelines import versions
from truing.collect.new_items import NewItem, check_fits
from truing.collect.schema import campaign, item, judgment, reply, slot
from truing.collect.sent import without_nul
from truing.config import read_toml, validate
from truing.records import Record, content_hash

PRESETS = Path(__file__).parent / "presets"
Status = Literal["open", "paused", "closed"]


class Preset(NamedTuple):
    """A published protocol that a campaign can start from."""

    name: str
    title: str
    note: str


class Progress(Record):
    """How far a campaign is. `needed`, `done` and `leased` count task judgments; the rest counts rows."""

    items: int
    to_sample: int
    """Items whose responses a worker has yet to bring."""
    needed: int
    done: int
    leased: int
    answers: int
    skips: int
    surplus: int
    gold: int
    repeats: int


def resolved(values: dict[str, Any], where: str) -> CampaignConfig:
    """A campaign's settings from what a person wrote, laid over the preset it names. Raises TruingError."""
    values = without_nul(values)
    preset = values.get("preset")
    base = read_toml(preset_file(str(preset))) if preset else {}
    return validate(CampaignConfig, {**base, **values}, where)


def preset_file(name: str) -> Path:
    """The file of a preset. Raises ServiceError naming those there are."""
    path = PRESETS / f"{name}.toml"
    if name not in preset_names():
        raise ServiceError(f"preset {name!r}: there is none of that name. Presets: {', '.join(preset_names())}")
    return path


def preset_names() -> list[str]:
    """Published protocols that a campaign can start from."""
    return sorted(path.stem for path in PRESETS.glob("*.toml"))


def presets() -> list[Preset]:
    """What each preset is, in the words that its file begins with: a line with its title, then where it comes from."""
    found = []
    for name in preset_names():
        lines = takewhile(lambda line: line.startswith("#"), preset_file(name).read_text(encoding="utf-8").splitlines())
        title, *note = (line.removeprefix("#").strip() for line in lines)
        found.append(Preset(name, title, " ".join(note)))
    return found


def make(
    connection: Connection,
    config: CampaignConfig,
    items: Sequence[NewItem],
    *,
    guideline: str | None = None,
    now: float,
    by: int | None = None,
) -> int:
    """A campaign with its items: all of it or nothing. The text of `guideline` is published first, as its next version."""
    if guideline is not None:
        present = versions.newest(connection, config.guideline)
        after = present.guideline.version if present else 0
        versions.publish(connection, config.guideline, guideline, now=now, by=by, after=after)
    campaign_id = create(connection, config, now=now, by=by)
    add_items(connection, campaign_id, items, now=now, by=by)
    return campaign_id


def create(connection: Connection, config: CampaignConfig, *, now: float, by: int | None = None) -> int:
    """A new campaign, open at once. Raises ConflictError where the name is taken, NotFoundError where it has no guideline."""
    if connection.scalar(select(campaign.c.id).where(campaign.c.name == config.name)) is not None:
        raise ConflictError(f"there is a campaign {config.name!r} already. Choose another name.")
    row = insert(campaign).values(
        name=config.name,
        status="open",
        config=config.model_dump(mode="json"),
        guideline_id=_newest_guideline(connection, config.guideline),
        created_by=by,
        created_at=now,
    )
    campaign_id = connection.execute(row.returning(campaign.c.id)).scalar_one()
    audit.record(connection, "campaign.created", f"campaign:{campaign_id}", now=now, by=by, detail={"name": config.name})
    return int(campaign_id)


def _newest_guideline(connection: Connection, name: str) -> int | None:
    if not name:
        return None
    found = versions.newest(connection, name)
    if found is None:
        raise NotFoundError(
            f"there is no guideline {name!r}. Publish it first (on the page Guidelines, or by --guideline FILE), "
            "or leave 'guideline' empty."
        )
    return found.guideline_id


_GET = select(campaign).where(campaign.c.id == bindparam("campaign_id"))


def get(connection: Connection, campaign_id: int) -> RowMapping:
    """A campaign's row. Raises NotFoundError."""
    row = connection.execute(_GET, {"campaign_id": campaign_id}).mappings().one_or_none()
    if row is None:
        raise NotFoundError(f"there is no campaign {campaign_id}")
    return row


def listed(connection: Connection) -> list[RowMapping]:
    """Every campaign, newest first."""
    return list(connection.execute(select(campaign).order_by(campaign.c.id.desc())).mappings())


def config_of(row: RowMapping) -> CampaignConfig:
    """A row's settings."""
    return CampaignConfig.model_validate(row["config"])


def set_status(connection: Connection, campaign_id: int, status: Status, *, now: float, by: int | None = None) -> None:
    """Open, pause or close. Nothing is handed out while paused or closed; what is in raters' hands is still taken."""
    get(connection, campaign_id)
    connection.execute(update(campaign).where(campaign.c.id == campaign_id).values(status=status))
    audit.record(connection, f"campaign.{status}", f"campaign:{campaign_id}", now=now, by=by)


def add_items(
    connection: Connection, campaign_id: int, items: Sequence[NewItem], *, now: float, by: int | None = None
) -> list[int]:
    """Add items, and a slot for each judgment that a task item needs. Returns their ids in order.

    An item that comes without responses has them sampled first, and gets its slots with them (`sampled.complete`).
    Raises ConflictError for an external id that is there already or a budget that does not reach; ServiceError for items that do
    not fit the campaign's tasks. Either all are added or none.
    """
    row = get(connection, campaign_id)
    config = config_of(row)
    for number, new in enumerate(items, start=1):
        check_fits(new, config, number)
    _check_unused(connection, campaign_id, [new.name for new in items])
    tasks = sum(new.purpose == "task" for new in items)
    _check_budget(connection, campaign_id, config, tasks * config.overlap)
    if not items:
        return []
    result = connection.execute(
        insert(item).returning(item.c.id, sort_by_parameter_order=True), [_row(campaign_id, new, now) for new in items]
    )
    ids = [int(found) for found in result.scalars()]
    pairs = list(zip(ids, items, strict=True))
    open_slots(connection, campaign_id, config, [item_id for item_id, new in pairs if new.purpose == "task" and new.responses])
    for item_id, new in pairs:
        if not new.responses:
            _ask_policies(connection, item_id, new, config, now)
    audit.record(connection, "items.added", f"campaign:{campaign_id}", now=now, by=by, detail={"items": len(items)})
    return ids


def open_slots(connection: Connection, campaign_id: int, config: CampaignConfig, item_ids: Sequence[int]) -> None:
    """A slot for each judgment that these items need, every item's first before any item's second."""
    slots = [
        {"campaign_id": campaign_id, "item_id": item_id, "rank": rank, "state": "open"}
        for rank in range(config.overlap)
        for item_id in item_ids
    ]
    if slots:
        connection.execute(insert(slot), slots)


def _ask_policies(connection: Connection, item_id: int, new: NewItem, config: CampaignConfig, now: float) -> None:
    assert config.sampled is not None
    drawn = config.sampled.draw(random.Random(content_hash([item_id, new.name])))
    replies.ask(connection, drawn, new.prompt.messages, now=now, item_id=item_id)


def _row(campaign_id: int, new: NewItem, now: float) -> dict[str, Any]:
    return {
        "campaign_id": campaign_id,
        "external_id": new.name,
        "purpose": new.purpose,
        "prompt": new.prompt.model_dump(mode="json"),
        "responses": list(new.responses),
        "policies": list(new.policies) or ["unknown"] * len(new.responses),
        "gold": [answer.model_dump(mode="json") for answer in new.gold] if new.gold is not None else None,
        "source": new.source,
        "item_group": new.group,
        "strategy": new.strategy,
        "propensity": new.propensity,
        "meta": new.meta,
        "created_at": now,
    }


def _check_unused(connection: Connection, campaign_id: int, names: Sequence[str]) -> None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise ConflictError(f"item {name!r} comes twice in what was sent")
        seen.add(name)
    for start in range(0, len(names), 500):
        part = names[start : start + 500]
        known = select(item.c.external_id).where(item.c.campaign_id == campaign_id, item.c.external_id.in_(part)).limit(1)
        found = connection.scalar(known)
        if found is not None:
            raise ConflictError(f"item {found!r} is in this campaign already")


def _check_budget(connection: Connection, campaign_id: int, config: CampaignConfig, wanted: int) -> None:
    if config.max_judgments is None:
        return
    used = connection.scalar(select(func.count()).select_from(slot).where(slot.c.campaign_id == campaign_id)) or 0
    used += config.overlap * _to_sample(connection, campaign_id)
    if used + wanted > config.max_judgments:
        raise ConflictError(
            f"these items need {wanted} judgments, and the budget has {config.max_judgments - used} left of "
            f"{config.max_judgments}. Add fewer, or raise max_judgments."
        )


def _to_sample(connection: Connection, campaign_id: int) -> int:
    of_item = select(func.count(reply.c.item_id.distinct())).join(item, item.c.id == reply.c.item_id)
    return connection.scalar(of_item.where(item.c.campaign_id == campaign_id, reply.c.state != "done")) or 0


def is_empty(connection: Connection, campaign_id: int) -> bool:
    """Whether no item of the campaign has been ready for raters so far."""
    return connection.scalar(select(slot.c.id).where(slot.c.campaign_id == campaign_id).limit(1)) is None


def progress(connection: Connection, campaign_id: int) -> Progress:
    """How far a campaign is."""
    counted = select(slot.c.state, func.count()).where(slot.c.campaign_id == campaign_id).group_by(slot.c.state)
    states: dict[str, int] = {str(state): int(number) for state, number in connection.execute(counted)}
    kinds = connection.execute(
        select(judgment.c.kind, judgment.c.purpose, judgment.c.is_surplus, func.count())
        .where(judgment.c.campaign_id == campaign_id, judgment.c.is_current)
        .group_by(judgment.c.kind, judgment.c.purpose, judgment.c.is_surplus)
    ).all()
    answers = [row for row in kinds if row[0] == "answer"]
    return Progress(
        items=connection.scalar(select(func.count()).select_from(item).where(item.c.campaign_id == campaign_id)) or 0,
        to_sample=_to_sample(connection, campaign_id),
        needed=sum(states.values()),
        done=states.get("done", 0),
        leased=states.get("leased", 0),
        answers=sum(row[3] for row in answers),
        skips=sum(row[3] for row in kinds if row[0] == "skip"),
        surplus=sum(row[3] for row in answers if row[2]),
        gold=sum(row[3] for row in answers if row[1] == "gold"),
        repeats=sum(row[3] for row in answers if row[1] == "repeat"),
    )
