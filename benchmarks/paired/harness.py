"""How every work is compared with its peer: parity first, then the peer's settings, then pairs of runs.

A work is a job (a model folder, tokens, which rows form each optimiser step) that both sides do in processes of their own:
truing's by the code of its stages, the peer by its own trainer under its own interpreter. For each vocabulary and case

1. each side does the job once in its fresh process: that is its peak memory, and warms it up;
2. both compute the loss and gradients of the first optimiser step in float32, and unless they agree nothing is compared;
3. the peer tries its settings, and keeps the fastest (and measures that one's memory in another fresh process);
4. the sides take turns, ours and theirs, `repeats` times; where sampling is part of the work, each pair draws with a seed of
   its own, so that the interval holds what chance does to lengths.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import product
from pathlib import Path
from typing import Any

from benchmarks import machine
from benchmarks.environments import interpreter
from benchmarks.paired.parity import compare_files
from benchmarks.paired.ratio import Ratio, paired_ratio
from benchmarks.paired.settings import Settings, parse
from benchmarks.paired.worker import Worker

PEERS = "benchmarks/peers"
SEED = 0
OPTIMISER = {"lr": 1e-5, "betas": [0.9, 0.999], "eps": 1e-8, "max_grad_norm": 1.0}
"""On both sides: AdamW (fused), constant learning rate, clipping by global norm, no weight decay."""

MakeJob = Callable[[Path, int, Settings], dict[str, Any]]


@dataclass(frozen=True)
class Case:
    """A variant of a work, and what it is measured against."""

    name: str
    peer: str
    """Environment that the peer runs in."""
    script: str
    """Under `peers/`."""
    tuning: Sequence[Mapping[str, Any]]
    """Settings of the peer that are tried, the likeliest first; the fastest is compared with. `--quick` takes the first."""
    figure: Mapping[str, float]
    """What the ratio should reach, by precision."""
    job: Mapping[str, Any] = field(default_factory=dict)
    """What it changes in the job."""
    parity_job: Mapping[str, Any] = field(default_factory=dict)
    """What parity is shown on in its place, where the sides are not the same model."""
    fixed_threads: bool = False
    """Whether the peer keeps the threads that it started with, and so is started for each number of them."""


@dataclass(frozen=True)
class Work:
    """One of W1 to W6."""

    name: str
    ours: str
    """Module of truing's side."""
    make_job: MakeJob
    """Writes the model into the folder; the job for this vocabulary."""
    cases: Sequence[Case]
    quick_cases: Sequence[str] = ()
    """Those of `--quick`, where it leaves some out."""
    per_token: bool = False
    """Compare seconds a token drawn, where both sides draw and nothing else is done."""


def main(work: Work, description: str, arguments: Sequence[str] | None = None) -> None:
    """Measure, print a line a configuration and the smallest ratio's last, write the results. Exit code 1 without parity."""
    settings = parse(work.name, [case.name for case in work.cases], description, arguments, quick_cases=work.quick_cases)
    rows: list[dict[str, Any]] = []
    for row in measure(work, settings):
        rows.append(row)
        print(json.dumps(headline(work.name, row)), flush=True)
        if settings.out is not None:  # after each: a grid takes long, and may be stopped
            write(settings.out, work, settings, rows)
    print(json.dumps(headline(work.name, slowest(rows))), flush=True)
    if not all(row["parity"]["holds"] for row in rows):
        sys.exit(1)


def measure(work: Work, settings: Settings) -> Iterator[dict[str, Any]]:
    """A row of results for each vocabulary, case, precision and number of threads."""
    for vocab in settings.vocabularies:
        with tempfile.TemporaryDirectory(prefix="truing-bench-") as folder:
            job = work.make_job(Path(folder), vocab, settings)
            bench = _Bench(work, settings, Path(folder), job)
            for case in (case for case in work.cases if case.name in settings.cases):
                yield from ({"case": case.name, "vocab": vocab, **row} for row in bench.rows(case))


