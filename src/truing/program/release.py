"""A release: the policy that passed the gate, pinned by hash, with a model card written from the run's own numbers."""

from __future__ import annotations

import shutil
from pathlib import Path

from truing.config import Config
from truing.program import lineage, model_card
from truing.program.bench import Bench
from truing.store.artifacts import Artifact
from truing.store.files import write_json, write_text


class ReleaseConfig(Config):
    """Which round's candidate is released."""

    round: int
    candidate: str


def run(bench: Bench, reference: str) -> Artifact:
    """Publish `release/`: model/, MODEL_CARD.md, release.json. `reference` is the SFT policy it was trained from."""
    candidate = bench.recipe.run.candidate
    policy = bench.store.read(bench.name(candidate))
    decision = bench.store.read(bench.name("gate"))
    config = ReleaseConfig(round=bench.number, candidate=candidate)
    parents = {"policy": policy.artifact_hash, "gate": decision.artifact_hash}
    with bench.stage("release"):
        draft = bench.store.begin("release", "release", config, parents, resume=True)
        if isinstance(draft, Artifact):
            return draft
        shutil.copytree(policy.path / "model", draft.path / "model", dirs_exist_ok=True)
        node = lineage.trace(policy, lineage.known_roots(bench.store.root), "policy")
        card = model_card.write(
            bench.store.root, bench.number, candidate, node, base=Path(bench.base).name, sft=Path(reference).name
        )
        write_text(draft.path / "MODEL_CARD.md", card)
        write_json(draft.path / "release.json", {"round": bench.number, "candidate": candidate, **parents})
        judged = bench.store.read(bench.name("preferences")).manifest.notes if bench.has(bench.name("preferences")) else ()
        return draft.publish({"round": bench.number, "candidate": candidate}, judged)
