import json
from pathlib import Path

import pytest
import torch
from torch.testing import assert_close

from truing.errors import TruingError
from truing.losses.advantage import Advantages
from truing.models.forward import hidden_states, last_token_scores, values_at
from truing.models.load import load_policy
from truing.models.ragged import RaggedBatch
from truing.records import Alarm, Demonstration, Prompt, Rollout
from truing.rollout.make import make_sampler
from truing.store.artifacts import Artifact, Store
from truing.store.files import read_records
from truing.train import ppo, reward
from truing.train.config import CheckpointConfig, KLConfig, OptimiserConfig, PPOConfig, RewardConfig
from truing.train.experience import collect
from truing.train.reward import RewardInputs
from truing.train.rl_inputs import RLInputs, load_models, read_data

from .conftest import KillAt, Killed, make_pairs, unhurried

CONFIG = PPOConfig(
    updates=4,
    prompts_per_update=6,
    samples_per_prompt=2,
    max_new_tokens=8,
    epochs=2,
    minibatches=2,
    micro_batch_tokens=150,
    temperature=1.0,
    optimiser=OptimiserConfig(lr=1e-3, schedule="constant"),
    value_optimiser=OptimiserConfig(lr=1e-3, schedule="constant"),
    checkpoint=CheckpointConfig(every_steps=2),
    logging={"tensorboard": False},
)


