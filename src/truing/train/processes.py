"""Members trained side by side, each in a process of its own.

Plain subprocesses rather than `multiprocessing`: that would import the caller's script again, which is wrong for a script
without a main guard.
"""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from truing.errors import TruingError
from truing.records import Progress
from truing.store.files import read_json, write_json
from truing.train.reward_member import MemberJob, MemberResult, headline

_MODULE = "truing.train.reward_member"


def train_members_in_processes(jobs: Sequence[MemberJob], progress: Progress) -> list[MemberResult]:
    """Train all members at once. Raises TruingError with what a member had to say; the others are then ended."""
    messages: queue.Queue[tuple[int, dict[str, Any] | None]] = queue.Queue()
    processes = [_start(job) for job in jobs]
    listeners = [threading.Thread(target=_listen, args=(m, process, messages)) for m, process in enumerate(processes)]
    try:
        for listener in listeners:
            listener.start()
        _watch(jobs, processes, messages, progress)
    finally:
        for process, listener in zip(processes, listeners, strict=True):
            process.kill()
            process.wait()
            listener.join()
    return [MemberResult.model_validate(read_json(job.result)) for job in jobs]


def _start(job: MemberJob) -> subprocess.Popen[str]:
    job.work.mkdir(parents=True, exist_ok=True)
    write_json(job.work / "job.json", job.model_dump(mode="json"))
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": str(job.threads)}
    with (job.work / "stderr.txt").open("w") as errors:
        return subprocess.Popen(
            [sys.executable, "-m", _MODULE, str(job.work / "job.json")],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            env=environment,
        )


def _listen(member: int, process: subprocess.Popen[str], messages: queue.Queue[tuple[int, dict[str, Any] | None]]) -> None:
    """Pass on each line a member says, and None once it has ended."""
    assert process.stdout is not None
    with process.stdout as lines:
        for line in lines:
            messages.put((member, json.loads(line)))
    messages.put((member, None))


def _watch(
    jobs: Sequence[MemberJob],
    processes: Sequence[subprocess.Popen[str]],
    messages: queue.Queue[tuple[int, dict[str, Any] | None]],
    progress: Progress,
) -> None:
    latest: dict[int, dict[str, Any]] = {}
    running = set(range(len(jobs)))
    while running:
        member, message = messages.get()
        if message is None:
            running.discard(member)
            _require_success(processes[member].wait(), jobs[member].work / "stderr.txt", member)
        elif "error" in message:
            raise TruingError(message["error"])
        else:
            latest[member] = message
            _report(latest, len(jobs), progress)


def _report(latest: Mapping[int, Mapping[str, Any]], members: int, progress: Progress) -> None:
    total = next(iter(latest.values()))["total"] * members
    done = sum(message["done"] for message in latest.values())
    progress.update(done, total, headline([message["metrics"] for message in latest.values()]))


def _require_success(code: int, errors: Path, member: int) -> None:
    if code == 0:
        return
    if code < 0:
        raise TruingError(
            f"reward member {member}: its process was killed (signal {-code}), perhaps for want of memory. "
            "Free some, or set reward.parallel=false, then pass --resume."
        )
    raise RuntimeError(f"reward member {member} failed:\n{errors.read_text()[-4000:]}")
