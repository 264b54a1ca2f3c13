"""The fault "migration" of `collect_faults`: a million judgments go up from the first schema, killed on the way, and down again.

The database is made at the first revision and filled by its own engine. Every step afterwards is `truing collect migrate` in a
process of its own, timed, with its peak memory. A kill comes once the migration holds the lock that it changes the schema under.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, inspect, text

JUDGMENTS_AN_ITEM = 4
RATERS = 500


def migration(folder: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    found = {"sqlite": _migrated(str(folder / "collect.sqlite"), arguments.judgments)}
    if arguments.postgresql:
        from tests.collect import postgres

        with postgres.running() as url:
            found["postgresql"] = _migrated(url, arguments.judgments)
    return found


def _migrated(location: str, judgments: int) -> dict[str, Any]:
    from truing.collect import migrate
    from truing.collect.database import open_engine

    engine = open_engine(location)
    first, newest = migrate.revisions()[0], migrate.newest()
    migrate.upgrade(engine, first)
    filled_s = _fill(engine, judgments)
    before = _content(engine)
    kills = [_killed(engine, location) for _ in range(3)]
    unharmed = migrate.current(engine) == first and _content(engine) == before
    engine.dispose()  # `down` refuses while anybody has the file open
    steps = [_step(location, *way) for way in (("up",), ("down", "--to", first), ("up",))]
    after = _content(engine)
    is_newest = migrate.current(engine) == newest
    engine.dispose()
    return {
        "judgments": before.rows,
        "from_to": f"{first} to {newest}",
        "filled_s": filled_s,
        "up": steps[0],
        "down": steps[1],
        "up_again": steps[2],
        "killed_while_changing": sum(kills),
        "kills": len(kills),
        "lost": before.rows - after.rows,
        "content_changed": not (unharmed and is_newest and after == before),
    }


@dataclass(frozen=True)
class Content:
    """How many judgments there are, and a hash of every column of every one."""

    rows: int
    sha256: str


def _content(engine: Engine) -> Content:
    columns = ", ".join(sorted(column["name"] for column in inspect(engine).get_columns("judgment")))
    digest, rows = hashlib.sha256(), 0
    with engine.connect().execution_options(yield_per=10_000) as connection:
        for row in connection.execute(text(f"SELECT {columns} FROM judgment ORDER BY id")):
            digest.update(repr(tuple(row)).encode())
            rows += 1
    return Content(rows, digest.hexdigest())


def _step(location: str, *arguments: str) -> dict[str, float]:
    """Run `truing collect migrate`: seconds, those of its processor, and its peak memory (a server's own are not in them)."""
    started = time.monotonic()
    process = _start(location, *arguments)
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, arguments
    cpu_s = round(used.ru_utime + used.ru_stime, 1)
    return {"seconds": round(time.monotonic() - started, 1), "cpu_s": cpu_s, "peak_mb": round(used.ru_maxrss / 1024)}


def _start(location: str, *arguments: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "truing", "collect", "migrate", *arguments, "--database", location]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL)


def _killed(engine: Engine, location: str) -> bool:
    """Kill an upgrade with SIGKILL while it changes the schema. False where it was done before it could be killed."""
    is_changing: Callable[[], bool] = _locked(location) if engine.dialect.name == "sqlite" else _advisory(engine)
    process = _start(location, "up")
    while process.poll() is None:
        if is_changing():
            process.kill()
    return process.wait() < 0


def _locked(location: str) -> Callable[[], bool]:
    """Whether somebody holds SQLite's write lock."""

    def is_held() -> bool:
        with closing(sqlite3.connect(location, timeout=0.0, isolation_level=None)) as connection:
            try:
                connection.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError:
                return True
            connection.execute("ROLLBACK")
        time.sleep(0.001)
        return False

    return is_held


def _advisory(engine: Engine) -> Callable[[], bool]:
    """Whether somebody holds the lock that migrations take turns by on PostgreSQL, and has begun to change a table."""

    def is_held() -> bool:
        query = "SELECT count(*) FROM pg_locks WHERE mode = 'AccessExclusiveLock' AND granted"
        with engine.connect() as connection:
            return bool(connection.scalar(text(query)))

    return is_held


def _fill(engine: Engine, judgments: int) -> float:
    """Judgments with everything under them, made by the database itself. Returns seconds."""
    started = time.monotonic()
    with engine.execution_options(writes=True).begin() as connection:
        for statement in _statements(judgments):
            connection.execute(text(statement))
    return round(time.monotonic() - started, 1)


def _statements(judgments: int) -> Iterator[str]:
    """Inserts at the first revision. Judgment n is on item n / 4 by rater 125 (n mod 4) + (item mod 125)."""
    answers = """'[{"type": "pair", "choice": "first", "margin": 2, "both_bad": false}]'"""
    item, rater = f"(n / {JUDGMENTS_AN_ITEM} + 1)", f"(n % 4 * {RATERS // 4} + (n / 4) % {RATERS // 4} + 1)"
    yield _numbered(RATERS, "account (id, pseudonym, role, settings, created_at)", "n + 1, 'r-' || n, 'rater', '{}', 0")
    yield "INSERT INTO campaign (id, name, status, config, created_at) VALUES (1, 'june', 'open', '{}', 0)"
    yield _numbered(
        judgments // JUDGMENTS_AN_ITEM,
        "item (id, campaign_id, external_id, purpose, prompt, responses, policies, meta, created_at)",
        "n + 1, 1, 'item-' || n, 'task', "
        f"""'{{"prompt_id": "p", "messages": [{{"role": "user", "content": "{"Why? " * 20}"}}]}}', """
        f"""'["{"One. " * 20}", "{"Other. " * 20}"]', '["a", "b"]', '{{}}', 0""",
    )
    yield _numbered(
        judgments, "slot (id, campaign_id, item_id, rank, state, lease_id)", f"n + 1, 1, {item}, n % 4, 'done', 'l-' || n"
    )
    yield _numbered(
        judgments,
        "lease (id, campaign_id, item_id, rater_id, slot_id, purpose, occasion, screen_order, state, leased_at, expires_at)",
        f"'l-' || n, 1, {item}, {rater}, n + 1, 'task', 0, '[0, 1]', 'answered', n, n + 1800",
    )
    yield _numbered(
        judgments,
        "judgment (id, campaign_id, item_id, lease_id, rater_id, occasion, revision, is_current, kind, purpose, answers, "
        "screen_order, flags, active_s, elapsed_s, is_surplus, idempotency_key, judged_at)",
        f"n + 1, 1, {item}, 'l-' || n, {rater}, 0, 1, true, 'answer', 'task', {answers}, "
        "'[0, 1]', '[]', n % 60, n % 90, false, 'key-' || n, n",
    )


def _numbered(count: int, into: str, values: str) -> str:
    """An insert of `count` rows, one for each n from 0."""
    numbers = f"WITH RECURSIVE numbers(n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM numbers WHERE n < {count - 1})"
    return f"INSERT INTO {into} {numbers} SELECT {values} FROM numbers"