class _Bench:
    """One vocabulary."""

    def __init__(self, work: Work, settings: Settings, folder: Path, job: dict[str, Any]) -> None:
        self._work, self._settings, self._folder = work, settings, folder
        self._job = {
            "device": settings.device,
            "optimiser": OPTIMISER,
            "scratch": str(folder),
            **job,
        }
        self._parities: dict[str, dict[str, Any]] = {}
        """By what they were shown on."""

    def rows(self, case: Case) -> Iterator[dict[str, Any]]:
        """The case in every precision; a row without figures where the sides disagree."""
        parity = self._stand_in(case) if case.parity_job else None
        dtypes = self._settings.dtypes if parity else dict.fromkeys(("float32", *self._settings.dtypes))
        for dtype, threads in product(dtypes, self._starts(case)):
            with self._sides(case, dtype, max(threads)) as (ours, peer):
                first = {"ours": _once(ours, {}, threads), "peer": _once(peer, case.tuning[0], threads)}
                if parity is None:
                    parity = self._compare(case, ours, peer)
                elif not case.parity_job:
                    parity = {**parity, dtype: self._compare(case, ours, peer)}
                if not parity["holds"]:
                    yield {"dtype": dtype, "threads": 1, "parity": parity, **dict.fromkeys(MISSING)}
                    return
                if dtype in self._settings.dtypes:
                    rows = self._rows(case, dtype, threads, ours, peer, first)
                    yield from ({**row, "parity": parity} for row in rows)

    def _starts(self, case: Case) -> Sequence[Sequence[int]]:
        """Numbers of threads that the same processes serve."""
        return [(n,) for n in self._settings.threads] if case.fixed_threads else [self._settings.threads]

    def _stand_in(self, case: Case) -> dict[str, Any]:
        """Parity of what stands in for this case; shown once, where several cases have the same."""
        other = replace(case, job={**case.job, **case.parity_job}, parity_job={})
        if (key := _key(other)) not in self._parities:
            with self._sides(other, "float32", max(self._settings.threads)) as (ours, peer):
                self._compare(other, ours, peer)
        return self._parities[key]

    def _compare(self, case: Case, ours: Worker, peer: Worker) -> dict[str, Any]:
        files = [self._folder / f"{side}.safetensors" for side in ("ours", "peer")]
        found = compare_files(ours.parity(files[0]), peer.parity(files[1]), *files)
        row = {**found._asdict(), "holds": found.holds}
        self._parities.setdefault(_key(case), row)
        return row

    def _rows(
        self, case: Case, dtype: str, threads: Sequence[int], ours: Worker, peer: Worker, first: dict[str, dict[str, Any]]
    ) -> Iterator[dict[str, Any]]:
        tuned = [{"settings": case.tuning[0], "seconds": first["peer"]["seconds"]}]
        tries = [] if self._settings.quick or len(case.tuning) == 1 else case.tuning
        tuned += [{"settings": tried, "seconds": _once(peer, tried, threads)["seconds"]} for tried in tries]
        best = min(tuned, key=lambda tried: tried["seconds"])["settings"]
        if best != case.tuning[0]:
            with self._peer(case, dtype, max(threads)) as fresh:
                first["peer"] = _once(fresh, best, threads)
        for number in threads:
            ours.run(number, {"seed": SEED})
            pairs = [
                (ours.run(number, {"seed": seed}), peer.run(number, {**best, "seed": seed}))
                for seed in range(1, self._settings.repeats + 1)
            ]
            yield {
                "dtype": dtype,
                "threads": number,
                "figure": case.figure[dtype],
                **_compared(pairs, per_token=self._work.per_token),
                **_memory(first),
                "peer_settings": best,
                "tuning": tuned,
                "versions": {"ours": ours.versions, "peer": peer.versions},
            }

    @contextmanager
    def _sides(self, case: Case, dtype: str, threads: int) -> Iterator[tuple[Worker, Worker]]:
        with self._ours(case, dtype, threads) as ours, self._peer(case, dtype, threads) as peer:
            yield ours, peer

    def _ours(self, case: Case, dtype: str, threads: int) -> Worker:
        return self._start(case, [sys.executable, "-m", self._work.ours], dtype, threads, "ours")

    def _peer(self, case: Case, dtype: str, threads: int) -> Worker:
        return self._start(case, [str(interpreter(case.peer)), f"{PEERS}/{case.script}"], dtype, threads, "peer")

    def _start(self, case: Case, command: list[str], dtype: str, threads: int, side: str) -> Worker:
        job = {**self._job, **case.job, "dtype": dtype, "threads": threads}
        return Worker(command, job, self._folder / f"{side}-{dtype}.json", inherit_path=side == "ours")


