"""Interpreters of the peers, each with the packages of `peers/requirements-NAME.txt` and nothing of truing.

    python -m benchmarks.environments trl trl112 vllm      # make them, if they are not there

They lie in the folder that the environment variable TRUING_PEERS names, `.peers` otherwise. What is already there is used.
"""

from __future__ import annotations

import os
import subprocess
import sys
import venv
from pathlib import Path

from benchmarks.machine import ROOT

REQUIREMENTS = ROOT / "benchmarks" / "peers"


def interpreter(name: str) -> Path:
    """The interpreter of that peer, its environment made on the way if need be (which takes minutes and a package index)."""
    folder = Path(os.environ.get("TRUING_PEERS") or ROOT / ".peers") / name
    python = folder / "bin" / "python"
    if not python.exists():
        _make(folder, python, name)
    return python


def _make(folder: Path, python: Path, name: str) -> None:
    print(f"making an environment for {name} (the first time takes a few minutes)", file=sys.stderr, flush=True)
    partial = folder.with_name(folder.name + ".partial")
    venv.create(partial, with_pip=True, clear=True)
    pip = [str(partial / "bin" / "python"), "-m", "pip", "--disable-pip-version-check", "--quiet", "install"]
    for suffix, options in (("", []), ("-no-deps", ["--no-deps"])):
        requirements = REQUIREMENTS / f"requirements-{name}{suffix}.txt"
        if requirements.exists():
            subprocess.run([*pip, *options, "-r", str(requirements)], check=True)
    partial.rename(folder)
    assert python.exists()


if __name__ == "__main__":
    for peer in sys.argv[1:]:
        interpreter(peer)
