"""A judgment set: comparisons and what raters answered, frozen, in a folder that training reads as it is.

    comparisons.parquet judgments.parquet raters.parquet    the records; raters by pseudonym
    remarks.parquet                                         scores, critiques, rewrites
    guidelines/HASH.md                                      every guideline that a judgment names and whose text is known
    set.json                                                what it is made of (SetSummary)
    pairs/                                                  the same as other programs read it, where asked for (`pairs`)
    manifest.json

It is an artifact: written under another name and renamed once whole, recognised by its content hash, found by `truing lineage`.
Everything but the manifest's times depends on the data alone, to the byte.
"""

from __future__ import annotations

import hashlib
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from pydantic import JsonValue

from truing.collect.exchange.config import PairFormat
from truing.collect.exchange.judged import Judged
from truing.collect.exchange.pairs import PairWriter
from truing.collect.exchange.tables import COMPARISONS, JUDGMENTS, RATERS, REMARKS, Rater, TableWriter, read_table
from truing.errors import TruingError
from truing.records import Comparison, Guideline, Judgment, Record
from truing.store.artifacts import Artifact, Draft, read_artifact
from truing.store.files import read_json, write_json, write_text

STAGE = "judgments"
SUMMARY = "set.json"


class NamedGuideline(NamedTuple):
    """A guideline and the name of the document it is a version of."""

    name: str
    guideline: Guideline


class GuidelineUse(Record):
    """A guideline that judgments of the set were made under. `name` and `version` are None where only its hash is known."""

    guideline_hash: str
    name: str | None
    version: int | None
    judgments: int


class Selection(Record):
    """Comparisons chosen by one strategy, and with what probabilities (None: none was recorded)."""

    strategy: str
    comparisons: int
    with_propensity: int
    propensity_min: float | None
    propensity_mean: float | None
    propensity_max: float | None


class Exclusion(Record):
    """What is not in the set, and why: `count` judgments, or rows of a file."""

    reason: str
    count: int


class SetSummary(Record):
    """What a set is made of. `set_hash` covers every comparison, judgment and remark, in order."""

    source: str
    """Where it comes from: "service" or the file's name."""
    campaigns: tuple[str, ...]
    comparisons: int
    judgments: int
    raters: int
    simulated: int
    gold: int
    """Judgments of comparisons whose answer was known beforehand."""
    repeats: int
    surplus: int
    guidelines: tuple[GuidelineUse, ...]
    selection: tuple[Selection, ...]
    exclusions: tuple[Exclusion, ...]
    pairs: dict[str, dict[str, int]]
    """Other programs' formats: what was written, what they cannot hold."""
    set_hash: str


@dataclass(frozen=True)
class SetSource:
    """What goes into a set. `judged` is read once, in order, and never held whole; each comparison comes once."""

    name: str
    judged: Iterable[Judged]
    guidelines: Sequence[NamedGuideline] = ()
    campaigns: tuple[str, ...] = ()
    exclusions: Mapping[str, int] = field(default_factory=dict)
    """Reason -> how many."""


@dataclass
class _Tally:
    """Counts that grow with raters, guidelines and strategies, not with judgments."""

    comparisons: int = 0
    unjudged: int = 0
    raters: Counter[str] = field(default_factory=Counter)
    simulated_raters: set[str] = field(default_factory=set)
    guidelines: Counter[str] = field(default_factory=Counter)
    kinds: Counter[str] = field(default_factory=Counter)
    propensities: dict[str, list[float]] = field(default_factory=dict)
    """Strategy -> comparisons, those with a propensity, its sum, least and largest."""

    def add(self, pair: Judged) -> None:
        self.comparisons += 1
        strategy = self.propensities.setdefault(pair.comparison.strategy, [0, 0, 0.0, 1.0, 0.0])
        strategy[0] += 1
        p = pair.comparison.propensity
        if p is not None:
            strategy[1:] = [strategy[1] + 1, strategy[2] + p, min(strategy[3], p), max(strategy[4], p)]
        for judgment in pair.judgments:
            self.raters[judgment.rater_id] += 1
            self.guidelines[judgment.guideline_hash] += 1
            if judgment.simulated:
                self.simulated_raters.add(judgment.rater_id)
            self.kinds.update(
                {
                    "simulated": judgment.simulated,
                    "gold": pair.comparison.gold is not None,
                    "repeats": judgment.repeat,
                    "surplus": judgment.surplus,
                }
            )

    def selection(self) -> tuple[Selection, ...]:
        return tuple(
            Selection(
                strategy=name,
                comparisons=int(n),
                with_propensity=int(known),
                propensity_min=low if known else None,
                propensity_mean=round(total / known, 9) if known else None,
                propensity_max=high if known else None,
            )
            for name, (n, known, total, low, high) in sorted(self.propensities.items())
        )


def write_set(draft: Draft, source: SetSource, formats: Sequence[PairFormat] = ()) -> Artifact:
    """Write a set into an open draft and publish it. Time is linear in judgments; memory does not grow with them.

    Raises TruingError for a set without judgments. A set that could not be written leaves nothing behind.
    """
    try:
        summary = _write_files(draft.path, source, formats)
    except BaseException:
        shutil.rmtree(draft.path)
        raise
    return draft.publish(_metrics(summary), _notes(summary))


