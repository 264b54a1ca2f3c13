"""A database that has no room to grow: SQLite itself refuses, as it does on a full disk."""

from __future__ import annotations

import contextlib

from sqlalchemy import event

ANY_SIZE = 2**32 - 2


@contextlib.contextmanager
def full(engine):
    """Every connection of the engine refuses a page more than the database has."""

    def limit(connection, *_):
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
        connection.execute(f"PRAGMA max_page_count={pages}")

    def lift(connection, *_):
        connection.execute(f"PRAGMA max_page_count={ANY_SIZE}")

    event.listen(engine, "checkout", limit)
    try:
        yield
    finally:
        event.remove(engine, "checkout", limit)
        event.listen(engine, "checkout", lift)
