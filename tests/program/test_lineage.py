from pathlib import Path

import pytest

from truing.config import Config
from truing.errors import TruingError
from truing.program import lineage
from truing.records import Guideline, Judgment
from truing.store.artifacts import Artifact, Draft, Store
from truing.store.files import write_json, write_records


class Settings(Config):
    rate: float = 0.5


def publish(store: Store, stage: str, name: str, parents: dict[str, str], judgments: list[Judgment] | None = None) -> Artifact:
    draft = store.begin(stage, name, Settings(), parents)
    assert isinstance(draft, Draft)
    if judgments:
        write_records(draft.path / "judgments.jsonl", judgments)
        write_json(draft.path / "summary.json", {"guideline_versions": {j.guideline_hash: 2 for j in judgments}})
    return draft.publish({}, ("raters simulated",) if judgments else ())


@pytest.fixture
def root(tmp_path: Path) -> Path:
    store = Store(tmp_path)
    guideline = Guideline(version=2, text="# G\n")
    judgments = [
        Judgment(
            comparison_id=f"c{i}",
            rater_id=f"simulated-{i % 2:02d}",
            guideline_hash=guideline.guideline_hash,
            left="first",
            choice="first",
            confidence=0.9,
            simulated=True,
        )
        for i in range(3)
    ]
    sft = publish(store, "sft", "sft", {"model": "f" * 64})
    preferences = publish(store, "preferences", "round-1/preferences", {"policy": sft.artifact_hash}, judgments)
    publish(store, "ppo", "round-1/ppo", {"policy": sft.artifact_hash, "preferences": preferences.artifact_hash})
    write_json(tmp_path / lineage.RUN_RECORD, {})
    return tmp_path


def test_it_walks_back_to_judgments_raters_and_guideline(root: Path) -> None:
    artifact, found_root = lineage.find(str(root / "round-1" / "ppo"))
    text = lineage.render(lineage.trace(artifact, lineage.known_roots(found_root)))
    assert "ppo round-1/ppo" in text
    assert "3 judgments by 2 raters, 3 of them simulated" in text
    assert "simulated-00 (2), simulated-01 (1)" in text
    assert "(version 2): 3 judgments" in text
    assert "model: input, not an artifact under this root [ffffffffffff]" in text


def test_an_artifact_met_twice_is_told_once(root: Path) -> None:
    artifact, _ = lineage.find("round-1/ppo", root)
    text = lineage.render(lineage.trace(artifact, [root]))
    assert text.count("told above") == 1
    assert text.count("input, not an artifact") == 1


def test_it_finds_by_hash_and_says_what_there_is(root: Path) -> None:
    wanted = Store(root).read("sft").artifact_hash
    assert lineage.find(wanted[:8], root)[0].manifest.name == "sft"
    with pytest.raises(TruingError, match=r"no artifact called 'reward'.*round-1/ppo"):
        lineage.find("reward", root)
