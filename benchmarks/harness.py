"""How every work is compared with its peer: parity first, then the peer's settings, then pairs of runs, then memory.

A work is a job (a model folder, tokens, which rows form each optimiser step) that both sides do in processes of their own:
truing's by the code of its stages, the peer by its own trainer under its own interpreter. For each vocabulary and case

1. both sides compute the loss and gradients of the first optimiser step in float32, and unless they agree nothing is timed;
2. the peer runs each of its settings once, and keeps the fastest (which warms it up; truing runs once for that);
3. the sides take turns, ours and theirs, `repeats` times; where sampling is part of the work, each pair draws with a seed of
   its own, so that the interval holds what chance does to lengths;
4. fresh processes do the job once, for their peak memory.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from benchmarks import machine
from benchmarks.environments import interpreter
from benchmarks.parity import compare_files
from benchmarks.ratio import Ratio, paired_ratio
from benchmarks.settings import Settings, parse
from benchmarks.worker import Worker

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


@dataclass(frozen=True)
class Work:
    """One of W1 to W6."""

    name: str
    ours: str
    """Module of truing's side."""
    make_job: MakeJob
    """Writes the model into the folder; the job for this vocabulary."""
    cases: Sequence[Case]
    per_token: bool = False
    """Compare seconds a token drawn, where both sides draw and nothing else is done."""


def main(work: Work, description: str, arguments: Sequence[str] | None = None) -> None:
    """Measure, print a line a configuration and the smallest ratio's last, write the results. Exit code 1 without parity."""
    settings = parse(work.name, [case.name for case in work.cases], description, arguments)
    rows: list[dict[str, Any]] = []
    for row in measure(work, settings):
        rows.append(row)
        print(json.dumps(headline(work.name, row)), flush=True)
    if settings.out is not None:
        write(settings.out, work, settings, rows)
    print(json.dumps(headline(work.name, slowest(rows))), flush=True)
    if not all(row["parity"]["holds"] for row in rows):
        sys.exit(1)


def measure(work: Work, settings: Settings) -> Iterator[dict[str, Any]]:
    """A row of results for each vocabulary, case, precision and number of threads."""
    for vocab in settings.vocabularies:
        with tempfile.TemporaryDirectory(prefix="truing-bench-") as folder:
            job = work.make_job(Path(folder), vocab, settings)
            for case in (case for case in work.cases if case.name in settings.cases):
                bench = _Bench(work, case, settings, Path(folder), {**job, **case.job})
                yield from ({"case": case.name, "vocab": vocab, **row} for row in bench.rows())


class _Bench:
    """One case with one vocabulary."""

    def __init__(self, work: Work, case: Case, settings: Settings, folder: Path, job: dict[str, Any]) -> None:
        self._work, self._case, self._settings, self._folder = work, case, settings, folder
        self._job = {
            "device": settings.device,
            "optimiser": OPTIMISER,
            "threads": max(settings.threads),
            "scratch": str(folder),
            **job,
        }

    def rows(self) -> Iterator[dict[str, Any]]:
        parity = self._parity() if self._case.parity_job else None
        with self._sides("float32") as (ours, peer):
            parity = parity or self._compare(ours, peer)
            if not parity["holds"]:
                yield {"dtype": "float32", "threads": 1, "parity": parity, **dict.fromkeys(MISSING)}
                return
            if "float32" in self._settings.dtypes:
                yield from self._rows("float32", ours, peer, parity)
        if "bfloat16" in self._settings.dtypes:
            with self._sides("bfloat16") as (ours, peer):
                rounded = {} if self._case.parity_job else {"bfloat16": self._compare(ours, peer)}
                yield from self._rows("bfloat16", ours, peer, {**parity, **rounded})

    def _parity(self) -> dict[str, Any]:
        """Of what stands in for this case."""
        stand_in = _Bench(
            self._work, replace(self._case, parity_job={}), self._settings, self._folder, {**self._job, **self._case.parity_job}
        )
        with stand_in._sides("float32") as (ours, peer):
            return self._compare(ours, peer)

    def _compare(self, ours: Worker, peer: Worker) -> dict[str, Any]:
        files = [self._folder / f"{side}.safetensors" for side in ("ours", "peer")]
        found = compare_files(ours.parity(files[0]), peer.parity(files[1]), *files)
        return {**found._asdict(), "holds": found.holds}

    def _rows(self, dtype: str, ours: Worker, peer: Worker, parity: dict[str, Any]) -> Iterator[dict[str, Any]]:
        tuned = self._tune(peer)
        best = min(tuned, key=lambda tried: tried["seconds"])["settings"]
        memory = self._memory(dtype, best)
        for threads in self._settings.threads:
            ours.run(threads, {"seed": SEED})
            pairs = [
                (ours.run(threads, {"seed": seed}), peer.run(threads, {**best, "seed": seed}))
                for seed in range(1, self._settings.repeats + 1)
            ]
            yield {
                "dtype": dtype,
                "threads": threads,
                "figure": self._case.figure[dtype],
                **_compared(pairs, per_token=self._work.per_token),
                **memory,
                "parity": parity,
                "peer_settings": best,
                "tuning": tuned,
                "versions": {"ours": ours.versions, "peer": peer.versions},
            }

    def _tune(self, peer: Worker) -> list[dict[str, Any]]:
        threads = self._settings.threads[0]
        tries = self._case.tuning[:1] if self._settings.quick else self._case.tuning
        return [{"settings": tried, "seconds": peer.run(threads, {**tried, "seed": SEED})["seconds"]} for tried in tries]

    def _memory(self, dtype: str, best: Mapping[str, Any]) -> dict[str, Any]:
        """Peak resident memory of fresh processes that do the job once, and of the same processes before they began."""
        peaks: dict[str, dict[str, int]] = {}
        for side, start in (("ours", self._ours), ("peer", self._peer)):
            with start(dtype) as worker:
                peak = worker.run(1, {**(best if side == "peer" else {}), "seed": SEED})["peak_bytes"]
                peaks[side] = {"peak_bytes": peak, "baseline_bytes": worker.baseline_bytes}
        ratio = peaks["ours"]["peak_bytes"] / peaks["peer"]["peak_bytes"]
        above = [side["peak_bytes"] - side["baseline_bytes"] for side in peaks.values()]
        return {"memory": peaks, "memory_ratio": ratio, "memory_ratio_above_baseline": above[0] / max(above[1], 1)}

    @contextmanager
    def _sides(self, dtype: str) -> Iterator[tuple[Worker, Worker]]:
        with self._ours(dtype) as ours, self._peer(dtype) as peer:
            yield ours, peer

    def _ours(self, dtype: str) -> Worker:
        return self._start([sys.executable, "-m", self._work.ours], dtype, "ours")

    def _peer(self, dtype: str) -> Worker:
        return self._start([str(interpreter(self._case.peer)), f"{PEERS}/{self._case.script}"], dtype, "peer")

    def _start(self, command: list[str], dtype: str, side: str) -> Worker:
        job = {**self._job, "dtype": dtype}
        return Worker(command, job, self._folder / f"{side}-{dtype}.json", inherit_path=side == "ours")


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
    command = f"python -m benchmarks.{Path(sys.argv[0]).stem} {' '.join(sys.argv[1:])}".strip()
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
