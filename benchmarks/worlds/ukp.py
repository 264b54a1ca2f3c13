"""UKPConvArg1 with its votes: five people on each pair of arguments. The data lie beside the checkout."""

from __future__ import annotations

import gzip
import json
import sys
from pathlib import Path

from benchmarks.machine import ROOT
from truing.records import Comparison, Judgment, Prompt

DATA = ROOT.parent / "shared" / "data" / "ukpconvarg1" / "pairs.jsonl.gz"


def read_votes(path: Path, limit: int | None = None) -> tuple[list[Comparison], list[Judgment]]:
    """Pairs and votes. Argument 1 stood first for every rater, so `left` is `first`."""
    comparisons, judgments = [], []
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        for row in [json.loads(line) for line, _ in zip(lines, range(limit or sys.maxsize), strict=False)]:
            prompt = Prompt.from_text(f"{row['prompt']}: {row['stance']}", meta={"group": row["topic"]})
            comparisons.append(Comparison(comparison_id=row["id"], prompt=prompt, first=row["a1"], second=row["a2"]))
            for vote in row["votes"]:
                choice = {"a1": "first", "a2": "second", "equal": "tie"}[vote["choice"]]
                judgments.append(
                    Judgment(
                        comparison_id=row["id"],
                        rater_id=vote["rater"],
                        guideline_hash="ukp",
                        left="first",
                        choice=choice,
                        confidence=0.5 if choice == "tie" else 1.0,
                        simulated=False,
                    )
                )
    return comparisons, judgments
