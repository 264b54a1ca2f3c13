"""What the service does in the background for exchange: writes exports that were begun, and posts what webhooks ask for."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from filelock import FileLock, Timeout

from truing.collect.database import Database
from truing.collect.exchange import exports
from truing.collect.webhooks.deliveries import deliver_due
from truing.errors import TruingError

EVERY_S = 2.0
log = logging.getLogger(__name__)


class Worker:
    """Two threads, so that a long export does not hold back webhooks. `wake` has them look at once."""

    def __init__(
        self,
        database: Database,
        folder: Path,
        service_key: bytes,
        *,
        networks: Sequence[str] = (),
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._database = database
        self._folder = folder
        self._service_key = service_key
        self._networks = networks
        self._clock = clock
        self._rng = random.Random()
        self._loops = [_Loop("truing-exports", self.run_exports), _Loop("truing-webhooks", self.deliver)]

    def start(self) -> None:
        """Begin; exports that an earlier process left half done are gone on with."""
        for loop in self._loops:
            loop.start()

    def wake(self) -> None:
        """There is something to do."""
        for loop in self._loops:
            loop.wake()

    def stop(self) -> None:
        """End once what is under way is done."""
        for loop in self._loops:
            loop.stop()

    def run_exports(self) -> None:
        """Write every export that is not done and that no other process is writing."""
        with self._database.read() as connection:
            ids = exports.unfinished(connection)
        for export_id in ids:
            self._folder.mkdir(parents=True, exist_ok=True)
            try:
                with FileLock(self._folder / f".export-{export_id}.lock", timeout=0):
                    exports.run(self._database, export_id, self._folder, now=self._clock())
            except Timeout:
                continue
            except TruingError as error:
                log.warning("export %d failed: %s", export_id, error)

    def deliver(self) -> None:
        """Post what is due."""
        deliver_due(self._database, self._service_key, now=self._clock(), networks=self._networks, rng=self._rng)


class _Loop:
    """Calls `work` every `EVERY_S` seconds, or when woken, until stopped. What it raises is logged, and tried again next time."""

    def __init__(self, name: str, work: Callable[[], None]) -> None:
        self._work = work
        self._signal = threading.Event()
        self._is_stopping = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def wake(self) -> None:
        self._signal.set()

    def stop(self) -> None:
        self._is_stopping = True
        self._signal.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._is_stopping:
            try:
                self._work()
            # Whatever went wrong, the thread goes on: exports and deliveries stand in the database and are taken up again.
            except Exception:
                log.exception("%s: will be tried again", self._thread.name)
            self._signal.wait(EVERY_S)
            self._signal.clear()
