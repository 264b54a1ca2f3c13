import json
from pathlib import Path

import pytest

from truing.errors import TruingError
from truing.program.recipe import Recipe
from truing.program.rounds import planned_stages, run
from truing.program.status import read_status
from truing.records import Comparison, PreferencePair
from truing.store.artifacts import Store, verify
from truing.store.files import read_records


def test_two_rounds_leave_every_artifact_and_can_be_asked_for_again(tiny_recipe: Path, tmp_path: Path) -> None:
    recipe = Recipe.load(tiny_recipe)
    out = tmp_path / "run"
    result = run(recipe, out)
    names = {a.manifest.name for a in Store(out).artifacts()}
    for stage in (
        "comparisons",
        "preferences",
        "reward",
        "reward_tests",
        "dpo",
        "redteam/dpo",
        "evaluate/dpo",
        "findings",
        "gate",
    ):
        assert {f"round-1/{stage}", f"round-2/{stage}"} <= names
    assert {"sft", "round-1/evaluate/base", "round-1/redteam/base"} <= names
    assert all(not verify(a) for a in Store(out).artifacts())
    assert "round 2 gate: " in result.summary
    assert (out / "report.html").exists()
    state = read_status(out)
    assert state.state == "done"
    assert len(state.stages) == planned_stages(recipe) - (0 if (out / "release").exists() else 1)

    second = {a.manifest.name: a.artifact_hash for a in Store(out).artifacts()}
    run(recipe, out)
    assert {a.manifest.name: a.artifact_hash for a in Store(out).artifacts()} == second
    assert all(stage.state == "kept" for stage in read_status(out).stages if stage.stage != "report")


