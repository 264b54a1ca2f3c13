"""The wheel holds everything that a run outside the checkout needs, and nothing that is not the package."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
NEEDED = (
    "truing/py.typed",
    "truing/program/recipes/quickstart.toml",
    "truing/program/recipes/guideline.md",
    "truing/program/report/template.html.j2",
    "truing/program/report/style.css",
    "truing/world/base/config.json",
    "truing/world/base/model.safetensors",
    "truing/world/base/tokenizer.json",
)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> zipfile.ZipFile:
    pytest.importorskip("hatchling", reason="the build backend is not installed: pip install 'truing[dev]'")
    out = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out), str(ROOT)]
    built = subprocess.run(command, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stdout + built.stderr
    return zipfile.ZipFile(next(out.glob("*.whl")))


def test_the_wheel_holds_its_data(wheel):
    names = set(wheel.namelist())
    assert [name for name in NEEDED if name not in names] == []
    assert [name for name in names if not name.startswith(("truing/", "truing-"))] == []


def test_the_wheel_is_small(wheel):
    assert sum(entry.compress_size for entry in wheel.infolist()) < 6 * 2**20


def test_the_wheel_names_its_command_and_licence(wheel):
    text = {name.rpartition("/")[2]: wheel.read(name).decode() for name in wheel.namelist() if ".dist-info/" in name}
    assert "truing = truing.cli:main" in text["entry_points.txt"]
    assert "Apache License" in text["LICENSE"]
