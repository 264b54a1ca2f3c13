"""A person reads a round's proposed amendments and signs them off, or some of them.

truing amend runs/mine --round 1
truing amend runs/mine --round 1 --sign "Maria" --only length
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from truing.config import Config
from truing.errors import TruingError, nearest
from truing.program import amendments
from truing.program.amendments import Amendment
from truing.program.verdict import last_round
from truing.records import Guideline
from truing.store.artifacts import Artifact, Store, read_artifact
from truing.store.files import read_json, read_records, write_records, write_text

SIGN_OFF = "sign_off"


class SignOffConfig(Config):
    """Who signed which clauses."""

    by: str
    clauses: tuple[str, ...]


def proposals_text(root: Path, number: int | None) -> str:
    """A round's proposals as a readable diff."""
    return (_findings(root, number).path / "amendment.diff").read_text(encoding="utf-8")


def sign_off(root: Path, number: int | None, by: str, only: Sequence[str] | None) -> str:
    """Sign the proposals (or only some clauses) in a person's name; publishes `round-N/sign_off` and returns the diff."""
    found = _findings(root, number)
    proposed = read_records(found.path / "amendments.jsonl", Amendment)
    known = [a.clause for a in proposed]
    for clause in only or ():
        if clause not in known:
            raise TruingError(
                f"clause '{clause}' is not proposed (proposed: {', '.join(known) or 'none'}){nearest(clause, known)}"
            )
    if any(a.sign_off_simulated for a in proposed):
        raise TruingError(f"{found.path}: these amendments were signed by the recipe (approve_amendments = 'auto')")
    chosen = amendments.sign([a for a in proposed if not only or a.clause in only], by, simulated=False)
    before = guideline_of(root, _number(found))
    after = amendments.apply(before, chosen)
    config = SignOffConfig(by=by, clauses=tuple(a.clause for a in chosen))
    draft = Store(root).begin("sign_off", _name(_number(found)), config, {"findings": found.artifact_hash}, resume=True)
    if not isinstance(draft, Artifact):
        write_records(draft.path / "amendments.jsonl", chosen)
        write_text(draft.path / "guideline.md", after.text)
        draft.publish({"guideline_version": after.version}, (f"signed off by {by}",))
    return amendments.describe(before, after, chosen)


def next_guideline(root: Path, number: int, current: Guideline, approve: str) -> Guideline:
    """The guideline that round `number` + 1 is judged under.

    Raises TruingError where a person's sign-off is still missing.
    """
    if approve == "never":
        return current
    source = root / f"round-{number}" / "findings"
    if approve == "person":
        if not read_records(source / "amendments.jsonl", Amendment):
            return current
        source = root / _name(number)
        if not source.is_dir():
            raise TruingError(
                f"round {number} proposes amendments to the guideline, and a person must sign them off: read them with "
                f"`truing amend {root} --round {number}`, sign with --sign NAME, then run again with --resume."
            )
    artifact = read_artifact(source)
    text = (artifact.path / "guideline.md").read_text(encoding="utf-8")
    return current if text == current.text else Guideline(version=current.version + 1, text=text)


def guideline_of(root: Path, number: int) -> Guideline:
    """The guideline that a round's preferences were judged under."""
    folder = read_artifact(root / f"round-{number}" / "preferences").path
    version = int(read_json(folder / "summary.json")["guideline_version"])
    return Guideline(version=version, text=(folder / "guideline.md").read_text(encoding="utf-8"))


def _findings(root: Path, number: int | None) -> Artifact:
    return read_artifact(root / f"round-{number or last_round(root)}" / "findings")


def _number(found: Artifact) -> int:
    return int(found.path.parent.name.removeprefix("round-"))


def _name(number: int) -> str:
    return f"round-{number}/{SIGN_OFF}"
