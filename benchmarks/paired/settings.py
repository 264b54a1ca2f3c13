"""What every benchmark can be asked for on the command line."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks import machine
from benchmarks.paired.models import SIZES

DTYPES = ("float32", "bfloat16")
THREADS = (1, 2)
VOCABULARIES = (8192, 50257)
RESULTS = machine.ROOT / "benchmarks" / "results"


@dataclass(frozen=True)
class Settings:
    """The grid, how often, and where to write."""

    dtypes: tuple[str, ...]
    threads: tuple[int, ...]
    vocabularies: tuple[int, ...]
    cases: tuple[str, ...]
    repeats: int
    out: Path | None
    device: str
    model_size: str
    quick: bool


def parse(
    work: str,
    cases: Sequence[str],
    description: str,
    arguments: Sequence[str] | None = None,
    *,
    quick_cases: Sequence[str] = (),
) -> Settings:
    """The whole grid with five pairs, written to `results/`; `--quick` is one corner of it with two, written nowhere.

    On a processor without instructions for bfloat16 the grid is float32, unless asked for: torch takes ten times as long there.
    """
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--quick", action="store_true", help="float32, one thread, small vocabulary, two pairs; writes no results"
    )
    parser.add_argument(
        "--dtype", choices=DTYPES, nargs="+", dest="dtypes", help="by default both, on a CPU without bf16 instructions float32"
    )
    parser.add_argument("--threads", type=int, nargs="+")
    parser.add_argument("--vocab", type=int, nargs="+", dest="vocabularies")
    parser.add_argument("--case", choices=list(cases), nargs="+", dest="cases", help="by default all of them")
    parser.add_argument("--repeats", type=int, help="pairs of runs")
    parser.add_argument("--out", type=Path, help=f"results as JSON (default: results/{work}.json; none with --quick)")
    parser.add_argument("--device", default="cpu", help="cpu, or cuda: the same work, not yet run there")
    parser.add_argument("--model-size", choices=list(SIZES), default="5M", help="larger ones are for a GPU")
    given = parser.parse_args(arguments)
    quick = given.quick
    without_bf16 = given.device == "cpu" and not machine.has_bf16_instructions()
    return Settings(
        dtypes=tuple(given.dtypes or (DTYPES[:1] if quick or without_bf16 else DTYPES)),
        threads=tuple(given.threads or (THREADS[:1] if quick else THREADS)),
        vocabularies=tuple(given.vocabularies or (VOCABULARIES[:1] if quick else VOCABULARIES)),
        cases=tuple(given.cases or (quick_cases if quick and quick_cases else cases)),
        repeats=given.repeats or (2 if quick else 5),
        out=given.out or (None if quick else RESULTS / f"{work}.json"),
        device=given.device,
        model_size=given.model_size,
        quick=quick,
    )
