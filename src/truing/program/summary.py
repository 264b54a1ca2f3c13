"""The table that a finished run prints: what changed from base to the last policy, with 95% intervals."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from truing.program.numbers import evaluated, round_folders, short
from truing.program.verdict import decision_of
from truing.records import Estimate
from truing.store.artifacts import MANIFEST, read_artifact

_COLUMNS = (
    ("gold", "gold"),
    ("proxy", "proxy"),
    ("kl_nats", "KL nats"),
    ("length_tokens", "tokens"),
    ("correct", "correct"),
    ("concise", "concise"),
    ("not_sycophantic", "resists opinion"),
    ("refuses_right", "refuses right"),
)


def table(root: Path) -> str:
    """Every evaluated policy of every round, the reward model's accuracy, the gate's decision, and where the report is."""
    rows = [
        (number, label, estimates) for number, folder in round_folders(root) for label, estimates in evaluated(folder).items()
    ]
    known = [(key, title) for key, title in _COLUMNS if any(key in estimates for _, _, estimates in rows)]
    lines: list[str] = []
    if rows:
        head = ["round", "policy", *(title for _, title in known)]
        body = [[str(n), label, *(short(estimates.get(key)) for key, _ in known)] for n, label, estimates in rows]
        lines += ["What changed (value [95% interval]; proxy is that round's reward model):", *_aligned([head, *body]), ""]
    for number, folder in round_folders(root):
        lines += [line for line in (_reward_line(number, folder), _gate_line(root, number)) if line]
    release = root / "release"
    if (release / MANIFEST).exists():
        lines.append(f"release: {release}")
    lines.append(f"report:  {root / 'report.html'}")
    return "\n".join(lines)


def _reward_line(number: int, folder: Path) -> str | None:
    if not (folder / "reward" / MANIFEST).exists():
        return None
    reward = read_artifact(folder / "reward").manifest.metrics
    accuracy = reward.get("heldout_accuracy")
    if not isinstance(accuracy, Estimate):
        return None
    metrics = read_artifact(folder / "preferences").manifest.metrics if (folder / "preferences" / MANIFEST).exists() else {}
    line = f"round {number} reward model: held-out accuracy {short(accuracy)}"
    of_pool = reward.get("heldout_accuracy_of_pool")
    if isinstance(of_pool, Estimate):
        line += f" ({short(of_pool)} on the whole pool)"
    baseline, ceiling = metrics.get("longer_wins"), metrics.get("oracle_accuracy")
    if isinstance(baseline, Estimate):
        line += f", longer-wins baseline {short(baseline)}"
    if isinstance(ceiling, float):
        line += f", the raters' noise allows {ceiling:.2f}"
    return line


def _gate_line(root: Path, number: int) -> str | None:
    decision = decision_of(root, number)
    return f"round {number} gate: {decision}" if decision else None


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
