"""Beginning a transaction."""

from __future__ import annotations

from sqlalchemy import Connection


def begin(connection: Connection, *, writes: bool) -> None:
    """Begin on SQLite, whose driver is told to begin nothing by itself; other drivers begin with the first statement.

    A transaction that will write says so at once: one that reads first and then writes can be refused as busy.
    """
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
