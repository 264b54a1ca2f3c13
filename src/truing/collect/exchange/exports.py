"""An export: judgments frozen in the database, then written as a judgment set.

    frozen    every answer of its campaigns that was current when it began is a member, and can no longer be taken back
    written   the set is on disk under its name

Freezing goes by ranges of judgment ids, each a short transaction, so that raters never wait for it. A process that is killed goes
on where it stopped. What is a member never changes, so writing again gives the same bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from pydantic import Field
from sqlalchemy import Connection, RowMapping, Select, func, insert, literal, select, update

from truing.collect import audit, campaigns
from truing.collect.database import Database
from truing.collect.errors import ConflictError, NotFoundError, ServiceError
from truing.collect.exchange.config import PairFormat
from truing.collect.exchange.importing import BATCH
from truing.collect.exchange.rows import read_export
from truing.collect.exchange.sets import STAGE, NamedGuideline, SetSource, write_set
from truing.collect.schema import campaign, export, export_member, guideline, item, judgment
from truing.config import Config
from truing.errors import TruingError
from truing.records import Guideline
from truing.store.artifacts import Artifact, Store, read_artifact

IDS_A_STEP = 20_000
LONGEST_NAME = 200
"""Bytes: file systems take 255, and the folder is written under a longer name first."""
EXPORTED = ("task", "gold", "repeat")
State = Literal["freezing", "writing", "done", "failed"]


class ExportConfig(Config):
    """What is exported, and in which formats beside the set's own."""

    campaigns: tuple[str, ...] = Field(min_length=1)
    """Names of campaigns."""
    batches: tuple[str, ...] = ()
    """Only comparisons that were added under these names; empty = all."""
    pairs: tuple[PairFormat, ...] = ()


def begin(connection: Connection, name: str, config: ExportConfig, *, now: float, by: int | None = None) -> int:
    """A new export of what is in the database now; or, once more, the same one that failed.

    Raises ConflictError where the name is taken, NotFoundError for a campaign.
    """
    is_a_folder_name = name.isprintable() and not name.startswith(".") and not set(name) & set("/\\")
    if not is_a_folder_name or not 1 <= len(name.encode()) <= LONGEST_NAME:
        raise ServiceError(
            f"export name {name!r}: it becomes a folder's name, so write it without slashes and a leading dot, "
            f"in at most {LONGEST_NAME} bytes"
        )
    known = connection.execute(select(export.c.id, export.c.state, export.c.config).where(export.c.name == name)).one_or_none()
    if known is not None and known.state == "failed" and known.config == config.model_dump(mode="json"):
        _set_state(connection, known.id, "freezing")
        return int(known.id)
    if known is not None:
        raise ConflictError(f"there is an export {name!r} already. It is frozen: choose another name.")
    _check_compares(connection, config.campaigns)
    row = insert(export).values(
        name=name,
        config=config.model_dump(mode="json"),
        state="freezing",
        last_judgment_id=connection.scalar(select(func.max(judgment.c.id))) or 0,
        frozen_judgment_id=0,
        exclusions={},
        set_hash="",
        error="",
        created_by=by,
        frozen_at=now,
    )
    key = connection.execute(row).inserted_primary_key
    assert key is not None
    export_id = int(key[0])
    audit.record(connection, "export.begun", f"export:{export_id}", now=now, by=by, detail={"name": name})
    return export_id


def get(connection: Connection, export_id: int) -> RowMapping:
    """An export's row. Raises NotFoundError."""
    row = connection.execute(select(export).where(export.c.id == export_id)).mappings().one_or_none()
    if row is None:
        raise NotFoundError(f"there is no export {export_id}")
    return row


def listed(connection: Connection) -> list[RowMapping]:
    """Every export, newest first."""
    return list(connection.execute(select(export).order_by(export.c.id.desc())).mappings())


def unfinished(connection: Connection) -> list[int]:
    """Exports that a process which ended left half done."""
    return list(connection.scalars(select(export.c.id).where(export.c.state.in_(("freezing", "writing"))).order_by(export.c.id)))


def run(database: Database, export_id: int, folder: Path, *, now: float) -> Artifact:
    """Freeze what is not frozen yet, and write the set into `folder`. Does nothing twice.

    Raises TruingError where nothing was judged or the disk is full; the export then says so, and can be run again.
    """
    freeze(database, export_id)
    with database.read() as connection:
        row = get(connection, export_id)
    if row["state"] == "done" and (folder / row["name"]).exists():
        return read_artifact(folder / row["name"])
    try:
        made = _write(database, row, folder)
    except TruingError as error:
        message = str(error)
        database.write(lambda connection: _fail(connection, row, message, now))
        raise
    set_hash = str(made.manifest.metrics["set_hash"])
    database.write(lambda connection: _finish(connection, row, set_hash, now))
    return made


def freeze(database: Database, export_id: int) -> None:
    """Make every answer that was current when the export began a member of it, range by range."""
    while database.write(lambda connection: freeze_step(connection, export_id)):
        pass


