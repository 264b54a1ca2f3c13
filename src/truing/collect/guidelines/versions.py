"""Guidelines in the database: versions are added and never changed; a campaign follows the newest of the name it was given.

A rater confirms a version before being handed anything new under it. What is in their hands stays under the version it was
leased with.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import lru_cache

from pydantic import JsonValue
from sqlalchemy import Connection, RowMapping, bindparam, func, insert, select, update

from truing.collect import audit
from truing.collect.errors import ConflictError, NotFoundError, ServiceError
from truing.collect.schema import campaign, guideline, guideline_read
from truing.records import Guideline

MOST_CHARACTERS = 100_000
LONGEST_CLAUSE_ID = 100


@dataclass(frozen=True)
class Version:
    """One published version. `created_at` is in seconds since 1970 UTC."""

    guideline_id: int
    name: str
    change_note: str
    created_at: float
    guideline: Guideline


def publish(
    connection: Connection, name: str, text: str, *, now: float, by: int | None = None, change_note: str = "", after: int = 0
) -> Version:
    """Publish the next version of the guideline called `name`, and have its campaigns follow it.

    `after` is the version that the text was edited from (0 = a new guideline). Raises ConflictError where another version has
    come between, ServiceError where the text is not a guideline or changes nothing.
    """
    name, text = name.strip(), _normal(text)
    check(name, text)
    present = newest(connection, name)
    number = present.guideline.version if present else 0
    if number != after:
        raise ConflictError(
            f"guideline {name!r} is at version {number}, and this text was edited from version {after}. "
            "Copy your text, open the newest version, and put your changes in there."
        )
    if present and present.guideline.text == text:
        raise ServiceError(f"nothing was changed: version {number} has this very text")
    made = Guideline(version=number + 1, text=text)
    row = {
        "name": name,
        "version": made.version,
        "text": text,
        "guideline_hash": made.guideline_hash,
        "change_note": change_note,
        "created_by": by,
        "created_at": now,
    }
    guideline_id = connection.execute(insert(guideline).values(**row).returning(guideline.c.id)).scalar_one()
    _follow(connection, name, guideline_id)
    detail: dict[str, JsonValue] = {"name": name, "version": made.version}
    audit.record(connection, "guideline.published", f"guideline:{guideline_id}", now=now, by=by, detail=detail)
    return Version(guideline_id, name, change_note, now, made)


def check(name: str, text: str) -> None:
    """Raise ServiceError where this is not a guideline that raters can be given."""
    if not name or len(name) > 200 or "/" in name:
        raise ServiceError("name: give the guideline a name of at most 200 characters, without a slash")
    if not text.strip():
        raise ServiceError("text: the guideline is empty")
    if len(text) > MOST_CHARACTERS:
        raise ServiceError(f"text: longer than {MOST_CHARACTERS:,} characters")
    clauses = Guideline(version=0, text=text).clauses
    if any(len(clause) > LONGEST_CLAUSE_ID for clause in clauses):
        raise ServiceError(
            f"text: a clause id has at most {LONGEST_CLAUSE_ID} characters; the longest has {max(map(len, clauses))}"
        )
    twice = sorted(clause for clause, count in Counter(clauses).items() if count > 1)
    if twice:
        raise ServiceError(f"text: two clauses have the id {twice[0]!r}; ids tell clauses apart")


_GET = select(guideline).where(guideline.c.id == bindparam("guideline_id"))


def get(connection: Connection, guideline_id: int) -> Version:
    """A version by its id. Raises NotFoundError."""
    row = connection.execute(_GET, {"guideline_id": guideline_id}).mappings().one_or_none()
    if row is None:
        raise NotFoundError("there is no such guideline")
    return _version(row)


def numbered(connection: Connection, name: str, version: int) -> Version:
    """Version `version` of the guideline called `name`. Raises NotFoundError."""
    same = (guideline.c.name == name, guideline.c.version == version)
    row = connection.execute(select(guideline).where(*same)).mappings().one_or_none()
    if row is None:
        raise NotFoundError(f"guideline {name!r} has no version {version}")
    return _version(row)


def newest(connection: Connection, name: str) -> Version | None:
    """The newest version of a guideline; None where there is no guideline of that name."""
    rows = select(guideline).where(guideline.c.name == name).order_by(guideline.c.version.desc()).limit(1)
    row = connection.execute(rows).mappings().one_or_none()
    return None if row is None else _version(row)


def history(connection: Connection, name: str) -> list[Version]:
    """Every version of a guideline, newest first. Raises NotFoundError where there is none."""
    rows = connection.execute(select(guideline).where(guideline.c.name == name).order_by(guideline.c.version.desc())).mappings()
    versions = [_version(row) for row in rows]
    if not versions:
        raise NotFoundError(f"there is no guideline {name!r}")
    return versions


def all_newest(connection: Connection) -> list[Version]:
    """The newest version of every guideline, by name."""
    latest = select(guideline.c.name, func.max(guideline.c.version).label("version")).group_by(guideline.c.name).subquery()
    joined = select(guideline).join(latest, (guideline.c.name == latest.c.name) & (guideline.c.version == latest.c.version))
    return [_version(row) for row in connection.execute(joined.order_by(guideline.c.name)).mappings()]


def confirm(connection: Connection, account_id: int, guideline_id: int, *, now: float) -> None:
    """Note that a person has read a version. Confirming twice is confirming once. Raises NotFoundError."""
    get(connection, guideline_id)
    if not has_confirmed(connection, account_id, guideline_id):
        row = {"account_id": account_id, "guideline_id": guideline_id, "read_at": now}
        connection.execute(insert(guideline_read).values(**row))


_READ = select(guideline_read.c.read_at).where(
    guideline_read.c.account_id == bindparam("account"), guideline_read.c.guideline_id == bindparam("guideline")
)


def has_confirmed(connection: Connection, account_id: int, guideline_id: int) -> bool:
    """Whether a person has confirmed this very version."""
    return connection.scalar(_READ, {"account": account_id, "guideline": guideline_id}) is not None


def last_confirmed(connection: Connection, account_id: int, name: str) -> Version | None:
    """The newest version of a guideline that a person has confirmed: what a new one is compared with for them."""
    read = select(guideline).join(guideline_read, guideline_read.c.guideline_id == guideline.c.id)
    mine = read.where(guideline.c.name == name, guideline_read.c.account_id == account_id)
    row = connection.execute(mine.order_by(guideline.c.version.desc()).limit(1)).mappings().one_or_none()
    return None if row is None else _version(row)


def _follow(connection: Connection, name: str, guideline_id: int) -> None:
    """Campaigns that are not closed and follow this name go over to the version."""
    rows = connection.execute(select(campaign.c.id, campaign.c.config).where(campaign.c.status != "closed")).all()
    ids = [row.id for row in rows if row.config.get("guideline") == name]
    if ids:
        connection.execute(update(campaign).where(campaign.c.id.in_(ids)).values(guideline_id=guideline_id))


def _normal(text: str) -> str:
    """Line ends as the rest of the package writes them, so that one text has one hash whichever browser sent it."""
    return text.replace("\r\n", "\n").replace("\r", "\n").rstrip() + "\n" if text.strip() else ""


def _version(row: RowMapping) -> Version:
    return Version(row["id"], row["name"], row["change_note"], row["created_at"], _guideline(row["version"], row["text"]))


@lru_cache(maxsize=64)
def _guideline(version: int, text: str) -> Guideline:
    """One object a text, so that its clauses and its hash are worked out once, not for every item shown under it."""
    return Guideline(version=version, text=text)
