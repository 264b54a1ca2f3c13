"""What verbs print on stdout. Model output passes through `for_terminal`."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from truing.program.plain_text import for_terminal

if TYPE_CHECKING:
    from truing.program.gate import GateDecision
    from truing.program.rounds import RunResult
    from truing.program.speak import Piece
    from truing.store.artifacts import Artifact


def print_text(text: str) -> None:
    """One text, safe for a terminal."""
    print(for_terminal(text))


def print_pieces(pieces: Iterable[str]) -> None:
    """One text as it comes, safe for a terminal, and a line break."""
    for piece in pieces:
        print(for_terminal(piece), end="", flush=True)
    print()


def print_notice(notice: str | None) -> None:
    """Something the user should know, beside the result."""
    if notice is not None:
        print(for_terminal(f"note: {notice}"), file=sys.stderr)


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


def print_answers(prompts: list[str], answers: list[list[str]]) -> None:
    """Each prompt with its answers, as JSON."""
    rows = [{"prompt": p, "answers": a} for p, a in zip(prompts, answers, strict=True)]
    print(json.dumps(rows, ensure_ascii=True, indent=2))


def print_answers_as_drawn(prompts: list[str], pieces: Iterable[Piece]) -> None:
    """Answer after answer, each below its prompt, piece by piece."""
    is_new = True
    for piece in pieces:
        if is_new:
            print_text(f"> {prompts[piece.conversation]}")
        print(for_terminal(piece.text), end="\n\n" if piece.is_last else "", flush=True)
        is_new = piece.is_last
