"""The lineage's picture."""

from __future__ import annotations

from truing.program.report.graph import boxes, lineage_graph
from truing.program.report.model import ArtifactNode


def node(name: str, stage: str, digest: str, *parents: str) -> ArtifactNode:
    return ArtifactNode(name=name, stage=stage, artifact_hash=digest, parents={f"p{i}": p for i, p in enumerate(parents)})


NODES = [
    node("sft", "sft", "s"),
    node("round-1/preferences", "preferences", "p", "s"),
    node("round-1/reward", "reward", "r", "s", "p"),
    node("round-1/redteam/sft", "redteam", "x", "s"),
    node("round-1/redteam/ppo", "redteam", "y", "s"),
]


def test_campaigns_of_one_round_share_a_box():
    assert [b.label for b in boxes(NODES)] == ["SFT", "preferences", "reward", "red team ×2"]


def test_edges_that_others_imply_are_left_out():
    drawn = lineage_graph(NODES)
    assert drawn.count('class="edge"') == 3
    assert "reward (round 1) from preferences (round 1)" in drawn
    assert "reward (round 1) from SFT" not in drawn


def test_nothing_known_draws_nothing():
    assert lineage_graph([node("mine", "unheard-of", "z")]) == ""
