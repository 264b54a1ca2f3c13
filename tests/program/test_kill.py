"""kill -9 at random moments, then --resume: the same artifacts to the bit."""

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from truing.store.artifacts import Store

KILLS = 10


def start(recipe: Path, out: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "truing", "run", str(recipe), "--out", str(out), "--resume"]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def hashes(root: Path) -> dict[str, str]:
    return {a.manifest.name: a.artifact_hash for a in Store(root).artifacts()}


@pytest.mark.slow
def test_a_run_killed_ten_times_ends_as_one_that_was_not(tiny_recipe: Path, tmp_path: Path) -> None:
    began = time.monotonic()
    whole = start(tiny_recipe, tmp_path / "whole")
    _, said = whole.communicate(timeout=900)
    assert whole.returncode == 0, said.decode()
    took_s = time.monotonic() - began

    rng = random.Random(0)
    kills = 0
    for _ in range(8 * KILLS):
        process = start(tiny_recipe, tmp_path / "killed")
        try:
            _, said = process.communicate(timeout=rng.uniform(0.3, 0.8) * took_s if kills < KILLS else 900)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.communicate()
            kills += 1
            continue
        assert process.returncode == 0, said.decode()
        break
    assert hashes(tmp_path / "killed") == hashes(tmp_path / "whole")