def freeze_step(connection: Connection, export_id: int) -> bool:
    """Make the next range's answers members, in one transaction. False once all are."""
    row = get(connection, export_id)
    if row["state"] != "freezing":
        return False
    start, last = row["frozen_judgment_id"], row["last_judgment_id"]
    stop = min(start + IDS_A_STEP, last)
    config = ExportConfig.model_validate(row["config"])
    campaign_ids = _campaign_ids(connection, config.campaigns)
    members = select(literal(export_id), judgment.c.id).where(
        judgment.c.id > start,
        judgment.c.id <= stop,
        judgment.c.campaign_id.in_(campaign_ids),
        judgment.c.is_current,
        judgment.c.kind == "answer",
        judgment.c.purpose.in_(EXPORTED),
    )
    if config.batches:
        members = members.where(judgment.c.item_id.in_(_items_of(campaign_ids, config.batches)))
    # Locked, so that no other process withdraws one of them meanwhile; one that is being withdrawn is waited for, and left out.
    members = members.with_for_update(read=True, of=judgment)
    connection.execute(insert(export_member).from_select(["export_id", "judgment_id"], members))
    values: dict[str, object] = {"frozen_judgment_id": stop}
    if stop == last:
        values |= {"state": "writing", "exclusions": _exclusions(connection, row, campaign_ids, config.batches)}
    connection.execute(update(export).where(export.c.id == export_id).values(**values))
    return bool(stop < last)


def _write(database: Database, row: RowMapping, folder: Path) -> Artifact:
    config = ExportConfig.model_validate(row["config"])
    with database.read() as connection:
        ids = _campaign_ids(connection, config.campaigns)
        guidelines = _guidelines(connection, row["id"])
        source = SetSource(
            name="service",
            judged=read_export(connection, row["id"], ids),
            guidelines=guidelines,
            campaigns=tuple(sorted(config.campaigns)),
            exclusions=row["exclusions"],
        )
        parents = {f"guideline {named.name} {named.guideline.version}": named.guideline.guideline_hash for named in guidelines}
        draft = Store(folder).begin(STAGE, row["name"], config, parents, resume=True)
        return draft if isinstance(draft, Artifact) else write_set(draft, source, config.pairs)


def _finish(connection: Connection, row: RowMapping, set_hash: str, now: float) -> None:
    _set_state(connection, row["id"], "done", set_hash=set_hash)
    detail = {"name": row["name"], "set_hash": set_hash}
    audit.record(connection, "export.done", f"export:{row['id']}", now=now, by=row["created_by"], detail=detail)


def _fail(connection: Connection, row: RowMapping, message: str, now: float) -> None:
    _set_state(connection, row["id"], "failed", error=message)
    detail = {"name": row["name"], "error": message}
    audit.record(connection, "export.failed", f"export:{row['id']}", now=now, by=row["created_by"], detail=detail)


def _set_state(connection: Connection, export_id: int, state: State, *, set_hash: str = "", error: str = "") -> None:
    connection.execute(update(export).where(export.c.id == export_id).values(state=state, set_hash=set_hash, error=error))


def _campaign_ids(connection: Connection, names: Sequence[str]) -> list[int]:
    found = dict(connection.execute(select(campaign.c.name, campaign.c.id).where(campaign.c.name.in_(names))).all())
    for name in names:
        if name not in found:
            raise NotFoundError(f"there is no campaign {name!r}")
    return [found[name] for name in sorted(names)]


def _check_compares(connection: Connection, names: Sequence[str]) -> None:
    for campaign_id in _campaign_ids(connection, names):
        config = campaigns.config_of(campaigns.get(connection, campaign_id))
        if not {"pair", "ranking"} & {task.type for task in config.tasks}:
            raise ServiceError(f"campaign {config.name!r} asks neither for pairs nor for rankings: it holds no preferences")


def _guidelines(connection: Connection, export_id: int) -> list[NamedGuideline]:
    """Those that the members were judged under."""
    used = (
        select(judgment.c.guideline_hash)
        .join(export_member, export_member.c.judgment_id == judgment.c.id)
        .where(export_member.c.export_id == export_id)
        .distinct()
    )
    rows = select(guideline.c.name, guideline.c.version, guideline.c.text).where(guideline.c.guideline_hash.in_(used))
    found = connection.execute(rows.order_by(guideline.c.name, guideline.c.version))
    return [NamedGuideline(name, Guideline(version=version, text=text)) for name, version, text in found]


def _items_of(campaign_ids: Sequence[int], batches: Sequence[str]) -> Select[tuple[int]]:
    return select(item.c.id).where(item.c.campaign_id.in_(campaign_ids), item.c.meta[BATCH].as_string().in_(batches))


def _exclusions(connection: Connection, row: RowMapping, campaign_ids: Sequence[int], batches: Sequence[str]) -> dict[str, int]:
    """What of the campaigns' judgments the set does not hold, and why."""
    reasons = {"skip": "skipped by the rater", "withdrawn": "taken back by the rater"}
    counts = (
        select(judgment.c.kind, judgment.c.purpose, func.count())
        .where(judgment.c.campaign_id.in_(campaign_ids), judgment.c.id <= row["last_judgment_id"], judgment.c.is_current)
        .group_by(judgment.c.kind, judgment.c.purpose)
    )
    if batches:
        counts = counts.where(judgment.c.item_id.in_(_items_of(campaign_ids, batches)))
    found: dict[str, int] = {}
    for kind, purpose, count in connection.execute(counts):
        reason = reasons.get(kind) or ("" if purpose in EXPORTED else f"made for {purpose}")
        if reason:
            found[reason] = found.get(reason, 0) + count
    return found
