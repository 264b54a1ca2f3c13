"""Where a run stands, told from its progress.json by another process.

truing status runs/quickstart
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from truing.errors import TruingError
from truing.program.progress import PROGRESS_FILE, RunState, describe
from truing.store.files import read_json


def read_status(root: Path) -> RunState:
    """The run's state. A run that claims to be running though its process is gone is reported as interrupted."""
    path = root / PROGRESS_FILE
    if not path.exists():
        raise TruingError(f"{root}: no run has written here (there is no {PROGRESS_FILE})")
    state = RunState.model_validate(read_json(path))
    if state.state == "running" and not _alive(state.pid):
        return state.model_copy(update={"state": "interrupted"})
    return state


def render_status(state: RunState) -> str:
    """The state as lines of text."""
    lines = [f"{state.state}, {len(state.stages)} of {state.stages_planned} stages, {state.elapsed_s:.0f} s, {state.updated}"]
    lines += [f"  {describe(stage)}" for stage in state.stages]
    if state.state in {"interrupted", "failed"}:
        lines.append("go on with the same command and --resume")
    return "\n".join(lines)


def _alive(pid: int) -> bool:
    if sys.platform == "win32":
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
