"""Independent tensor work on several cores, a thread for each task.

Coarser than the threads inside one operator, and for small models faster: a whole optimiser step of the policy runs beside one
of the value model. Results do not depend on it: each task does the same operations in the same order.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import Generic, NamedTuple, TypeVar

import torch

from truing.models.flops import count_overlap

FirstT = TypeVar("FirstT")
SecondT = TypeVar("SecondT")


def side_by_side(first: Callable[[], FirstT], second: Callable[[], SecondT], device: torch.device) -> tuple[FirstT, SecondT]:
    """Run both and return both results; an error of either is raised.

    They run at once on a CPU with cores to spare where operators are single-threaded (`torch.set_num_threads(1)`); otherwise
    one after the other, each with all of the threads or the GPU: at once they would need the memory of both.
    """
    if device.type != "cpu" or torch.get_num_threads() > 1 or _cores() < 2:
        return first(), second()
    with ThreadPoolExecutor(max_workers=1) as pool:
        other = pool.submit(copy_context().run, _timed, second)  # what counts the work of this thread counts the other's too
        mine, theirs = _timed(first), other.result()
        count_overlap(min(mine.seconds, theirs.seconds))
        return mine.result, theirs.result


def _cores() -> int:
    """That this process may run on, where the system tells (Linux does), else all of them."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class _Timed(NamedTuple, Generic[FirstT]):
    result: FirstT
    seconds: float


def _timed(task: Callable[[], FirstT]) -> _Timed[FirstT]:
    started = time.perf_counter()
    return _Timed(task(), time.perf_counter() - started)
