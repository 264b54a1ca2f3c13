"""Comparisons and judgments from the files that `program/preferences.py` and the service write."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from truing.errors import TruingError
from truing.raters.columns import in_order
from truing.records import Comparison, Judgment
from truing.store.files import read_records


class Judged(NamedTuple):
    """Comparisons, and judgments of them in the order in which they were made."""

    comparisons: list[Comparison]
    judgments: list[Judgment]


def read_judged(judgments: Path, comparisons: Path | None = None) -> Judged:
    """Read both files. A folder stands for its judgments.jsonl; without `comparisons`, comparisons.jsonl beside the judgments
    is read.

    Raises TruingError naming file and line where a row cannot be used: a wrong field, a comparison that is not there, or a second
    answer of a rater to a comparison that is not marked as a repeat.
    """
    if not judgments.exists():
        raise TruingError(f"{judgments}: no such file or folder. Name a preference set, a judgment set, or a file of judgments")
    path = judgments / "judgments.jsonl" if judgments.is_dir() else judgments
    beside = comparisons or path.with_name("comparisons.jsonl")
    if comparisons is None and not beside.exists():
        raise TruingError(f"{beside}: no such file. Name the comparisons that {path.name} judges")
    rows = read_records(beside, Comparison)
    given = read_records(path, Judgment)
    if not given:
        raise TruingError(f"{path}: holds no judgments")
    known = {row.comparison_id for row in rows}
    first_line: dict[tuple[str, str], int] = {}
    for line, judgment in enumerate(given, start=1):
        if judgment.comparison_id not in known:
            raise TruingError(f"{path}:{line}: comparison {judgment.comparison_id!r} is not in {beside}")
        if judgment.repeat:
            continue
        earlier = first_line.setdefault((judgment.comparison_id, judgment.rater_id), line)
        if earlier != line:
            raise TruingError(
                f"{path}:{line}: {judgment.rater_id!r} judged {judgment.comparison_id!r} in line {earlier} already; keep the "
                "answer that stands, or mark a blind repeat as repeat = true"
            )
    return Judged(rows, in_order(given))
