"""One side in a process of its own, kept alive and told what to do over a pipe (`peers/serve.py` is the other end)."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from benchmarks.machine import ROOT


class Worker:
    """Started and ready when the constructor returns. `baseline_bytes`: its peak memory with the model loaded and nothing run."""

    def __init__(self, command: Sequence[str], job: dict[str, Any], job_file: Path, *, inherit_path: bool) -> None:
        job_file.write_text(json.dumps(job))
        self._process = subprocess.Popen(
            [*command, str(job_file)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=(job_file.with_suffix(".log")).open("w"),
            text=True,
            cwd=ROOT,
            env=_environment(job["threads"], inherit_path=inherit_path),
        )
        self._log = job_file.with_suffix(".log")
        ready = self._answer()
        self.baseline_bytes: int = ready["peak_bytes"]
        self.versions: dict[str, str] = ready["versions"]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._process.kill()
        self._process.wait()

    def parity(self, out: Path) -> float:
        """The first step's loss; its gradients in `out`."""
        return float(self._ask(do="parity", out=str(out))["loss"])

    def run(self, threads: int, settings: dict[str, Any]) -> dict[str, Any]:
        """The job once, timed."""
        return self._ask(do="run", threads=threads, settings=settings)

    def _ask(self, **request: Any) -> dict[str, Any]:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"{' '.join(self._process.args[:-1])} ended:\n{self._log.read_text()[-4000:]}")  # type: ignore[index]
        answer: dict[str, Any] = json.loads(line)
        return answer


def _environment(threads: int, *, inherit_path: bool) -> dict[str, str]:
    keep = {name: value for name, value in os.environ.items() if inherit_path or name != "PYTHONPATH"}
    return keep | {"OMP_NUM_THREADS": str(threads), "HF_HUB_OFFLINE": "1"}