def test_round_two_learns_from_round_one(tiny_recipe: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    run(Recipe.load(tiny_recipe, ["findings.min_attack_rate=0.0"]), out)
    summaries = [json.loads((out / f"round-{n}" / "preferences" / "summary.json").read_text()) for n in (1, 2)]
    assert [s["guideline_version"] for s in summaries] == [1, 2]
    assert summaries[1]["carried_over"] > 0
    weights = {p.weight for p in read_records(out / "round-2" / "preferences" / "train.jsonl", PreferencePair)}
    assert weights == {1.0, 0.3}
    assert "simulated" in (out / "round-1" / "findings" / "amendment.diff").read_text()
    comparisons = (out / "round-2" / "comparisons" / "comparisons.jsonl").read_text()
    assert '"source":"finding:' in comparisons


def test_from_round_two_on_raters_get_what_the_strategy_draws(tiny_recipe: Path, tmp_path: Path) -> None:
    drawn = ['preferences.selection.strategy="ensemble_variance"', "preferences.selection.pool=60"]
    recipe = Recipe.load(tiny_recipe, [*drawn, 'run.stages=["sft","preferences","reward","findings"]'])
    out = tmp_path / "run"
    run(recipe, out)
    assert not (out / "round-1" / "selection").exists()
    assert len(read_status(out).stages) == planned_stages(recipe)

    first, pool, batch, judged = (
        read_records(out / folder / "comparisons.jsonl", Comparison)
        for folder in ("round-1/preferences", "round-2/comparisons", "round-2/selection", "round-2/preferences")
    )
    assert all(c.propensity is None for c in first)
    assert len(batch) == 24 < len(pool)
    assert judged == batch
    assert {c.strategy for c in batch} <= {"ensemble_variance", "uniform"}
    lowest = 0.15 * 24 / len(pool)
    assert all(c.propensity is not None and c.propensity >= lowest * (1 - 1e-9) for c in batch)

    preferences = Store(out).read("round-2/preferences")
    chosen = Store(out).read("round-2/selection")
    assert preferences.manifest.parents["comparisons"] == chosen.artifact_hash
    frozen = read_records(out / "round-2/preferences/heldout.jsonl", PreferencePair)
    assert {p.propensity for p in frozen} <= {c.propensity for c in batch}
    assert "heldout_accuracy_of_pool" in Store(out).read("round-2/reward").manifest.metrics
    assert chosen.manifest.parents["reward"] == Store(out).read("round-1/reward").artifact_hash


def test_a_person_must_sign_where_the_recipe_says_so(tiny_recipe: Path, tmp_path: Path) -> None:
    from truing.program.sign_off import proposals_text, sign_off

    stages = 'run.stages=["sft","preferences","reward","reward_tests","dpo","redteam","findings"]'
    asked = ['findings.approve_amendments="person"', "findings.min_attack_rate=0.0", "findings.max_reward_skew=0.0"]
    recipe = Recipe.load(tiny_recipe, [stages, *asked])
    out = tmp_path / "run"
    with pytest.raises(TruingError, match=r"truing amend .*--round 1"):
        run(recipe, out)
    assert "A person must sign this off" in proposals_text(out, None)
    with pytest.raises(TruingError, match="did you mean 'length'"):
        sign_off(out, 1, "Maria", ["lenght"])
    assert "Signed off by Maria" in sign_off(out, 1, "Maria", ["length"])
    run(recipe, out, resume=True)
    assert "{#length}" in (out / "round-2" / "preferences" / "guideline.md").read_text()
    assert "{#refusal}" not in (out / "round-2" / "preferences" / "guideline.md").read_text()


def test_a_run_may_start_from_finished_work(tiny_recipe: Path, tmp_path: Path) -> None:
    first = tmp_path / "first"
    run(Recipe.load(tiny_recipe, ["rounds=[{}]", 'run.stages=["sft","preferences"]']), first)
    given = [f'start_from.sft="{first / "sft"}"', f'start_from.preferences="{first / "round-1" / "preferences"}"']
    second = tmp_path / "second"
    recipe = Recipe.load(tiny_recipe, ['run.stages=["dpo","evaluate"]', "rounds=[{}]", *given])
    run(recipe, second)
    assert len(read_status(second).stages) == planned_stages(recipe)
    assert Store(second).read("sft").artifact_hash == Store(first).read("sft").artifact_hash
    assert (second / "round-1" / "evaluate" / "dpo" / "report.json").exists()


def test_what_stands_in_for_round_one_takes_no_stage_and_the_next_makes_its_own(tiny_recipe: Path, tmp_path: Path) -> None:
    first = tmp_path / "first"
    run(Recipe.load(tiny_recipe, ["rounds=[{}]", 'run.stages=["sft","preferences","reward"]']), first)
    of_round_one = {stage: f'start_from.{stage}="{first / "round-1" / stage}"' for stage in ("preferences", "reward")}
    sft = f'start_from.sft="{first / "sft"}"'
    only = 'run.stages=["sft","preferences","reward"]'
    pool = "preferences.selection.pool=40"
    for number, given in enumerate(([sft, of_round_one["preferences"]], [sft, *of_round_one.values(), pool])):
        recipe, out = Recipe.load(tiny_recipe, [only, *given]), tmp_path / f"out-{number}"
        run(recipe, out)
        assert len(read_status(out).stages) == planned_stages(recipe)


def test_peoples_pairs_are_counted_in_every_round(tiny_recipe: Path, tmp_path: Path) -> None:
    pairs = tmp_path / "pairs.jsonl"
    pairs.write_text("".join(f'{{"prompt": "p{i}", "chosen": "good {i}", "rejected": "bad"}}\n' for i in range(12)))
    recipe = Recipe.load(tiny_recipe, [f'data.comparisons="{pairs}"', 'run.stages=["sft","preferences"]'])
    run(recipe, tmp_path / "out")
    assert len(read_status(tmp_path / "out").stages) == planned_stages(recipe)


def test_people_judge_what_was_sampled(tiny_recipe: Path, tmp_path: Path) -> None:
    from truing.program import lineage
    from truing.records import Comparison, Judgment
    from truing.store.files import write_records

    judged = tmp_path / "judged.jsonl"
    sets = [
        "rounds=[{}]",
        'run.stages=["sft","preferences"]',
        'preferences.judged_by="people"',
        f'preferences.judgments="{judged}"',
    ]
    out = tmp_path / "run"
    with pytest.raises(TruingError, match="people's judgments are needed"):
        run(Recipe.load(tiny_recipe, sets), out)
    rows = read_records(out / "round-1" / "comparisons" / "comparisons.jsonl", Comparison)
    answers = [
        Judgment(
            comparison_id=row.comparison_id,
            rater_id=f"rater-{i % 3}",
            guideline_hash="0" * 64,
            left="first",
            choice="first" if len(row.first) < len(row.second) else "second",
            confidence=0.8,
            simulated=False,
        )
        for i, row in enumerate(rows)
    ]
    write_records(judged, answers)
    run(Recipe.load(tiny_recipe, sets), out, resume=True)
    artifact, root = lineage.find(str(out / "round-1" / "preferences"))
    assert "by 3 raters, 0 of them simulated" in lineage.render(lineage.trace(artifact, [root]))
    assert artifact.manifest.notes == ()


def test_what_passes_the_gate_is_released_with_a_card(tiny_recipe: Path, tmp_path: Path) -> None:
    stages = ["sft", "preferences", "dpo", "evaluate", "redteam", "gate", "release"]
    easy = [
        'gate.checks=["kl_budget"]',
        "gate.max_kl_nats=1e6",
        "rounds=[{}]",
        'run.candidate="dpo"',
        f"run.stages={json.dumps(stages)}",
    ]
    result = run(Recipe.load(tiny_recipe, easy), tmp_path / "run")
    assert result.decision == "release"
    release = Store(tmp_path / "run").read("release")
    assert release.manifest.notes == ("raters simulated: no person judged these pairs",)
    assert (release.path / "model" / "model.safetensors").exists()
    card = (release.path / "MODEL_CARD.md").read_text()
    assert "**The raters were simulated.**" in card
    assert "guideline version 1, sha256" in card
    assert "| kl_nats | 0.00 [0.00, 0.00] |" in card
    assert "kl_budget: KL to the reference" in card
    assert "dpo round-1/dpo" in card
