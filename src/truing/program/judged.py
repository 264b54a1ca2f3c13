"""What people judged, read from a folder: a judgment set (exported or converted), or a finished preference set's own records."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from truing.collect.exchange import sets
from truing.errors import TruingError
from truing.raters import files
from truing.raters.columns import in_order
from truing.records import Comparison, Guideline, Judgment
from truing.store.artifacts import read_artifact
from truing.store.files import read_json, read_records


class JudgedFolder(NamedTuple):
    """Comparisons, everyone's judgments of them, and what is known of the guidelines."""

    comparisons: list[Comparison]
    judgments: list[Judgment]
    versions: dict[str, int]
    """Guideline hash -> version."""
    guideline: Guideline | None
    """The newest one whose text is known."""
    notes: tuple[str, ...]


def is_judged(path: Path) -> bool:
    """Whether a folder holds comparisons with their judgments."""
    return sets.is_set(path) or all((path / f"{name}.jsonl").is_file() for name in ("comparisons", "judgments"))


def read_folder(path: Path) -> JudgedFolder:
    """Read such a folder. Raises TruingError where it is none."""
    if sets.is_set(path):
        return _read_set(path)
    if not is_judged(path):
        raise TruingError(f"{path}: holds no judged comparisons; name a judgment set (`truing convert`), or a preference set")
    summary = read_json(path / "summary.json")
    guideline = Guideline(version=summary["guideline_version"], text=(path / "guideline.md").read_text(encoding="utf-8"))
    versions = {digest: version for digest, version in summary["guideline_versions"].items() if version is not None}
    return JudgedFolder(
        read_records(path / "comparisons.jsonl", Comparison),
        read_records(path / "judgments.jsonl", Judgment),
        versions,
        guideline,
        read_artifact(path).manifest.notes,
    )


def _read_set(path: Path) -> JudgedFolder:
    artifact, summary = sets.open_set(path)
    known = [named.guideline for named in sets.read_guidelines(path)]
    return JudgedFolder(
        list(sets.read_comparisons(path)),
        list(sets.read_judgments(path)),
        {use.guideline_hash: use.version for use in summary.guidelines if use.version is not None},
        max(known, key=lambda guideline: guideline.version, default=None),
        artifact.manifest.notes,
    )


def read_judged(judgments: Path, comparisons: Path | None = None) -> files.Judged:
    """What a judgment set, a preference set or a file of judgments (and one of comparisons) holds, judgments in the order made.

    Raises TruingError as `raters.files.read_judged`, and where a set, which has its own, is given other comparisons.
    """
    if not sets.is_set(judgments):
        return files.read_judged(judgments, comparisons)
    if comparisons is not None:
        raise TruingError(f"{judgments} is a judgment set and holds its own comparisons: leave {comparisons} out")
    return files.Judged(list(sets.read_comparisons(judgments)), in_order(sets.read_judgments(judgments)))


def read_judgments(path: Path) -> tuple[list[Judgment], dict[str, int]]:
    """People's judgments from a file or a folder, and guideline hash -> version where the folder says."""
    if path.is_dir():
        found = read_folder(path)
        return found.judgments, found.versions
    return read_records(path, Judgment), {}
