"""The gate as a stage of a round, and decided again on demand.

truing gate runs/quickstart --round 2 --set gate.max_kl_nats=20
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime
from pathlib import Path

from truing.errors import TruingError
from truing.program import evidence
from truing.program.bench import Bench
from truing.program.gate import GateConfig, GateDecision, decide
from truing.program.lineage import RUN_RECORD
from truing.program.recipe import POLICY_STAGES, Recipe
from truing.store.artifacts import MANIFEST, Artifact, read_artifact
from truing.store.files import read_json, write_json

PARENTS = ("preferences", "reward", "reward_tests", *POLICY_STAGES, "findings")
"""Artifacts of a round that a decision is about, besides those of each policy under `PER_POLICY`."""
PER_POLICY = ("monitor", "evaluate", "redteam")


def run(bench: Bench) -> Artifact:
    """Decide about the round's candidate; publish gate.json and evidence.json. A held release is a result, not an error."""
    name, candidate = bench.name("gate"), bench.recipe.run.candidate
    here = bench.store.root / f"round-{bench.number}"
    folders = [here / stage for stage in PARENTS] + [f for kind in PER_POLICY for f in sorted((here / kind).glob("*"))]
    parents = {
        folder.relative_to(here).as_posix(): read_artifact(folder).artifact_hash
        for folder in folders
        if (folder / MANIFEST).exists()
    }
    config: GateConfig = bench.recipe.gate
    with bench.stage(name) as progress:
        draft = bench.store.begin("gate", name, config, parents, resume=bench.resume)
        if isinstance(draft, Artifact):
            return draft
        found = evidence.gather(bench.store.root, bench.number, candidate)
        decision = decide(found, config, _today())
        write_json(draft.path / "gate.json", decision.model_dump(mode="json"))
        write_json(draft.path / "evidence.json", found.model_dump(mode="json"))
        progress.update(1, 1, {"decision": decision.decision})
        return draft.publish({"decision": decision.decision})


def decide_again(root: Path, number: int | None, overrides: Sequence[str]) -> GateDecision:
    """The decision on a finished round under the run's recipe with overrides, from what is on disk. Writes nothing."""
    recipe = Recipe.from_values(read_run_record(root), overrides, where=f"{root / RUN_RECORD} with --set")
    number = number or last_round(root)
    if not 1 <= number <= len(recipe.rounds):
        raise TruingError(f"{root}: has no round {number}")
    of_round = recipe.for_round(number)
    return decide(evidence.gather(root, number, of_round.run.candidate), of_round.gate, _today())


def read_run_record(root: Path) -> dict[str, object]:
    """The resolved recipe that a run wrote at its root."""
    path = root / RUN_RECORD
    if not path.exists():
        raise TruingError(f"{root}: not a run's folder (it has no {RUN_RECORD})")
    return dict(read_json(path))


def last_round(root: Path) -> int:
    """The highest round that has begun. Raises TruingError where none has."""
    numbers = [int(p.name.removeprefix("round-")) for p in root.glob("round-*") if p.name.removeprefix("round-").isdigit()]
    if not numbers:
        raise TruingError(f"{root}: no round has begun here")
    return max(numbers)


def decision_of(root: Path, number: int) -> str | None:
    """What a round's gate decided; None where it had none."""
    path = root / f"round-{number}" / "gate" / "gate.json"
    return GateDecision.model_validate(read_json(path)).decision if path.exists() else None


def _today() -> date:
    return datetime.now(UTC).date()
