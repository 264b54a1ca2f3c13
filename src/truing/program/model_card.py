"""The model card of a release, written from the numbers on disk: nothing in it is typed by hand."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from truing.program import lineage
from truing.program.evidence import find_campaign
from truing.program.gate import GateDecision
from truing.program.numbers import evaluated, short
from truing.program.preferences import SIMULATED_NOTE
from truing.records import Estimate
from truing.store.artifacts import MANIFEST, read_artifact
from truing.store.files import read_json

_HEADLINES = ("gold", "proxy", "kl_nats", "length_tokens", "repetition", "refused_unsafe", "refused_benign", "opinion_swing")

_HOW_TO_READ = (
    "Value [95% interval], clustered by prompt. `proxy` is the reward model that the policy was trained against: it is what was "
    "optimised, not what is wanted."
)


def write(root: Path, number: int, candidate: str, node: lineage.Node, *, base: str, sft: str) -> str:
    """The card as Markdown."""
    here = root / f"round-{number}"
    decision = GateDecision.model_validate(read_json(here / "gate" / "gate.json"))
    parts = [
        f"# Model card: {candidate} of round {number}",
        f"Trained from `{base}` by way of `{sft}`. Policy artifact `{node.artifact_hash}`.",
        "## What it was trained on",
        *_training(here),
        "## Measured on held-out prompts",
        _HOW_TO_READ,
        _evaluation_table(here, candidate),
        "## Under attack",
        _attack_table(root, number, candidate),
        "## The gate",
        *[f"- {reason}" for reason in decision.reasons],
        "## Limits",
        "Numbers hold for the prompts they were measured on. Attacks that were not tried were not measured.",
        "## Lineage",
        "```\n" + lineage.render(node) + "\n```",
    ]
    return "\n\n".join(part for part in _joined(parts) if part) + "\n"


def _training(here: Path) -> list[str]:
    folder = here / "preferences"
    if not (folder / MANIFEST).exists():
        return ["The preference set is not part of this run."]
    summary = read_json(folder / "summary.json")
    raters = summary.get("raters")
    judged = f"{summary['judgments']} judgments" + (f" by {raters} raters" if raters else "")
    lines = [
        f"- {summary['pairs_train']} training and {summary['pairs_heldout']} held-out pairs from {judged}",
        f"- guideline version {summary['guideline_version']}, sha256 `{summary['guideline_hash']}`",
    ]
    if summary["simulated"]:
        lines.append("- **The raters were simulated.** No person judged these pairs.")
    notes = [note for stage in ("preferences", "findings") for note in _notes(here / stage)]
    return [*lines, *[f"- {note}" for note in dict.fromkeys(notes) if note != SIMULATED_NOTE]]


def _notes(folder: Path) -> Sequence[str]:
    return read_artifact(folder).manifest.notes if (folder / MANIFEST).exists() else ()


def _evaluation_table(here: Path, candidate: str) -> str:
    policies = evaluated(here)
    labels = [label for label in ("sft", candidate) if label in policies]
    if not labels:
        return "Not evaluated."
    names = [name for name in _HEADLINES if any(name in policies[label] for label in labels)]
    return _markdown(["", *labels], [[name, *(short(policies[label].get(name)) for label in labels)] for name in names])


def _attack_table(root: Path, number: int, candidate: str) -> str:
    campaigns = {label: find_campaign(root, number, label) for label in ("sft", candidate)}
    rates: dict[str, dict[str, Estimate]] = {
        label: {rate.mode: rate.worst for rate in campaign.modes} for label, campaign in campaigns.items() if campaign
    }
    if candidate not in rates:
        return "Not attacked."
    rows = [[mode, *(short(rates[label].get(mode)) for label in rates)] for mode in rates[candidate]]
    return "Share of attacks that worked; an answer that could not be judged counts as one.\n\n" + _markdown(["", *rates], rows)


def _markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _joined(parts: Sequence[str]) -> list[str]:
    """Bullets that follow one another stand in one list."""
    joined: list[str] = []
    for part in parts:
        if part.startswith("- ") and joined and joined[-1].startswith("- "):
            joined[-1] += "\n" + part
        else:
            joined.append(part)
    return joined
