"""One thread writes, and commits many submissions together.

A commit waits for the disk (milliseconds); a submission takes a fraction of one. So everything that has queued up while the
last commit was under way goes into the next, each piece of work in its own savepoint: one that fails is undone alone. Callers are
answered after the commit, so what was acknowledged is on disk.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError, IntegrityError, OperationalError

from truing.collect.errors import StorageFullError
from truing.collect.transaction import begin

Result = TypeVar("Result")
Work = Callable[[Connection], Result]
"""Reads and writes through its connection and touches nothing else, because it may be run more than once."""

LARGEST_BATCH = 128
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Job:
    work: Work[Any]
    future: Future[Any]


class Writer:
    """The writing thread of a process, on an engine of its own. `close` lets it finish what is queued."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self.disk_failed = False
        """Whether the disk refused a commit since this was last set to False."""
        self._thread = threading.Thread(target=self._run, name="truing-writer", daemon=True)
        self._thread.start()

    def submit(self, work: Work[Result]) -> Future[Result]:
        """Queue work. The future is done when its effect is on disk, or with the error that undid it. Cancelled while it waits in
        the queue, it is not done at all.
        """
        future: Future[Result] = Future()
        self._jobs.put(_Job(work, future))
        return future

    def write(self, work: Work[Result]) -> Result:
        """Do work and return its result once it is on disk. Raises what `work` raised, or StorageFullError."""
        return self.submit(work).result()

    def close(self) -> None:
        """Stop after what is queued."""
        self._jobs.put(None)
        self._thread.join()
        self.engine.dispose()

    def _run(self) -> None:
        is_open = True
        while is_open:
            batch, is_open = self._next_batch()
            if batch:
                self._commit(batch)

    def _next_batch(self) -> tuple[list[_Job], bool]:
        """Wait for one job and take what else is there, but what was cancelled. False once the writer is closed."""
        batch: list[_Job] = []
        job = self._jobs.get()
        while job is not None:
            # From here on it cannot be cancelled any more.
            if job.future.set_running_or_notify_cancel():
                batch.append(job)
            if len(batch) == LARGEST_BATCH or self._jobs.empty():
                return batch, True
            job = self._jobs.get()
        return batch, False

    def _commit(self, batch: list[_Job]) -> None:
        try:
            with self.engine.begin() as connection:
                begin(connection, writes=True)
                outcomes = [_outcome(connection, job) for job in batch]
        except DBAPIError as error:
            self._failed(batch, error)
            return
        except Exception as error:  # noqa: BLE001  (whatever it was, those who wait must hear of it)
            _refuse(batch, error)
            return
        for job, (result, refusal) in zip(batch, outcomes, strict=True):
            if refusal is None:
                job.future.set_result(result)
            else:
                job.future.set_exception(refusal)

    def _failed(self, batch: list[_Job], error: DBAPIError) -> None:
        """The whole transaction is gone. Where another process was in the way, each job is tried again alone."""
        if is_disk_error(error):
            if not self.disk_failed:
                log.error("the database cannot be written: %s. Nothing more is acknowledged until it can.", error.orig)
            self.disk_failed = True
            _refuse(batch, StorageFullError(FULL))
        elif len(batch) > 1:
            for job in batch:
                self._commit([job])
        else:
            _refuse(batch, error)


FULL = (
    "The disk that holds the database is full or cannot be written. Nothing was saved from this request; your work is still in "
    "your browser. Ask the administrator to free space, then send it again."
)


def _outcome(connection: Connection, job: _Job) -> tuple[Any, Exception | None]:
    """The job's result, or what it raised once its savepoint was undone. A broken transaction is raised instead."""
    for attempt in (1, 2):
        connection.exec_driver_sql("SAVEPOINT job")
        try:
            result = job.work(connection)
            connection.exec_driver_sql("RELEASE SAVEPOINT job")
        except IntegrityError as error:
            connection.exec_driver_sql("ROLLBACK TO SAVEPOINT job")
            if attempt == 2:
                return None, error
            # Somebody was first: looked at again, the same submission finds what is there.
            continue
        except OperationalError:
            raise
        except Exception as error:  # noqa: BLE001  (belongs to whoever asked for the work)
            connection.exec_driver_sql("ROLLBACK TO SAVEPOINT job")
            return None, error
        else:
            return result, None
    raise AssertionError("unreachable")


def _refuse(batch: list[_Job], error: Exception) -> None:
    for job in batch:
        job.future.set_exception(error)


def is_disk_error(error: DBAPIError) -> bool:
    """Whether the disk is full or failing (SQLite's FULL and IOERR; PostgreSQL's classes 53100 and 58)."""
    name = getattr(error.orig, "sqlite_errorname", "") or ""
    state = getattr(error.orig, "sqlstate", "") or ""
    return name == "SQLITE_FULL" or name.startswith("SQLITE_IOERR") or state == "53100" or state.startswith("58")
