import json
from pathlib import Path

import pytest
import torch

from truing.errors import TruingError
from truing.models.reward import RewardEnsemble
from truing.records import Estimate
from truing.store.artifacts import Store
from truing.train import reward
from truing.train.config import CheckpointConfig, OptimiserConfig, RewardConfig
from truing.train.reward import RewardInputs
from truing.train.reward_member import MemberResult

from .conftest import KillAt, Killed, make_pairs, unhurried

CONFIG = RewardConfig(
    epochs=3,
    batch_pairs=8,
    micro_batch_tokens=200,
    parallel=False,
    optimiser=OptimiserConfig(lr=1e-2),
    checkpoint=CheckpointConfig(every_steps=2),
)


@pytest.fixture(scope="module")
def trained(tiny_model_dir: Path, preferences_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> reward.Artifact:
    store = Store(tmp_path_factory.mktemp("reward"))
    return reward.run(CONFIG, RewardInputs(tiny_model_dir, preferences_dir), store, "reward")


def rows(artifact: reward.Artifact) -> list[dict[str, float]]:
    return [json.loads(line) for line in (artifact.path / "metrics.jsonl").read_text().splitlines()]


def test_it_learns_what_is_preferred(trained: reward.Artifact) -> None:
    accuracy = trained.manifest.metrics["heldout_accuracy"]
    assert isinstance(accuracy, Estimate)
    assert accuracy.value == 1
    assert accuracy.n == 8
    assert isinstance(trained.manifest.metrics["heldout_ece"], Estimate)


def test_a_drawn_set_speaks_for_the_pool_it_was_drawn_from() -> None:
    drawn = [pair.model_copy(update={"propensity": pi}) for pair, pi in zip(make_pairs(3, 0), (1.0, 0.5, 0.25), strict=True)]
    result = MemberResult(
        mean=0.0,
        std=1.0,
        heldout_chosen=(1.0, 1.0, 0.0),
        heldout_rejected=(0.0, 0.0, 1.0),
        heldout_kept=(0, 1, 2),
        rows_dropped=0,
        rows_truncated=0,
    )
    found = reward._heldout_metrics([result], drawn)
    assert isinstance(plain := found["heldout_accuracy"], Estimate)
    assert plain.value == pytest.approx(2 / 3)
    assert isinstance(weighed := found["heldout_accuracy_of_pool"], Estimate)
    assert weighed.value == pytest.approx((1 + 2) / (1 + 2 + 4))
    assert "heldout_accuracy_of_pool" not in reward._heldout_metrics([result], [*drawn[:2], *make_pairs(3, 0)[2:]])


def test_the_log_has_a_row_a_step_and_member(trained: reward.Artifact) -> None:
    assert [(row["member"], row["step"]) for row in rows(trained)] == [(m, s) for m in (0, 1) for s in range(1, 10)]
    assert rows(trained)[-1]["loss"] < rows(trained)[9]["loss"]
    assert all(row["floor_fraction"] > 0 for row in rows(trained))
    assert trained.manifest.metrics["floor_fraction"] > 0


def test_scores_are_centred_and_do_not_depend_on_the_batch(trained: reward.Artifact) -> None:
    ensemble = RewardEnsemble.load(trained.path)
    answers = [(p.prompt.messages, text) for p in make_pairs(24, 1) for text in (p.chosen, p.rejected)]
    scores_MB = ensemble.score_texts(answers)
    assert scores_MB.shape == (2, 48)
    assert scores_MB.mean(1).abs().max() < 1e-3
    assert (scores_MB.std(1) - 1).abs().max() < 1e-3
    alone = torch.cat([ensemble.score_texts([answer]) for answer in answers[:4]], dim=1)
    assert (alone - scores_MB[:, :4]).abs().max() < 1e-5


def test_members_differ(trained: reward.Artifact) -> None:
    scores_MB = RewardEnsemble.load(trained.path).score_texts([(make_pairs(1, 1)[0].prompt.messages, "grey grey")])
    assert scores_MB[0, 0] != scores_MB[1, 0]


def test_zero_heads_start_at_ln_2(tiny_model_dir: Path, preferences_dir: Path, tmp_path: Path) -> None:
    config = CONFIG.with_changes(head_init="zeros", members=1, epochs=1, batch_pairs=64)
    artifact = reward.run(config, RewardInputs(tiny_model_dir, preferences_dir), Store(tmp_path), "reward")
    row = json.loads((artifact.path / "metrics.jsonl").read_text())
    assert row["loss"] == pytest.approx(0.693147, abs=1e-6)
    assert row["accuracy"] == 0


def test_micro_batches_do_not_change_the_weights(
    trained: reward.Artifact, tiny_model_dir: Path, preferences_dir: Path, tmp_path: Path
) -> None:
    config = CONFIG.with_changes(micro_batch_tokens=10_000)
    whole = reward.run(config, RewardInputs(tiny_model_dir, preferences_dir), Store(tmp_path), "reward")
    answers = [(make_pairs(1, 1)[0].prompt.messages, "grey grey")]
    difference = RewardEnsemble.load(whole.path).score_texts(answers) - RewardEnsemble.load(trained.path).score_texts(answers)
    assert difference.abs().max() < 1e-2


@pytest.mark.parametrize("step", [1, 5, 11, 18])
def test_a_killed_run_resumes_to_the_same_bits(
    step: int, trained: reward.Artifact, tiny_model_dir: Path, preferences_dir: Path, tmp_path: Path
) -> None:
    inputs, store = RewardInputs(tiny_model_dir, preferences_dir), Store(tmp_path)
    with pytest.raises(Killed):
        reward.run(CONFIG, inputs, store, "reward", progress=KillAt(step))
    resumed = reward.run(CONFIG, inputs, store, "reward", resume=True)
    assert resumed.artifact_hash == trained.artifact_hash
    assert unhurried(rows(resumed)) == unhurried(rows(trained))


def test_members_in_processes_give_the_same_and_survive_a_kill(
    tiny_model_dir: Path, preferences_dir: Path, tmp_path: Path
) -> None:
    config, inputs, store = CONFIG.with_changes(parallel=True), RewardInputs(tiny_model_dir, preferences_dir), Store(tmp_path)
    with pytest.raises(Killed):
        reward.run(config, inputs, store, "killed", progress=KillAt(5))
    resumed = reward.run(config, inputs, store, "killed", resume=True)
    whole = reward.run(config, inputs, store, "whole")
    assert resumed.artifact_hash == whole.artifact_hash


def test_a_member_that_fails_says_why(tiny_model_dir: Path, preferences_dir: Path, tmp_path: Path) -> None:
    config = CONFIG.with_changes(parallel=True, optimiser={"lr": 1e30, "warmup_fraction": 0})
    with pytest.raises(TruingError, match=r"reward member \d, step .* the loss is"):
        reward.run(config, RewardInputs(tiny_model_dir, preferences_dir), Store(tmp_path), "reward")


def test_an_empty_half_is_named(tiny_model_dir: Path, preferences_dir: Path, tmp_path: Path) -> None:
    (tmp_path / "train.jsonl").write_bytes((preferences_dir / "train.jsonl").read_bytes())
    (tmp_path / "heldout.jsonl").write_text("")
    with pytest.raises(TruingError, match=r"heldout\.jsonl: holds no pairs"):
        reward.run(CONFIG, RewardInputs(tiny_model_dir, tmp_path), Store(tmp_path / "out"), "reward")


def test_a_folder_that_is_no_reward_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(TruingError, match="not a reward model"):
        RewardEnsemble.load(tmp_path)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_tensorboard_files_outlive_the_run(tiny_model_dir: Path, preferences_dir: Path, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    config = CONFIG.with_changes(epochs=1, logging={"tensorboard": True})
    artifact = reward.run(config, RewardInputs(tiny_model_dir, preferences_dir), Store(tmp_path), "reward")
    assert {path.parent.name for path in artifact.path.rglob("events.*")} == {"member-0", "member-1"}
