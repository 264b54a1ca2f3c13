"""A process that runs `vllm_worker.py`: started, asked over its pipes, and seen to its end."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from truing.errors import TruingError

_WORKER = Path(__file__).with_name("vllm_worker.py")
_TAIL_LINES = 15
_ENVIRONMENT = {
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",  # all of it in the one process, which is then all there is to end
    "VLLM_LOGGING_LEVEL": "WARNING",
    "VLLM_NO_USAGE_STATS": "1",
    "DO_NOT_TRACK": "1",
    "HF_HUB_OFFLINE": "1",
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",  # as many threads as this process has
    "VLLM_HOST_IP": "127.0.0.1",
    "GLOO_SOCKET_IFNAME": "lo0" if sys.platform == "darwin" else "lo",  # torch's process groups listen, of one process too
}


class WorkerFailed(Exception):  # noqa: N818  # says what happened; never leaves this room
    """The worker died, or answered what it should not: the process has been ended. The text says what happened."""


class VllmProcess:
    """One run of the worker. `home` is the folder through which it gets weights; what it prints goes there.

    It is killed where `timeout_s` seconds pass without an answer that is waited for, or a sign that one is being made.
    """

    def __init__(self, python: str, home: Path, threads: int, timeout_s: float) -> None:
        self._stderr = home / "stderr.txt"
        self._timeout_s = timeout_s
        self._is_late = False
        with self._stderr.open("wb") as stderr:
            try:
                self._process = subprocess.Popen(
                    [python, str(_WORKER), str(home)],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=stderr,
                    env={**os.environ, **_ENVIRONMENT, "OMP_NUM_THREADS": str(threads)},
                    encoding="utf-8",
                )
            except OSError as error:
                raise TruingError(
                    f"engine.vllm.python = {python!r} cannot be run ({error.strerror}). Name the Python interpreter of the "
                    "environment that holds vLLM (docs/vllm.md)."
                ) from None

    @property
    def pid(self) -> int:
        """Of the worker."""
        return self._process.pid

    def ask(self, request: dict[str, Any], on_done: Callable[[int], None] | None = None) -> dict[str, Any]:
        """The answer to one request; `on_done` is told how many completions are finished meanwhile.

        Raises WorkerFailed, with the process ended, where there is none.
        """
        stdin = self._process.stdin
        assert stdin is not None
        with contextlib.suppress(OSError), self._time_limit():  # it has died: what is read next says how
            stdin.write(json.dumps(request) + "\n")
            stdin.flush()
        while True:
            answer = self._read()
            if "error" in answer:
                raise self._failure(f"failed with {answer['error']}")
            if "version" in answer:
                return answer
            if on_done is not None:
                on_done(int(answer["done"]))

    def end(self) -> None:
        """End the process, whatever it is doing, and wait until it is gone."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            with contextlib.suppress(OSError):  # a request that it did not live to read
                pipe.close()

    def _read(self) -> dict[str, Any]:
        stdout = self._process.stdout
        assert stdout is not None
        try:
            with self._time_limit():
                line = stdout.readline()
        except UnicodeDecodeError as error:
            raise self._failure(f"answered what is not text ({error})") from None
        if not line.endswith("\n"):  # the end, perhaps in the middle of an answer
            raise self._failure(self._how_it_ended())
        try:
            answer = json.loads(line)
        except json.JSONDecodeError:
            answer = None
        if not isinstance(answer, dict) or not {"error", "version", "done"} & answer.keys():
            raise self._failure(f"answered {line.strip()[:200]!r}, which is none of its answers")
        return answer

    @contextlib.contextmanager
    def _time_limit(self) -> Iterator[None]:
        """Kill the worker where it is waited for longer than it may be: that ends the wait."""
        timer = threading.Timer(self._timeout_s, self._give_up)
        timer.start()
        try:
            yield
        finally:
            timer.cancel()

    def _give_up(self) -> None:
        self._is_late = True
        self._process.kill()

    def _how_it_ended(self) -> str:
        with self._time_limit():
            code = self._process.wait()
        if self._is_late:
            limit = f"{self._timeout_s:g} s"
            return f"gave no sign of life for {limit} and was killed (where it needs longer, raise engine.vllm.timeout_s)"
        if code >= 0:
            return f"ended by itself with exit code {code}"
        name = signal.Signals(-code).name if -code in set(signal.Signals) else str(-code)
        return f"was killed by signal {name}" + (" (the system does that where memory runs out)" if name == "SIGKILL" else "")

    def _failure(self, what: str) -> WorkerFailed:
        self.end()
        lines = self._stderr.read_text(encoding="utf-8", errors="replace").splitlines()
        tail = "\n".join(f"  | {line}" for line in lines[-_TAIL_LINES:])
        return WorkerFailed(f"{what}\n{tail}" if tail else what)


def interpreter(python: str | None) -> str:
    """The interpreter that settings name, or this one."""
    return python or sys.executable
