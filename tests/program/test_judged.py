"""A judgment set goes into training as it is; one flag leaves a guideline or a rater out."""

from pathlib import Path

import pytest

from truing.collect.exchange.convert import ConvertConfig
from truing.collect.exchange.judged import Answer, Judged, Vote, judged, user_prompt
from truing.collect.exchange.sets import STAGE, NamedGuideline, SetSource, write_set
from truing.data.files import Row
from truing.errors import TruingError
from truing.program import lineage
from truing.program.judged import is_judged, read_folder, read_judged
from truing.program.recipe import Recipe
from truing.program.single import load_recipe, planned_stages, run_stage
from truing.records import Guideline, Judgment, PreferencePair
from truing.store.artifacts import Store
from truing.store.files import read_json, read_records, write_records

OLD, NEW = Guideline(version=1, text="# Old\n"), Guideline(version=2, text="# New\n")


@pytest.fixture(scope="module")
def exported(tmp_path_factory) -> Path:
    """Eight comparisons, each judged by ann under version 1 and by bob under version 2, who disagree on every second."""
    rows = []
    for i in range(8):
        votes = [Vote("ann", "first"), Vote("bob", "first" if i % 2 else "second"), Vote("cy", "first")]
        made = judged(Row("x:1", {}), user_prompt(f"question {i}?"), (Answer(f"yes {i}."), Answer(f"no {i}.")), votes)
        hashes = [OLD.guideline_hash, NEW.guideline_hash, NEW.guideline_hash]
        under = [j.model_copy(update={"guideline_hash": h}) for j, h in zip(made.judgments, hashes, strict=True)]
        rows.append(Judged(made.comparison, tuple(under)))
    draft = Store(tmp_path_factory.mktemp("sets")).begin(STAGE, "june", ConvertConfig(), {})
    source = SetSource("service", rows, [NamedGuideline("main", OLD), NamedGuideline("main", NEW)], ("demo",))
    return write_set(draft, source).path


def test_raters_are_read_from_a_set_as_from_files(exported: Path, tmp_path: Path) -> None:
    found = read_judged(exported)
    assert [len(rows) for rows in found] == [8, 24]
    write_records(tmp_path / "comparisons.jsonl", found.comparisons)
    write_records(tmp_path / "judgments.jsonl", found.judgments)
    assert read_judged(tmp_path) == found
    with pytest.raises(TruingError, match="holds its own comparisons"):
        read_judged(exported, tmp_path / "comparisons.jsonl")


def freeze(exported: Path, out: Path, *overrides: str, **values):
    return run_stage("preferences", None, overrides, {"data.comparisons": str(exported), **values}, out=out)


def labels(artifact) -> dict[str, float]:
    """Question -> P(yes)."""
    pairs = [p for part in ("train", "heldout") for p in read_records(artifact.path / f"{part}.jsonl", PreferencePair)]
    return {p.prompt.text: p.label if p.chosen.startswith("yes") else 1 - p.label for p in pairs}


def test_an_exported_set_is_frozen_as_it_is(exported, tmp_path):
    made = freeze(exported, tmp_path)
    assert {round(v, 3) for v in labels(made).values()} == {1.0, 0.667}
    assert (made.path / "guideline.md").read_text() == NEW.text
    assert made.manifest.parents == {"judgments": Store(exported.parent).read("june").artifact_hash}
    assert read_json(made.path / "summary.json")["guideline_versions"] == {OLD.guideline_hash: 1, NEW.guideline_hash: 2}


def test_without_a_rater_or_a_guideline(exported, tmp_path):
    without_bob = freeze(exported, tmp_path / "a", **{"preferences.without_raters": ["bob"]})
    assert set(labels(without_bob).values()) == {1.0}
    assert without_bob.manifest.config["without_raters"] == ["bob"]
    text = lineage.render(lineage.trace(without_bob, [tmp_path / "a", exported]))
    assert "without rater bob: 8 judgments left out" in text
    assert "judgments june" in text
    assert "raters: ann (8), bob (8), cy (8)" in text
    assert "(version 1): 8 judgments" in text
    without_old = freeze(exported, tmp_path / "b", **{"preferences.without_guidelines": ["v1"]})
    assert set(labels(without_old).values()) == {1.0, 0.5}
    assert {j.rater_id for j in read_records(without_old.path / "judgments.jsonl", Judgment)} == {"bob", "cy"}


def test_a_finished_preference_set_is_frozen_anew_without_a_rater(exported, tmp_path):
    made = freeze(exported, tmp_path / "a")
    assert is_judged(made.path)
    assert read_folder(made.path).guideline == NEW
    recipe = Recipe.from_values({"start_from": {"preferences": str(made.path)}})
    assert recipe.with_judgments_frozen_anew() is recipe
    changed = Recipe.from_values({**recipe.model_dump(exclude_unset=True), "preferences": {"without_raters": ["bob"]}})
    anew = changed.with_judgments_frozen_anew()
    assert (anew.start_from.preferences, anew.data.comparisons) == (None, str(made.path))
    again = freeze(made.path, tmp_path / "b", **{"preferences.without_raters": ["bob"]})
    assert set(labels(again).values()) == {1.0}
    given = Recipe.from_values({"start_from": {"preferences": str(exported)}}).with_judgments_frozen_anew()
    assert given.data.comparisons == str(exported)


def test_pairs_without_raters_cannot_leave_one_out(tmp_path):
    file = tmp_path / "pairs.jsonl"
    file.write_text('{"prompt": "q", "chosen": "a", "rejected": "b"}\n{"prompt": "r", "chosen": "a", "rejected": "b"}\n')
    with pytest.raises(TruingError, match="names no raters or guidelines"):
        freeze(file, tmp_path / "out", **{"preferences.without_raters": ["bob"]})


def test_a_verb_counts_the_set_that_it_freezes_first():
    counted = {
        (stage, key): planned_stages(stage, load_recipe(None, [], {key: "set"}))
        for stage in ("preferences", "reward", "redteam")
        for key in ("data.comparisons", "start_from.preferences")
    }
    frozen_first = [place for place, stages in counted.items() if stages == 2]
    assert frozen_first == [("preferences", "start_from.preferences"), ("reward", "data.comparisons")]
