"""Judged answers of any known format, made into a judgment set that training reads.

truing convert testset-v1.json.gz --out sets/pandalm

from truing.collect.exchange.convert import convert
convert("testset-v1.json.gz", "sets/pandalm")
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from itertools import groupby
from pathlib import Path
from typing import Literal

from truing.collect.exchange.config import FieldNames, PairFormat
from truing.collect.exchange.formats import read_judged
from truing.collect.exchange.judged import Judged, Remark
from truing.collect.exchange.sets import (
    STAGE,
    NamedGuideline,
    SetSource,
    is_set,
    open_set,
    read_comparisons,
    read_guidelines,
    read_judgments,
    write_set,
)
from truing.collect.exchange.tables import REMARKS, read_table
from truing.config import Config
from truing.errors import TruingError
from truing.records import Comparison, Judgment
from truing.store.artifacts import Artifact, Store, hash_input
from truing.store.files import read_records

_PAIR_OF_RANKING = re.compile(r"#\d+-\d+$")
BadRows = Literal["error", "drop"]


class ConvertConfig(Config):
    """How a file is read, and what is written beside the records."""

    format: str | None = None
    """None = recognised by its columns."""
    names: FieldNames = FieldNames()
    bad_rows: BadRows = "error"
    pairs: tuple[PairFormat, ...] = ()
    """Other programs' formats to write into `pairs/`."""


def convert(
    source: str | Path, out: str | Path, config: ConvertConfig | None = None, *, guideline: NamedGuideline | None = None
) -> Artifact:
    """Make a judgment set of a file, of a folder with comparisons.jsonl and judgments.jsonl, or of another set.

    `guideline` is what the raters followed, where the file does not say and you know it. Raises TruingError naming file and line.
    """
    source, out, config = Path(source), Path(out), config or ConvertConfig()
    parents = {"source": hash_input(source)} | ({"guideline": guideline.guideline.guideline_hash} if guideline else {})
    found = _source(source, config, guideline)
    draft = Store(out.parent).begin(STAGE, out.name, config, parents, resume=True)
    return draft if isinstance(draft, Artifact) else write_set(draft, found, config.pairs)


def _source(source: Path, config: ConvertConfig, guideline: NamedGuideline | None) -> SetSource:
    if is_set(source):
        _, summary = open_set(source)
        left_out = {e.reason: e.count for e in summary.exclusions}
        return SetSource(summary.source, judged_of_set(source), read_guidelines(source), summary.campaigns, left_out)
    skipped: list[str] | None = [] if config.bad_rows == "drop" else None
    judged = gathered(read_file(source, config, skipped=skipped))
    if guideline is not None:
        judged = [_under(pair, guideline.guideline.guideline_hash) for pair in judged]
    problem = str((skipped or [""])[0]).replace(f"{source.parent}/", "")
    left_out = {f"rows that cannot be read; the first: {problem}": len(skipped)} if skipped else {}
    return SetSource(source.name, judged, [guideline] if guideline else [], exclusions=left_out)


def read_file(source: Path, config: ConvertConfig, *, skipped: list[str] | None = None) -> Iterator[Judged]:
    """Every comparison of a file, or of a folder with comparisons.jsonl and judgments.jsonl, with its judgments."""
    if not source.is_dir():
        return read_judged(source, config.format, config.names, skipped=skipped)
    comparisons = read_records(source / "comparisons.jsonl", Comparison)
    return iter(by_comparison(comparisons, read_records(source / "judgments.jsonl", Judgment)))


def by_comparison(comparisons: Iterable[Comparison], judgments: Iterable[Judgment]) -> list[Judged]:
    """Comparisons with their judgments; those nobody judged are left out. Raises TruingError for judgments of others."""
    found: dict[str, list[Judgment]] = defaultdict(list)
    for judgment in judgments:
        found[judgment.comparison_id].append(judgment)
    judged = [Judged(c, tuple(found.pop(c.comparison_id))) for c in comparisons if c.comparison_id in found]
    if found:
        raise TruingError(f"{len(found)} judged comparisons are not there, for example {min(found)!r}: give the file they are in")
    return judged


def gathered(judged: Iterable[Judged]) -> list[Judged]:
    """A comparison that comes several times as one, where it first came, with all its judgments.

    A rater who judged it again repeated, knowingly or not: a rater has one vote on a comparison.
    """
    found: dict[str, Judged] = {}
    for pair in judged:
        before = found.get(pair.comparison.comparison_id)
        if before is None:
            found[pair.comparison.comparison_id] = pair
            continue
        voted = {j.rater_id for j in before.judgments}
        again = (j.model_copy(update={"repeat": j.repeat or j.rater_id in voted}) for j in pair.judgments)
        found[pair.comparison.comparison_id] = Judged(before.comparison, (*before.judgments, *again))
    return list(found.values())


def judged_of_set(path: Path) -> Iterator[Judged]:
    """A set's comparisons with their judgments, one by one."""
    judgments = groupby(read_judgments(path), lambda judgment: judgment.comparison_id)
    remarks = groupby(read_table(path, REMARKS), lambda remark: remark.item_id)
    remarked, its_remarks = next(remarks, ("", iter(())))
    for comparison, (comparison_id, own) in zip(read_comparisons(path), judgments, strict=True):
        if comparison.comparison_id != comparison_id:
            raise TruingError(f"{path}: judgments of {comparison_id} stand where {comparison.comparison_id}'s are expected")
        found: tuple[Remark, ...] = ()
        if _PAIR_OF_RANKING.sub("", comparison_id) == remarked:
            found = tuple(its_remarks)
            remarked, its_remarks = next(remarks, ("", iter(())))
        yield Judged(comparison, tuple(own), found)


def _under(pair: Judged, guideline_hash: str) -> Judged:
    update = {"guideline_hash": guideline_hash}
    return Judged(pair.comparison, tuple(j if j.guideline_hash else j.model_copy(update=update) for j in pair.judgments))
