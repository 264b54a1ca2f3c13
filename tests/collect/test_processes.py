"""Several processes as one: replaced where they end, stopped together, and with the one that started them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="who is alive is read in /proc, which is not here")
PROGRAM = """
import os, sys, time
from pathlib import Path
from truing.collect import processes
from truing.errors import TruingError

folder, how = Path(sys.argv[1]), sys.argv[2]
if how == "slow to begin":
    os.register_at_fork(after_in_child=lambda: (folder / str(os.getpid())).touch() or time.sleep(1))

def serve():
    (folder / str(os.getpid())).touch()
    if how == "cannot":
        sys.exit(processes.CANNOT_START)
    if how == "peer gone" and len(list(folder.iterdir())) == 1:
        raise TruingError("the database does not answer")
    time.sleep(60)

try:
    processes.run(serve, 1 if how == "peer gone" else 2)
except TruingError as error:
    sys.exit(f"error: {error}")
"""


def until(condition, seconds=20.0):
    ends = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < ends
        time.sleep(0.02)


def is_alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


@pytest.fixture
def started(tmp_path):
    running = []

    def start(how):
        running.append(subprocess.Popen([sys.executable, "-c", PROGRAM, str(tmp_path), how], stderr=subprocess.PIPE, text=True))
        return running[0]

    yield start
    for process in running:
        process.kill()
        process.communicate()


def pids(folder):
    return [int(path.name) for path in folder.iterdir()]


def test_one_that_is_killed_is_replaced_and_all_stop_together(started, tmp_path):
    parent = started("serve")
    until(lambda: len(pids(tmp_path)) == 2)
    first = pids(tmp_path)
    os.kill(first[0], signal.SIGKILL)
    until(lambda: len(pids(tmp_path)) == 3)
    assert is_alive(first[1])
    parent.send_signal(signal.SIGTERM)
    _, errors = parent.communicate(timeout=20)
    assert parent.returncode == 0
    assert f"process {first[0]} of the service ended (-9): another takes its place" in errors
    assert not any(is_alive(pid) for pid in pids(tmp_path))


def test_one_that_is_told_to_stop_before_it_has_begun_stops(started, tmp_path):
    """It still has the handlers of the one that it was forked from."""
    parent = started("slow to begin")
    until(lambda: pids(tmp_path))
    parent.send_signal(signal.SIGTERM)
    parent.communicate(timeout=20)
    assert parent.returncode == 0


def test_they_stop_where_the_one_that_started_them_is_killed(started, tmp_path):
    parent = started("serve")
    until(lambda: len(pids(tmp_path)) == 2)
    parent.kill()
    until(lambda: not any(is_alive(pid) for pid in pids(tmp_path)))


def test_one_that_cannot_start_ends_all(started, tmp_path):
    parent = started("cannot")
    _, errors = parent.communicate(timeout=20)
    assert parent.returncode == 1
    assert errors.endswith("error: the service could not start; the reason is above\n")
    assert not any(is_alive(pid) for pid in pids(tmp_path))


def test_one_whose_database_is_gone_says_so_and_is_tried_again(started, tmp_path):
    parent = started("peer gone")
    until(lambda: len(pids(tmp_path)) == 2)
    parent.send_signal(signal.SIGINT)
    _, errors = parent.communicate(timeout=20)
    assert parent.returncode == 0
    assert "the database does not answer" in errors
    assert "Traceback" not in errors
