"""Opening the database: SQLite in a file, or PostgreSQL by URL; its schema brought up to date; one writer a process."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError, OperationalError

from truing.collect import audit, migrate
from truing.collect.transaction import begin
from truing.collect.writer import Work, Writer
from truing.errors import TruingError

Result = TypeVar("Result")

BUSY_TIMEOUT_MS = 10_000
READERS = 16
"""Threads of a process that answer requests; each can have a connection. More would not answer sooner, one interpreter works for
all of them, and four processes would ask PostgreSQL for more than the hundred connections it admits.
"""
BACKGROUND = 4
"""Connections besides, for what the service does by itself."""
FILLER = "-" * 32_768


class Database:
    """An open database: `read` for looking, `write` for everything that changes."""

    def __init__(self, engine: Engine, writing: Engine) -> None:
        """`writing` is the same database again: the writer waits for no reader to hand a connection back."""
        self.engine = engine
        self.writer = Writer(writing)

    @contextlib.contextmanager
    def read(self) -> Iterator[Connection]:
        """A connection that sees one moment of the database."""
        with self.engine.connect() as connection:
            begin(connection, writes=False)
            yield connection

    def write(self, work: Work[Result]) -> Result:
        """Run `work(connection)` in the writer; returns once it is on disk."""
        return self.writer.write(work)

    async def written(self, work: Work[Result]) -> Result:
        """The same for handlers in the event loop: no thread waits meanwhile."""
        return await asyncio.wrap_future(self.writer.submit(work))

    def check_disk(self, *, now: float) -> None:
        """Where the disk refused a commit, try one as large as a long answer's. Raises StorageFullError until it goes."""
        if self.writer.disk_failed:
            self.write(lambda connection: audit.record(connection, "disk.checked", "service", now=now, detail={"filler": FILLER}))
            self.writer.disk_failed = False

    def close(self) -> None:
        """Finish what is queued and let the database go."""
        self.writer.close()
        self.engine.dispose()


def open_database(location: str | Path) -> Database:
    """Open `location` (a path, or a URL) and bring its schema up to date.

    Raises TruingError where a driver is missing, the server does not answer, or the schema is newer than this version knows.
    """
    engine = open_engine(location)
    try:
        migrate.upgrade(engine)
        return Database(engine, open_engine(location))
    except BaseException:
        engine.dispose()
        raise


def open_engine(location: str | Path) -> Engine:
    """An engine on `location`, tried once. Raises TruingError saying what to do where it does not answer."""
    url = database_url(location)
    try:
        engine = _sqlite(url) if url.get_backend_name() == "sqlite" else _engine(url)
        with engine.connect():
            pass
    except ModuleNotFoundError as error:
        raise TruingError(
            f"{_safe(url)}: the driver '{error.name}' is not installed. Run: pip install 'truing[postgres]'"
        ) from None
    except NoSuchModuleError:
        raise TruingError(f"{_safe(url)}: unknown kind of database. Use a path, or postgresql+psycopg://user@host/name") from None
    except OperationalError as error:
        raise TruingError(f"{_safe(url)}: cannot be opened: {_first_line(error)}") from None
    except DBAPIError as error:
        raise TruingError(f"{_safe(url)}: is not a database that can be read: {_first_line(error)}") from None
    return engine


def database_url(location: str | Path) -> URL:
    """The URL of a path, or a URL as it is. Raises TruingError where it is neither."""
    text = str(location)
    if "://" not in text:
        return URL.create("sqlite", database=str(Path(text).expanduser()))
    try:
        url = make_url(text)
    except ArgumentError:
        raise TruingError("--database: not a database URL. Write a path, or postgresql+psycopg://user@host/name") from None
    if url.get_backend_name() not in {"sqlite", "postgresql"}:
        raise TruingError(
            f"{_safe(url)}: SQLite and PostgreSQL are supported. Use a path, or postgresql+psycopg://user@host/name"
        )
    return url.set(drivername="postgresql+psycopg") if url.get_backend_name() == "postgresql" else url


def _engine(url: URL, **options: Any) -> Engine:
    """An error in the log shows its statement, never what was written with it: answers, names, hashes of secrets."""
    return create_engine(url, hide_parameters=True, pool_size=READERS, max_overflow=BACKGROUND, **options)


def _sqlite(url: URL) -> Engine:
    if url.database:
        Path(url.database).parent.mkdir(parents=True, exist_ok=True)
    engine = _engine(url, connect_args={"timeout": BUSY_TIMEOUT_MS / 1000, "check_same_thread": False})
    event.listen(engine, "connect", _set_up_sqlite)
    return engine


def _set_up_sqlite(connection: Any, _record: Any) -> None:
    """What makes an acknowledged commit survive a power cut, and readers and the writer pass each other."""
    connection.isolation_level = None  # transactions are begun by `begin`, not by the driver's guesses
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", f"busy_timeout={BUSY_TIMEOUT_MS}"):
        connection.execute(f"PRAGMA {pragma}")


def _safe(url: URL) -> str:
    return url.render_as_string(hide_password=True)


def _first_line(error: DBAPIError) -> str:
    return (str(error.orig).strip().splitlines() or ["no answer"])[0]
