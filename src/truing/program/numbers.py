"""A policy's numbers as a run left them on disk, for the printed table and the model card."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from truing.evals.report import PolicyReport
from truing.records import Estimate
from truing.store.files import read_json

ORDER = ("base", "sft", "dpo", "ppo", "grpo", "rloo")


def round_folders(root: Path) -> list[tuple[int, Path]]:
    """(number, folder) of every round, in order."""
    found = [(p.name.removeprefix("round-"), p) for p in root.glob("round-*") if p.is_dir()]
    return sorted((int(number), path) for number, path in found if number.isdigit())


def evaluated(folder: Path) -> dict[str, Mapping[str, Estimate]]:
    """Label -> estimates of every policy evaluated in a round."""
    found = {p.parent.name: p for p in (folder / "evaluate").glob("*/report.json")}
    labels = sorted(found, key=lambda label: (ORDER.index(label) if label in ORDER else len(ORDER), label))
    return {label: PolicyReport.model_validate(read_json(found[label])).estimates for label in labels}


def short(estimate: Estimate | None, digits: int = 2) -> str:
    """`0.52 [0.47, 0.57]`, or a dash where nothing was measured."""
    if estimate is None:
        return "-"
    value, low, high = (f"{round(v, digits) + 0.0:.{digits}f}" for v in (estimate.value, estimate.low, estimate.high))
    return f"{value} [{low}, {high}]"  # + 0.0 turns a negative zero into zero