def _once(worker: Worker, settings: Mapping[str, Any], threads: Sequence[int]) -> dict[str, Any]:
    done = worker.run(threads[0], {**settings, "seed": SEED})
    return {**done, "baseline_bytes": worker.baseline_bytes}


def _key(case: Case) -> str:
    return json.dumps([case.script, dict(case.job)], sort_keys=True)


MISSING = ("ratio", "low", "high", "floor_fraction", "memory_ratio")
"""What a row cannot say where the sides disagree."""


def _compared(pairs: Sequence[tuple[dict[str, Any], dict[str, Any]]], *, per_token: bool) -> dict[str, Any]:
    def ratio_of(clock: str) -> Ratio:
        ours, peer = ([run[clock] / (run["tokens"] if per_token else 1) for run in side] for side in zip(*pairs, strict=True))
        return paired_ratio(ours, peer)

    ratio, cpu = ratio_of("seconds"), ratio_of("cpu_seconds")
    return {
        "ratio": ratio.value,
        "low": ratio.low,
        "high": ratio.high,
        "coverage": ratio.coverage,
        "cpu_ratio": cpu.value,
        "floor_fraction": sum(run["floor_seconds"] for run, _ in pairs) / sum(run["seconds"] for run, _ in pairs),
        "ours": [run for run, _ in pairs],
        "peer": [run for _, run in pairs],
    }


def _memory(first: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Peak resident memory of both sides' first runs, and of their processes before them."""
    peaks = {side: {name: run[name] for name in ("peak_bytes", "baseline_bytes")} for side, run in first.items()}
    above = [side["peak_bytes"] - side["baseline_bytes"] for side in peaks.values()]
    return {
        "memory": peaks,
        "memory_ratio": peaks["ours"]["peak_bytes"] / peaks["peer"]["peak_bytes"],
        "memory_ratio_above_baseline": above[0] / max(above[1], 1),
    }


def slowest(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The configuration where truing does worst: one without parity, else the smallest ratio."""
    return min(rows, key=lambda row: (row["parity"]["holds"], row["ratio"] or 0.0))


def headline(work: str, row: Mapping[str, Any]) -> dict[str, Any]:
    """What a configuration comes to, in a line."""
    numbers = {name: None if row[name] is None else round(row[name], 3) for name in MISSING}
    where = {name: row[name] for name in ("case", "dtype", "threads", "vocab")}
    return {"work": work, **numbers, "parity": row["parity"]["holds"], **where}


def write(path: Path, work: Work, settings: Settings, rows: list[dict[str, Any]]) -> None:
    """The results with what they were measured on."""
    given = sys.argv[1:]
    if "--out" in given:  # where results were written is nobody's business
        del given[given.index("--out") : given.index("--out") + 2]
    command = " ".join(["python", "-m", f"benchmarks.{Path(sys.argv[0]).stem}", *given])
    results = {
        "work": work.name,
        "command": command,
        "machine": machine.describe(),
        "device": settings.device,
        "model_size": settings.model_size,
        "seed": SEED,
        "repeats": settings.repeats,
        "rows": rows,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(results, indent=1) + "\n")