@pytest.fixture(scope="module")
def inputs(tiny_model_dir: Path, preferences_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> RLInputs:
    config = RewardConfig(parallel=False, optimiser=OptimiserConfig(lr=1e-2), batch_pairs=8)
    store = Store(tmp_path_factory.mktemp("reward-for-ppo"))
    artifact = reward.run(config, RewardInputs(tiny_model_dir, preferences_dir), store, "reward")
    return RLInputs(tiny_model_dir, artifact.path, [pair.prompt for pair in make_pairs(9, 3)])


def length_gold(prompt: Prompt, text: str) -> float:
    return -float(len(text))


class Recorder:
    """An observer that remembers what it saw, and raises what it was told to."""

    def __init__(self, alarms: dict[int, str] | None = None) -> None:
        self.seen: list[tuple[int, list[Rollout], dict[str, float]]] = []
        self._alarms = alarms or {}

    def __call__(self, update: int, rollouts: list[Rollout], metrics: dict[str, float]) -> list[Alarm]:
        self.seen.append((update, rollouts, metrics))
        action = self._alarms.get(update)
        if action is None:
            return []
        return [Alarm(update=update, signal="test", value=1.0, threshold=0.5, message="as told", action=action)]


@pytest.fixture(scope="module")
def trained(inputs: RLInputs, tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    return ppo.run(CONFIG, inputs, Store(tmp_path_factory.mktemp("ppo")), "ppo", observer=Recorder(), gold=length_gold)


def rows(artifact: Artifact) -> list[dict[str, float]]:
    return [json.loads(line) for line in (artifact.path / "metrics.jsonl").read_text().splitlines()]


def test_the_first_minibatch_of_each_update_is_on_policy(trained: Artifact) -> None:
    for row in rows(trained):
        assert row["first_ratio"] == pytest.approx(1, abs=1e-6)
        assert row["first_clip_fraction"] == 0
        assert row["first_approx_kl"] == pytest.approx(0, abs=1e-6)


def test_the_first_update_starts_at_the_reference(trained: Artifact) -> None:
    first = rows(trained)[0]
    assert [first[name] for name in ("kl_nats", "k2", "k3")] == pytest.approx([0, 0, 0], abs=1e-6)
    assert rows(trained)[-1]["kl_nats"] != 0
    assert all(row["mismatch_nats"] < 1e-5 for row in rows(trained))


def test_every_number_a_run_is_judged_by_is_logged(trained: Artifact) -> None:
    wanted = (
        "proxy proxy_se reward gold gold_se kl_nats k1_se k2 k2_se k3 k3_se entropy_nats length_tokens missing_end beta "
        "ensemble_spread mismatch_nats mismatch_max_nats clip_fraction approx_kl grad_norm lr value_loss value_grad_norm "
        "value_clip_fraction explained_variance sample_s score_s update_s alarms"
    )
    assert set(wanted.split()) <= set(rows(trained)[0])
    assert [row["update"] for row in rows(trained)] == [1, 2, 3, 4]


def test_rollouts_are_kept_with_gold_and_the_observer_never_sees_it(inputs: RLInputs, tmp_path: Path) -> None:
    recorder = Recorder()
    artifact = ppo.run(CONFIG.with_changes(updates=1), inputs, Store(tmp_path), "ppo", observer=recorder, gold=length_gold)
    kept = read_records(artifact.path / "rollouts.jsonl", Rollout)
    assert len(kept) == 12
    assert all(rollout.gold == -len(rollout.text) for rollout in kept)
    (_, seen, metrics) = recorder.seen[0]
    assert all(rollout.gold is None for rollout in seen)
    assert not any("gold" in name for name in metrics)


def test_gold_has_no_part_in_training(trained: Artifact, inputs: RLInputs, tmp_path: Path) -> None:
    blind = ppo.run(CONFIG, inputs, Store(tmp_path), "ppo")
    for a, b in zip(load_policy(blind.path).parameters(), load_policy(trained.path).parameters(), strict=True):
        assert torch.equal(a, b)


def test_micro_batches_do_not_change_the_gradient(trained: Artifact, inputs: RLInputs, tmp_path: Path) -> None:
    config = CONFIG.with_changes(micro_batch_tokens=100_000, updates=1)
    whole = ppo.run(config, inputs, Store(tmp_path), "ppo")
    for name in ("grad_norm", "value_grad_norm", "loss"):
        assert rows(whole)[0][name] == pytest.approx(rows(trained)[0][name], rel=1e-2, abs=1e-4)


@pytest.mark.parametrize("update", [1, 2, 3, 4])
def test_a_killed_run_resumes_to_the_same_bits(update: int, trained: Artifact, inputs: RLInputs, tmp_path: Path) -> None:
    store, recorder = Store(tmp_path), Recorder()
    with pytest.raises(Killed):
        ppo.run(CONFIG, inputs, store, "ppo", progress=KillAt(update), observer=Recorder(), gold=length_gold)
    resumed = ppo.run(CONFIG, inputs, store, "ppo", resume=True, observer=recorder, gold=length_gold)
    assert resumed.artifact_hash == trained.artifact_hash
    assert unhurried(rows(resumed)) == unhurried(rows(trained))
    whole = Recorder()
    ppo.run(CONFIG, inputs, Store(tmp_path / "again"), "ppo", observer=whole, gold=length_gold)
    assert recorder.seen == whole.seen


def test_an_alarm_that_stops_keeps_the_last_weights_without_one(inputs: RLInputs, tmp_path: Path) -> None:
    store = Store(tmp_path)
    artifact = ppo.run(CONFIG, inputs, store, "ppo", observer=Recorder({3: "stop"}))
    assert artifact.manifest.metrics["stopped_by"] == "test at update 3"
    assert artifact.manifest.metrics["best_update"] == 2
    assert [a.update for a in read_records(artifact.path / "alarms.jsonl", Alarm)] == [3]
    # update 2's rollouts were drawn by the weights after one update
    one = ppo.run(CONFIG.with_changes(updates=1), inputs, store, "one")
    for a, b in zip(load_policy(artifact.path / "best").parameters(), load_policy(one.path).parameters(), strict=True):
        assert torch.equal(a, b)


def test_a_stopped_run_that_was_killed_stops_again_at_the_same_place(inputs: RLInputs, tmp_path: Path) -> None:
    store, alarms = Store(tmp_path), {3: "stop"}
    whole = ppo.run(CONFIG, inputs, store, "whole", observer=Recorder(alarms))
    with pytest.raises(Killed):
        ppo.run(CONFIG, inputs, store, "killed", progress=KillAt(2), observer=Recorder(alarms))
    resumed = ppo.run(CONFIG, inputs, store, "killed", resume=True, observer=Recorder(alarms))
    assert resumed.artifact_hash == whole.artifact_hash


def test_an_alarm_can_raise_beta(inputs: RLInputs, tmp_path: Path) -> None:
    config = CONFIG.with_changes(updates=3, kl={"beta": 0.05, "raise_factor": 3.0})
    artifact = ppo.run(config, inputs, Store(tmp_path), "ppo", observer=Recorder({2: "raise_beta"}))
    assert [row["beta"] for row in rows(artifact)] == pytest.approx([0.05, 0.15, 0.15])


def test_adaptive_beta_falls_while_kl_is_under_its_target(inputs: RLInputs, tmp_path: Path) -> None:
    config = CONFIG.with_changes(updates=2, kl=KLConfig(beta=0.1, adaptive=True, target_nats=1000, horizon=120))
    artifact = ppo.run(config, inputs, Store(tmp_path), "ppo")
    assert [row["beta"] for row in rows(artifact)] == pytest.approx([0.1, 0.1 * (1 - 0.2 * 12 / 120)])


def test_the_value_model_starts_in_the_units_of_the_reward(inputs: RLInputs) -> None:
    models = load_models(CONFIG, inputs)
    value = ppo.value_model(CONFIG, inputs, models)
    sequences = [[5, 9, 11, 2], [7, 8, 1]]
    expected_B = models.reward.score(sequences)[0]
    batch = RaggedBatch.from_sequences(sequences)
    assert_close(last_token_scores(value, batch).detach(), expected_B, atol=1e-4, rtol=1e-4)


def test_completions_without_an_end_get_the_penalty(trained: Artifact) -> None:
    for row, update in zip(rows(trained), (1, 2, 3, 4), strict=True):
        rollouts = [r for r in read_records(trained.path / "rollouts.jsonl", Rollout) if r.update == update]
        expected = [CONFIG.missing_end_penalty if r.ending == "length" else r.proxy for r in rollouts]
        assert row["reward"] == pytest.approx(sum(expected) / len(expected), abs=1e-5)


def test_demonstrations_are_mixed_in_where_asked_for(
    inputs: RLInputs, demonstrations: list[Demonstration], tmp_path: Path
) -> None:
    config = CONFIG.with_changes(updates=1, ptx_coefficient=0.5)
    with pytest.raises(TruingError, match="no demonstrations"):
        ppo.run(config, inputs, Store(tmp_path / "a"), "ppo")
    mixed = RLInputs(inputs.policy, inputs.reward, inputs.prompts, demonstrations)
    artifact = ppo.run(config, mixed, Store(tmp_path / "b"), "ppo")
    assert rows(artifact)[0]["ptx_loss"] > 0


def test_a_loss_that_is_not_finite_stops_with_advice(inputs: RLInputs, tmp_path: Path) -> None:
    config = CONFIG.with_changes(optimiser={"lr": 1e30, "warmup_fraction": 0})
    with pytest.raises(TruingError, match=r"ppo policy, step \d+ of 16: the loss is|differ from the trainer's by nan"):
        ppo.run(config, inputs, Store(tmp_path), "ppo")


def test_a_prompt_that_leaves_no_room_is_refused(inputs: RLInputs, tmp_path: Path) -> None:
    with pytest.raises(TruingError, match="no room for a prompt"):
        ppo.run(CONFIG.with_changes(max_new_tokens=128), inputs, Store(tmp_path), "ppo")
    with pytest.raises(TruingError, match="row 1 has"):
        ppo.run(CONFIG.with_changes(max_new_tokens=120), inputs, Store(tmp_path / "b"), "ppo")


def test_on_a_shared_trunk_both_losses_are_what_each_would_be_alone(inputs: RLInputs) -> None:
    config = CONFIG.with_changes(value="shared_trunk", value_coefficient=0.3)
    models = load_models(config, inputs)
    data = read_data(config, inputs, models)
    learner = ppo.PPO(config, inputs, models, data)
    assert isinstance(learner.value, torch.nn.Linear)
    torch.nn.init.normal_(learner.value.weight, generator=torch.Generator().manual_seed(0))
    sampler = make_sampler(config.engine, models.policy, models.tokenizer)
    experience = collect(1, data.batch(1), models, sampler, config, value=learner.value)
    targets = Advantages(torch.randn(len(experience.values_N)), torch.randn(len(experience.values_N)))
    minibatch = experience.minibatches[0]
    weights = [*models.policy.parameters(), *learner.value.parameters()]

    def gradients(losses: list[torch.Tensor]) -> list[torch.Tensor]:
        found = torch.autograd.grad(sum(losses), weights, allow_unused=True)
        return [torch.zeros_like(w) if g is None else g for w, g in zip(weights, found, strict=True)]

    joint = gradients([output.loss for output in learner._joint_losses(learner.value, experience, targets, minibatch)])
    policy = gradients([output.loss for output in learner._policy_losses(experience, targets, minibatch)])
    values = []
    for piece in minibatch.pieces:
        values_n = values_at(learner.value, hidden_states(models.policy, piece.batch), piece.where)
        assert_close(values_n.detach(), experience.values_N[piece.tokens_n])
        error_n = (values_n - targets.returns_N[piece.tokens_n]) ** 2  # at the rollout's own values nothing is clipped
        values.append(0.3 * 0.5 * error_n.sum() / minibatch.tokens)
    for both, one, other in zip(joint, policy, gradients(values), strict=True):
        assert_close(both, one + other, atol=1e-5, rtol=1e-4)


def test_a_head_on_the_trunk_starts_at_the_mean_reward_and_learns(inputs: RLInputs, tmp_path: Path) -> None:
    log = rows(ppo.run(CONFIG.with_changes(value="shared_trunk", updates=6), inputs, Store(tmp_path), "ppo"))
    assert log[0]["explained_variance"] < 0.5
    assert log[0]["value_loss"] > 0
    assert log[-1]["value_loss"] < log[0]["value_loss"]
