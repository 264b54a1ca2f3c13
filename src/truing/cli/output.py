"""What verbs print on stdout. Model output passes through `for_terminal`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from truing.program.plain_text import for_terminal

if TYPE_CHECKING:
    from truing.program.gate import GateDecision
    from truing.program.rounds import RunResult
    from truing.store.artifacts import Artifact


def print_text(text: str) -> None:
    """One text, safe for a terminal."""
    print(for_terminal(text))


def print_file(path: Path) -> None:
    """A file as it is, safe for a terminal."""
    print_text(path.read_text(encoding="utf-8"))


def print_artifact(artifact: Artifact, *, as_json: bool) -> None:
    """An artifact: its manifest as JSON, or where it is and its metrics."""
    if as_json:
        print_text(json.dumps(artifact.manifest.model_dump(mode="json"), indent=2, sort_keys=True))
        return
    lines = [f"{artifact.path}  [{artifact.artifact_hash[:12]}]"]
    lines += [f"  {name}: {value}" for name, value in artifact.manifest.metrics.items() if value is not None]
    lines += [f"  note: {note}" for note in artifact.manifest.notes]
    print_text("\n".join(lines))


def print_gate(decision: GateDecision, *, as_json: bool) -> None:
    """The decision and its reasons."""
    print_text(decision.to_json() if as_json else "\n".join([decision.decision, *(f"  {reason}" for reason in decision.reasons)]))


def print_result(result: RunResult, *, as_json: bool) -> None:
    """A finished run: the report's JSON, or the table of what changed."""
    if as_json:
        print_file(result.root / "report.json")
    else:
        print_text(result.summary)


def print_answers(prompts: list[str], answers: list[list[str]], *, as_json: bool) -> None:
    """Each prompt with its answers."""
    if as_json:
        rows = [{"prompt": p, "answers": a} for p, a in zip(prompts, answers, strict=True)]
        print(json.dumps(rows, ensure_ascii=True, indent=2))
        return
    for prompt, texts in zip(prompts, answers, strict=True):
        for text in texts:
            print_text(f"> {prompt}\n{text}\n")
