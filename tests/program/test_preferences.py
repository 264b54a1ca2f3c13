from pathlib import Path

import pytest

from truing.errors import TruingError
from truing.judges.simulated import Workforce
from truing.program import preferences
from truing.program.comparisons import ComparisonInputs, ComparisonsConfig, comparison, plan
from truing.program.preferences import FileInputs, FreezeConfig, JudgedInputs, best_agreement, longer_wins, split
from truing.records import Comparison, Guideline, Judgment, NullProgress, PreferencePair, Prompt
from truing.store.artifacts import Store
from truing.store.files import read_json, read_records
from truing.world.facts import FACTS
from truing.world.prompts import make_prompts

GUIDELINE = Guideline(version=1, text="# Guideline\n")


def world_comparisons(n: int = 60) -> list[Comparison]:
    """A right answer against a wrong one."""
    prompts = make_prompts(n, 0, "train", ["plain"])
    facts = [FACTS[str(p.meta["fact"])] for p in prompts]
    texts = [(f"{f.answer}.", f"{f.wrong_answers[0]}.") for f in facts]
    return [comparison(p, a, b, ("sft", "sft"), "sampled") for p, (a, b) in zip(prompts, texts, strict=True)]


def vote(row: Comparison, choice: str, rater: str = "r") -> Judgment:
    return Judgment(
        comparison_id=row.comparison_id,
        rater_id=rater,
        guideline_hash="g",
        left="first",
        choice=choice,
        confidence=0.9,
        simulated=False,
    )


def pair(text: str, chosen: str, rejected: str, label: float = 1.0, group: str | None = None) -> PreferencePair:
    prompt = Prompt.from_text(text, meta={"group": group} if group else {})
    return PreferencePair(comparison_id=text + chosen, prompt=prompt, chosen=chosen, rejected=rejected, label=label)


def test_no_prompt_and_no_group_is_on_both_sides() -> None:
    pairs = [pair(f"q{i % 10}", f"a{i}", "b", group=f"g{i % 3}") for i in range(40)]
    train, heldout = split(pairs, FreezeConfig(heldout_fraction=0.3))
    assert heldout
    assert not {p.prompt.prompt_id for p in train} & {p.prompt.prompt_id for p in heldout}
    train, heldout = split(pairs, FreezeConfig(heldout_fraction=0.3, split_by="group"))
    assert not {p.prompt.meta["group"] for p in train} & {p.prompt.meta["group"] for p in heldout}
    with pytest.raises(TruingError, match="names no group"):
        split([pair("q", "a", "b"), pair("r", "a", "b")], FreezeConfig(split_by="group"))


def test_longer_wins_counts_decided_pairs_only() -> None:
    pairs = [pair("1", "long answer", "short"), pair("2", "b", "longer"), pair("3", "ab", "cd"), pair("4", "x", "yy", label=0.5)]
    estimate = longer_wins(pairs, FreezeConfig())
    assert estimate is not None
    assert estimate.value == 0.5
    assert longer_wins(pairs[3:], FreezeConfig()) is None


def test_best_agreement_by_hand() -> None:
    assert best_agreement(0.8, 1) == pytest.approx(0.8)
    assert best_agreement(0.3, 1) == pytest.approx(0.7)
    assert best_agreement(0.8, 3) == pytest.approx(0.8**3 + 3 * 0.8**2 * 0.2)
    assert best_agreement(0.5, 5) == pytest.approx(0.5)


def test_simulated_judgments_are_frozen_with_what_their_noise_allows(tmp_path: Path) -> None:
    rows = world_comparisons()
    workforce = Workforce.draw(GUIDELINE, 0, raters=5)
    inputs = JudgedInputs(rows, workforce.judge, GUIDELINE, {}, expected=workforce.expected_preference)
    artifact = preferences.freeze_judged(FreezeConfig(), inputs, Store(tmp_path), "preferences", progress=NullProgress())
    summary = read_json(artifact.path / "summary.json")
    assert 0.8 < summary["oracle_accuracy"] <= 1.0
    assert summary["simulated"] is True
    assert preferences.SIMULATED_NOTE in artifact.manifest.notes
    assert len(read_records(artifact.path / "judgments.jsonl", Judgment)) == len(rows)


def test_an_amended_guideline_makes_earlier_pairs_weigh_less(tmp_path: Path) -> None:
    rows = world_comparisons()
    store = Store(tmp_path)
    first = Workforce.draw(GUIDELINE, 0, raters=5)
    config = FreezeConfig(superseded_weight=0.25)
    before = preferences.freeze_judged(
        config, JudgedInputs(rows[:40], first.judge, GUIDELINE, {}), store, "one", progress=NullProgress()
    )
    amended = GUIDELINE.amended("length", "Length", "Short.")
    second = Workforce.draw(amended, 0, raters=5)
    inputs = JudgedInputs(rows[30:], second.judge, amended, {}, earlier=before.path)
    after = preferences.freeze_judged(config, inputs, store, "two", progress=NullProgress())
    train = read_records(after.path / "train.jsonl", PreferencePair)
    held = {p.prompt.prompt_id for p in read_records(after.path / "heldout.jsonl", PreferencePair)}
    assert {(p.guideline_hash == amended.guideline_hash, p.weight) for p in train} == {(True, 1.0), (False, 0.25)}
    assert not held & {p.prompt.prompt_id for p in train}
    left_out = preferences.carried_over(before.path, amended, set(), config.with_changes(superseded_weight=0.0))
    assert left_out == []
    same = preferences.carried_over(before.path, GUIDELINE, set(), config)
    assert {p.weight for p in same} == {1.0}


def test_peoples_pairs_say_where_they_came_from(tmp_path: Path) -> None:
    pairs = [pair(f"q{i}", f"a{i}", "b") for i in range(20)]
    inputs = FileInputs(pairs=pairs, source="mine.jsonl", guideline=GUIDELINE, parents={})
    artifact = preferences.freeze_pairs(FreezeConfig(max_pairs=12), inputs, Store(tmp_path), "preferences")
    assert artifact.manifest.notes == ("judged by people, as given in mine.jsonl",)
    summary = read_json(artifact.path / "summary.json")
    assert summary["pairs_train"] + summary["pairs_heldout"] == 12
    assert summary["oracle_accuracy"] is None


def test_the_plan_serves_findings_first_and_every_policy() -> None:
    rows = world_comparisons(6)
    inputs = ComparisonInputs(
        policies={"sft": "a", "previous": "b"},
        prompts=[r.prompt for r in rows[:3]],
        parents={},
        targeted_prompts=[r.prompt for r in rows[3:]],
        targeted_pairs=rows[:2],
    )
    slots, pairs = plan(ComparisonsConfig(count=20, targeted_fraction=0.5), inputs)
    assert len(slots) + len(pairs) == 20
    assert len(pairs) == 2
    assert sum(s.source == "finding:prompt" for s in slots) == 8
    assert {label for s in slots for label in s.writers} == {"sft", "previous"}
