from __future__ import annotations

import contextlib
import sqlite3
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import func, insert, select
from sqlalchemy.exc import IntegrityError
from tests.collect.people_world import add_account

from truing.collect.database import BACKGROUND, READERS
from truing.collect.schema import account


def count(database):
    with database.read() as connection:
        return connection.scalar(select(func.count()).select_from(account))


def test_a_write_is_on_disk_when_it_returns(database, tmp_path):
    add_account(database, "rater-1")
    with sqlite3.connect(tmp_path / "collect.sqlite") as another:
        assert another.execute("SELECT count(*) FROM account").fetchone() == (1,)
    another.close()


def test_a_write_does_not_wait_for_readers(database):
    with contextlib.ExitStack() as reading:
        for _ in range(READERS + BACKGROUND):
            reading.enter_context(database.read())
        add_account(database, "rater-1")
    assert count(database) == 1


def test_one_that_fails_takes_no_other_with_it(database):
    def work(number):
        row = {"login": None, "pseudonym": f"rater-{number}", "role": "rater", "settings": {}, "created_at": 0.0}

        def run(connection):
            connection.execute(insert(account).values(**row))
            if number % 5 == 0:
                raise ValueError(f"no {number}")

        return run

    def attempt(number):
        try:
            database.write(work(number))
        except ValueError:
            return "failed"
        return "kept"

    with ThreadPoolExecutor(max_workers=16) as pool:
        outcomes = list(pool.map(attempt, range(40)))
    assert outcomes.count("failed") == 8
    assert count(database) == 32


def test_a_failing_write_raises_where_it_was_asked_for(database):
    def fail(connection):
        raise KeyError("not here")

    with pytest.raises(KeyError):
        database.write(fail)
    assert count(database) == 0


def test_an_error_does_not_say_what_was_written(database):
    def clash(connection):
        connection.execute(insert(account).values(id=1, pseudonym="x", role="secret word", settings={}, created_at=0.0))

    with pytest.raises(IntegrityError) as raised:
        database.write(clash)
    assert "secret word" not in str(raised.value)


def test_work_that_is_cancelled_in_the_queue_is_not_done_and_the_next_is(database):
    begun, go_on = threading.Event(), threading.Event()

    def hold_up(_):
        begun.set()
        go_on.wait(timeout=5.0)

    before = database.writer.submit(hold_up)
    begun.wait()
    done = []
    cancelled = database.writer.submit(lambda _: done.append("cancelled"))
    after = database.writer.submit(lambda _: done.append("after"))
    assert cancelled.cancel()
    assert not before.cancel()
    go_on.set()
    after.result(timeout=10.0)
    assert done == ["after"]
    assert before.result() is None