def _write_files(folder: Path, source: SetSource, formats: Sequence[PairFormat]) -> SetSummary:
    tally, digest = _Tally(), hashlib.sha256()
    with ExitStack() as stack:
        comparisons = stack.enter_context(TableWriter(folder, COMPARISONS))
        judgments = stack.enter_context(TableWriter(folder, JUDGMENTS))
        remarks = stack.enter_context(TableWriter(folder, REMARKS))
        pairs = [stack.enter_context(PairWriter(folder, name)) for name in formats]
        for judged in source.judged:
            if not judged.judgments:
                tally.unjudged += 1
                continue
            tally.add(judged)
            comparisons.add(judged.comparison)
            digest.update(judged.comparison.model_dump_json().encode())
            for judgment in judged.judgments:
                judgments.add(judgment)
                digest.update(judgment.model_dump_json().encode())
            for remark in judged.remarks:
                remarks.add(remark)
                digest.update(remark.model_dump_json().encode())
            for writer in pairs:
                writer.add(judged)
    if not tally.raters:
        raise TruingError(f"{source.name}: there are no judgments to put into a set")
    _write_raters(folder, tally)
    known = {named.guideline.guideline_hash: named for named in source.guidelines}
    for digest_, named in known.items():
        write_text(folder / "guidelines" / f"{digest_}.md", named.guideline.text)
    summary = _summary(source, tally, known, digest.hexdigest(), {w.name: w.counts for w in pairs})
    write_json(folder / SUMMARY, summary.model_dump(mode="json"))
    return summary


def _write_raters(folder: Path, tally: _Tally) -> None:
    with TableWriter(folder, RATERS) as writer:
        for rater_id, count in sorted(tally.raters.items()):
            writer.add(Rater(rater_id=rater_id, judgments=count, simulated=rater_id in tally.simulated_raters))


def _summary(
    source: SetSource, tally: _Tally, known: Mapping[str, NamedGuideline], set_hash: str, pairs: dict[str, dict[str, int]]
) -> SetSummary:
    uses = [
        GuidelineUse(
            guideline_hash=digest,
            name=known[digest].name if digest in known else None,
            version=known[digest].guideline.version if digest in known else None,
            judgments=count,
        )
        for digest, count in sorted(tally.guidelines.items())
    ]
    left_out = {**source.exclusions, "comparisons that nobody judged": tally.unjudged}
    return SetSummary(
        source=source.name,
        campaigns=source.campaigns,
        comparisons=tally.comparisons,
        judgments=tally.raters.total(),
        raters=len(tally.raters),
        simulated=tally.kinds["simulated"],
        gold=tally.kinds["gold"],
        repeats=tally.kinds["repeats"],
        surplus=tally.kinds["surplus"],
        guidelines=tuple(uses),
        selection=tally.selection(),
        exclusions=tuple(Exclusion(reason=reason, count=n) for reason, n in sorted(left_out.items()) if n),
        pairs=pairs,
        set_hash=set_hash,
    )


def _metrics(summary: SetSummary) -> dict[str, float | int | str | None]:
    counts = ("comparisons", "judgments", "raters", "simulated", "gold", "repeats", "surplus")
    plain: dict[str, float | int | str | None] = {name: getattr(summary, name) for name in counts}
    return plain | {"set_hash": summary.set_hash}


def _notes(summary: SetSummary) -> tuple[str, ...]:
    notes = [f"judgments from {summary.source}: " + ", ".join(summary.campaigns)] if summary.campaigns else []
    notes += [f"raters simulated: {summary.simulated} of {summary.judgments} judgments"] if summary.simulated else []
    return (*notes, *(f"left out: {e.count} ({e.reason})" for e in summary.exclusions))


def is_set(path: Path) -> bool:
    """Whether a folder is a judgment set."""
    return (path / SUMMARY).is_file() and (path / JUDGMENTS.file).is_file()


def open_set(path: Path) -> tuple[Artifact, SetSummary]:
    """A set's manifest and summary. Raises TruingError where the folder is none."""
    if not is_set(path):
        raise TruingError(f"{path}: not a judgment set (it has no {SUMMARY}). Make one with `truing convert`, or export it")
    found: dict[str, JsonValue] = read_json(path / SUMMARY)
    return read_artifact(path), SetSummary.model_validate(found)


def read_comparisons(path: Path) -> Iterator[Comparison]:
    """A set's comparisons, in order."""
    return read_table(path, COMPARISONS)


def read_judgments(path: Path) -> Iterator[Judgment]:
    """A set's judgments, in order: those of one comparison follow each other."""
    return read_table(path, JUDGMENTS)


def read_guidelines(path: Path) -> list[NamedGuideline]:
    """The guidelines of a set whose text is known, by version."""
    _, summary = open_set(path)
    known = [(use.name, use.version, use.guideline_hash) for use in summary.guidelines if use.name is not None]
    return [
        NamedGuideline(name, Guideline(version=version or 0, text=_text(path / "guidelines" / f"{digest}.md")))
        for name, version, digest in sorted(known)
    ]


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8")
