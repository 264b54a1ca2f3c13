"""A copy of a SQLite database while it is in use: whole, and of one moment."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from pathlib import Path

from truing.collect.database import database_url
from truing.errors import TruingError
from truing.store.files import disk_errors


def backup(location: str, target: Path) -> int:
    """Copy the database at `location` to `target`, which appears whole or not at all. Returns its size in bytes.

    Raises TruingError where the target is there already, the database is not, or it is PostgreSQL (pg_dump copies that).
    """
    url = database_url(location)
    if url.get_backend_name() != "sqlite":
        raise TruingError("PostgreSQL has its own tool: pg_dump --format=custom --file=FILE DATABASE; pg_restore brings it back")
    source = Path(url.database or "")
    if not source.is_file():
        raise TruingError(f"{source}: no such database")
    if target.exists():
        raise TruingError(f"{target}: is there already. Choose another name.")
    temporary = target.with_name(target.name + ".tmp")
    with disk_errors(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary.unlink(missing_ok=True)
        _copy(source, temporary)
        temporary.replace(target)
    return target.stat().st_size


def _copy(source: Path, temporary: Path) -> None:
    try:
        with contextlib.closing(sqlite3.connect(source)) as reading, contextlib.closing(sqlite3.connect(temporary)) as writing:
            # In one step: the service writes on meanwhile, into the WAL. In several, each commit would begin the copy anew.
            reading.backup(writing)
            found = writing.execute("PRAGMA integrity_check").fetchone()[0]
    except sqlite3.Error as error:
        temporary.unlink(missing_ok=True)
        raise TruingError(f"{source}: cannot be copied ({error})") from None
    if found != "ok":
        temporary.unlink(missing_ok=True)
        raise TruingError(f"{source}: the copy is damaged ({found}). Keep the database as it is, and restore an earlier backup.")
    with temporary.open("rb") as file:
        os.fsync(file.fileno())
