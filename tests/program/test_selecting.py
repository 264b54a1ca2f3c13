from __future__ import annotations

import json

import pytest
import torch
from tests.conftest import make_tokenizer

from truing.errors import TruingError
from truing.evals.pair_scores import score_pairs
from truing.models.load import load_scorer, save_model
from truing.models.reward import Normalisation, RewardEnsemble, member_directory, write_normalisation
from truing.program.selecting import PoolFiles, run, select
from truing.records import Comparison, Prompt
from truing.selection.config import SelectionConfig
from truing.store.artifacts import Store
from truing.store.files import read_records, write_records


@pytest.fixture(scope="module")
def reward(tiny_model_dir, tmp_path_factory):
    folder = tmp_path_factory.mktemp("reward")
    tokenizer = make_tokenizer()
    for member in range(2):
        save_model(load_scorer(tiny_model_dir, seed=member), tokenizer, member_directory(folder, member))
    write_normalisation(folder, Normalisation(mean=(0.0, 0.0), std=(1.0, 1.0)))
    return folder


@pytest.fixture
def pool(tmp_path):
    rows = [
        Comparison(comparison_id=f"c{n}", prompt=Prompt.from_text(f"what is {n}?"), first=f"it is {n}", second="no idea")
        for n in range(12)
    ]
    write_records(tmp_path / "pool.jsonl", rows)
    return tmp_path / "pool.jsonl"


def test_a_batch_has_its_probabilities_and_can_be_drawn_again_from_scores(pool, reward, tmp_path):
    config = SelectionConfig(budget=4, strategy="ensemble_variance")
    summary = select(PoolFiles(pool, reward=reward), config, tmp_path / "a")
    batch = read_records(tmp_path / "a" / "comparisons.jsonl", Comparison)
    assert len(batch) == summary["batch"] == 4
    assert all(c.strategy in {"ensemble_variance", "uniform"} and 0 < c.propensity <= 1 for c in batch)
    assert json.loads((tmp_path / "a" / "summary.json").read_text())["pool"] == 12
    select(PoolFiles(pool, scores=tmp_path / "a" / "scores.jsonl"), config, tmp_path / "b")
    assert (tmp_path / "a" / "comparisons.jsonl").read_bytes() == (tmp_path / "b" / "comparisons.jsonl").read_bytes()


def test_margins_are_differences_of_scores_and_features_explain_those_of_the_first_member(pool, reward):
    ensemble = RewardEnsemble.load(reward)
    scores = score_pairs(ensemble, read_records(pool, Comparison))
    head = ensemble.members[0].get_parameter("score.weight")[0].detach()
    for row in scores:
        assert float(torch.tensor(row.features) @ head) == pytest.approx(row.margins[0], abs=1e-3)


def test_a_strategy_says_what_it_lacks(pool, tmp_path):
    with pytest.raises(TruingError, match="give --reward DIR or --scores FILE"):
        select(PoolFiles(pool), SelectionConfig(budget=2, strategy="large_gap"), tmp_path / "a")


def test_a_finished_batch_is_not_written_over(pool, tmp_path):
    select(PoolFiles(pool), SelectionConfig(budget=2), tmp_path / "a")
    with pytest.raises(TruingError, match="holds a batch already"):
        select(PoolFiles(pool), SelectionConfig(budget=2), tmp_path / "a")


def test_a_killed_stage_goes_on_and_a_finished_one_is_kept(pool, reward, tmp_path):
    config, files = SelectionConfig(budget=4, strategy="large_gap"), PoolFiles(pool, reward=reward)
    store = Store(tmp_path / "run")
    draft = store.begin("selection", "selection", config, {"comparisons": "a"})
    (draft.path / "comparisons.jsonl").write_text("half of it")
    made = run(config, files, {"comparisons": "a"}, store, "selection", resume=True)
    assert len(read_records(made.path / "comparisons.jsonl", Comparison)) == made.manifest.metrics["batch"] == 4
    assert run(config, files, {"comparisons": "a"}, store, "selection").artifact_hash == made.artifact_hash
