"""Several processes that serve together: forks of one that has everything loaded, so that all of them are there at once."""

from __future__ import annotations

import contextlib
import logging
import multiprocessing
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess

from truing.errors import TruingError

Serve = Callable[[], None]

CANNOT_START = 3
"""Exit code of a process that another in its place would not help (uvicorn's own for it)."""
PAUSE_S = 1.0
"""Before one that ended is replaced: one that ends at once does not keep the machine busy."""
STOPS = (signal.SIGINT, signal.SIGTERM)
log = logging.getLogger(__name__)


def run(serve: Serve, count: int) -> None:
    """Run `serve` in `count` processes until SIGINT or SIGTERM, another in place of each that ends.

    All are told to stop by SIGTERM and waited for; they also stop where this process is gone. To be called from the main thread.
    Raises TruingError where one ends with CANNOT_START, or where this system cannot fork.
    """
    if "fork" not in multiprocessing.get_all_start_methods():
        raise TruingError("--processes: several need a system that can fork (Linux, macOS). Leave the option out")
    with _stop_signals() as stopped:
        running = [_start(serve) for _ in range(count)]
        try:
            while stopped not in wait([stopped, *(process.sentinel for process in running)]):
                if wait([stopped], PAUSE_S):
                    break
                running = [_kept(process, serve) for process in running]
        finally:
            for process in running:
                process.terminate()
            for process in running:
                process.join()


def _start(serve: Serve) -> BaseProcess:
    process = multiprocessing.get_context("fork").Process(target=_child, args=(serve,))
    # held back until the child has let go of this process's handlers, which would swallow a stop that comes in between
    before = signal.pthread_sigmask(signal.SIG_BLOCK, STOPS)
    try:
        process.start()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    return process


def _kept(process: BaseProcess, serve: Serve) -> BaseProcess:
    """The process while it is alive, else another."""
    if process.exitcode is None:
        return process
    if process.exitcode == CANNOT_START:
        raise TruingError("the service could not start; the reason is above")
    log.error("process %d of the service ended (%d): another takes its place", process.pid, process.exitcode)
    return _start(serve)


def _child(serve: Serve) -> None:
    signal.set_wakeup_fd(-1)
    for number in STOPS:
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPS)
    threading.Thread(target=_stop_with_parent, daemon=True).start()
    try:
        serve()
    except TruingError as error:
        log.error("%s", error)
        sys.exit(1)


def _stop_with_parent() -> None:
    """A parent that was killed leaves nobody behind who holds its port."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os.kill(os.getpid(), signal.SIGTERM)


@contextlib.contextmanager
def _stop_signals() -> Iterator[socket.socket]:
    """A socket that can be read from once the process is told to stop."""
    stopped, told = socket.socketpair()
    told.setblocking(False)
    with stopped, told:
        before = [signal.signal(number, lambda *_: None) for number in STOPS]
        wakeup = signal.set_wakeup_fd(told.fileno())
        try:
            yield stopped
        finally:
            signal.set_wakeup_fd(wakeup)
            for number, handler in zip(STOPS, before, strict=True):
                signal.signal(number, handler)
