"""Bringing a database's schema up and down, one numbered file of `migrations/versions` at a time."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util.exc import CommandError
from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import DBAPIError

from truing.collect.transaction import begin
from truing.errors import TruingError

FOLDER = Path(__file__).parent / "migrations"
ADVISORY_LOCK = 7_412_609
"""Any number: what processes that start together on one PostgreSQL take turns by."""


def current(engine: Engine) -> str | None:
    """The revision that the database is at; None = empty."""
    with engine.connect() as connection:
        return MigrationContext.configure(connection).get_current_revision()


def newest() -> str:
    """The revision that this version of the package works with."""
    head = ScriptDirectory.from_config(_config()).get_current_head()
    assert head is not None
    return head


def revisions() -> list[str]:
    """Every revision, oldest first."""
    return [script.revision for script in ScriptDirectory.from_config(_config()).walk_revisions()][::-1]


def upgrade(engine: Engine, to: str = "head") -> None:
    """Go up to `to`. Raises TruingError where the database was made by a later version of the package."""
    _check_known(engine)
    if to == "head" and current(engine) == newest():
        return
    _run(engine, lambda config: command.upgrade(config, to))


def downgrade(engine: Engine, to: str) -> None:
    """Go down to `to` ("base" = an empty database)."""
    _check_known(engine)
    _run(engine, lambda config: command.downgrade(config, to))


def check_stopped(engine: Engine) -> None:
    """Raise TruingError where a service, or anything else, has this SQLite database open: it would go on under a schema that it
    does not know. A server's database is not checked.
    """
    if engine.dialect.name != "sqlite":
        return
    engine.dispose()  # its own idle connections count as well
    with closing(sqlite3.connect(engine.url.database or "", isolation_level=None, timeout=1.0)) as connection:
        try:
            connection.execute("PRAGMA locking_mode=EXCLUSIVE")  # with WAL, refused while anybody else has the file open
            connection.execute("BEGIN EXCLUSIVE")
        except sqlite3.OperationalError:
            raise TruingError(f"{engine.url.database}: in use. Stop the service (and whatever else has it open) first.") from None


def _check_known(engine: Engine) -> None:
    revision = current(engine)
    if revision is not None and revision not in revisions():
        raise TruingError(
            f"the database is at schema {revision}, newer than this version of truing knows ({newest()}). "
            "Install the version that made it, or restore a backup taken before the upgrade."
        )


def _run(engine: Engine, step: Callable[[Config], None]) -> None:
    """Run a command in one transaction: a migration that fails leaves the database as it was. Raises TruingError for one, and
    where there is no way to the revision asked for.
    """
    try:
        _run_at_once(engine, step)
    except CommandError as error:
        at = current(engine) or "empty"
        raise TruingError(f"{error}. The schema is at {at}; revisions, oldest first: {', '.join(revisions())}") from None
    except DBAPIError as error:
        raise TruingError(
            f"the database's schema could not be changed: {str(error.orig).strip()}. Nothing was changed. Where its disk is "
            "full, free some space (a new schema may need as much again as the database has), then start again."
        ) from error


def _run_at_once(engine: Engine, step: Callable[[Config], None]) -> None:
    config = _config()
    with engine.connect() as connection:
        is_sqlite = engine.dialect.name == "sqlite"
        if is_sqlite:  # a table that is rebuilt is dropped for a moment, which foreign keys would refuse
            _pragma(connection, "foreign_keys=OFF")
        with connection.begin():
            begin(connection, writes=True)
            if not is_sqlite:
                connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": ADVISORY_LOCK})
            config.attributes["connection"] = connection
            step(config)
        if is_sqlite:
            _pragma(connection, "foreign_keys=ON")


def _pragma(connection: Connection, pragma: str) -> None:
    """Outside a transaction, where alone it has an effect."""
    driver = connection.connection.driver_connection
    assert driver is not None
    driver.execute(f"PRAGMA {pragma}")


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(FOLDER))
    return config
