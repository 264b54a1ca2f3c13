import json
import math
import os
from pathlib import Path

import pytest

from truing.errors import TruingError
from truing.program.plain_text import for_terminal
from truing.program.progress import PROGRESS_FILE, PlainView, Watch
from truing.program.status import read_status, render_status


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        self.now += 1.0
        return self.now


def test_lines_and_file_tell_stage_rate_time_left_and_numbers(tmp_path: Path) -> None:
    lines: list[str] = []
    clock = Clock()
    with Watch(tmp_path, PlainView(lines.append, clock), planned=2, clock=clock) as watch:
        with watch.stage("sft", kept=True):
            pass
        with watch.stage("round 1: ppo") as progress:
            progress.update(1, 4, {"proxy": 0.5, "kl": math.nan})
            state = json.loads((tmp_path / PROGRESS_FILE).read_text())
            assert state["state"] == "running"
            assert state["stages"][1]["headline"] == {"proxy": 0.5, "kl": None}
            progress.update(4, 4, {"proxy": 0.75})
    assert lines[0].startswith("[1/2] sft: kept")
    assert "[2/2] round 1: ppo: done  4/4" in lines[-1]
    assert "proxy 0.75" in lines[-1]
    assert read_status(tmp_path).state == "done"


def test_a_failed_and_an_interrupted_run_say_so(tmp_path: Path) -> None:
    def run(error: BaseException) -> None:
        with Watch(tmp_path, PlainView(lambda _: None), planned=1) as watch, watch.stage("sft"):
            raise error

    with pytest.raises(ValueError, match="x"):
        run(ValueError("x"))
    assert read_status(tmp_path).state == "failed"
    with pytest.raises(KeyboardInterrupt):
        run(KeyboardInterrupt())
    state = read_status(tmp_path)
    assert state.state == "interrupted"
    assert "--resume" in render_status(state)


def test_a_dead_process_is_not_running(tmp_path: Path) -> None:
    with Watch(tmp_path, PlainView(lambda _: None), planned=1) as watch, watch.stage("sft"):
        assert read_status(tmp_path).state == "running"
        path = tmp_path / PROGRESS_FILE
        child = os.fork()
        if child == 0:
            os._exit(0)
        os.waitpid(child, 0)
        path.write_text(path.read_text().replace(f'"pid": {os.getpid()}', f'"pid": {child}'))
        assert read_status(tmp_path).state == "interrupted"


def test_no_run_no_status(tmp_path: Path) -> None:
    with pytest.raises(TruingError, match="no run has written here"):
        read_status(tmp_path)


def test_control_and_bidirectional_characters_are_shown_as_replaced() -> None:
    assert for_terminal("a\x1b[31mb\u202ec\r\x07\n\té") == "a�[31mb�c��\n\té"
