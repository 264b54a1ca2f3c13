"""What a figure was measured on."""

from __future__ import annotations

import os
import platform
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def describe() -> dict[str, str | int | float]:
    """Processor, its family and model (of AMD's, 25/17 is Zen 4 and 26 Zen 5), widest vectors, cores, memory, system, and the
    commit that was timed (`+`: the working tree differs).
    """
    return {
        "cpu": _cpu_field("model name") or platform.processor(),
        "family": f"{_cpu_field('cpu family')}/{_cpu_field('model')}",
        "vectors": "AVX-512" if "avx512f" in _cpu_flags() else "AVX2" if "avx2" in _cpu_flags() else "other",
        "cores": os.cpu_count() or 0,
        "has_bf16_instructions": has_bf16_instructions(),
        "memory_gib": round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30, 1),
        "system": f"{platform.system()} {platform.machine()}",
        "commit": commit(),
    }


def has_bf16_instructions() -> bool:
    """Whether this processor multiplies bfloat16 in hardware, as far as /proc/cpuinfo tells."""
    return not {"avx512_bf16", "amx_bf16"}.isdisjoint(_cpu_flags())


def commit() -> str:
    """Short hash of the checkout."""
    try:
        head = _git("rev-parse", "--short=12", "HEAD")
        return head + ("+" if _git("status", "--porcelain", "--", "src", "benchmarks/*.py") else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def _git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=ROOT, check=True, capture_output=True, text=True).stdout.strip()


def _cpuinfo() -> str:
    path = Path("/proc/cpuinfo")
    return path.read_text() if path.exists() else ""


def _cpu_field(name: str) -> str:
    """Of the first processor; nothing where the system does not tell."""
    fields = (line.split(":", 1) for line in _cpuinfo().splitlines() if ":" in line)
    return next((value.strip() for key, value in fields if key.strip() == name), "")


def _cpu_flags() -> list[str]:
    return _cpu_field("flags").split()
