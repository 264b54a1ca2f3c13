"""What PPO, GRPO and RLOO have in common, on each of them."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from truing.errors import TruingError
from truing.models.config import LoRASettings
from truing.models.load import load_policy
from truing.models.lora import has_adapters
from truing.records import Alarm, Prompt, Rollout, SampledCompletion
from truing.store.artifacts import Artifact, Store
from truing.store.files import read_records
from truing.train import grpo, ppo, reward, rl, rloo
from truing.train.config import CheckpointConfig, GRPOConfig, OptimiserConfig, PPOConfig, RewardConfig, RLConfig, RLOOConfig
from truing.train.reward import RewardInputs
from truing.train.rl_inputs import RewardFunction, RLInputs, load_models

from .conftest import KillAt, Killed, make_pairs, unhurried

COMMON: dict[str, Any] = {
    "updates": 3,
    "prompts_per_update": 4,
    "samples_per_prompt": 3,
    "max_new_tokens": 8,
    "epochs": 2,
    "minibatches": 2,
    "micro_batch_tokens": 150,
    "temperature": 1.0,
    "missing_end_penalty": None,  # a random model hardly ever ends: every reward would be the penalty
    "optimiser": OptimiserConfig(lr=1e-3, schedule="constant"),
    "checkpoint": CheckpointConfig(every_steps=1),
}
VALUE_OPTIMISER = OptimiserConfig(lr=1e-3, schedule="constant")
LORA = {"load": {"lora": LoRASettings(rank=4)}, "optimiser": OptimiserConfig(lr=1e-2, schedule="constant")}
CONFIGS: dict[str, tuple[Callable[..., Artifact], RLConfig]] = {
    "ppo": (ppo.run, PPOConfig(**COMMON, value_optimiser=VALUE_OPTIMISER)),
    "ppo on a shared trunk": (ppo.run, PPOConfig(**COMMON, value="shared_trunk")),
    "grpo": (grpo.run, GRPOConfig(**COMMON)),
    "rloo": (rloo.run, RLOOConfig(**COMMON)),
    "ppo with adapters": (ppo.run, PPOConfig(**{**COMMON, **LORA}, value_optimiser=VALUE_OPTIMISER)),
    "ppo on a shared trunk with adapters": (ppo.run, PPOConfig(**{**COMMON, **LORA}, value="shared_trunk")),
    "grpo with adapters": (grpo.run, GRPOConfig(**{**COMMON, **LORA})),
}
each = pytest.mark.parametrize("which", list(CONFIGS))


@pytest.fixture(scope="module")
def inputs(tiny_model_dir: Path, preferences_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> RLInputs:
    config = RewardConfig(parallel=False, optimiser=OptimiserConfig(lr=1e-2), batch_pairs=8)
    store = Store(tmp_path_factory.mktemp("reward-for-rl"))
    artifact = reward.run(config, RewardInputs(tiny_model_dir, preferences_dir), store, "reward")
    return RLInputs(tiny_model_dir, artifact.path, [pair.prompt for pair in make_pairs(9, 3)])


def rows(artifact: Artifact) -> list[dict[str, float]]:
    return [json.loads(line) for line in (artifact.path / "metrics.jsonl").read_text().splitlines()]


def run(which: str, inputs: RLInputs, folder: Path, name: str = "policy", changes: dict[str, Any] | None = None, **options: Any):
    train, config = CONFIGS[which]
    return train(config.with_changes(**(changes or {})), inputs, Store(folder), name, **options)


def quiet_observer(update: int, rollouts: list[Rollout], metrics: dict[str, float]) -> list[Alarm]:
    return []


@each
def test_a_killed_run_resumes_to_the_same_bits(which: str, inputs: RLInputs, tmp_path: Path) -> None:
    whole = run(which, inputs, tmp_path / "whole", observer=quiet_observer)
    with pytest.raises(Killed):
        run(which, inputs, tmp_path / "killed", progress=KillAt(2), observer=quiet_observer)
    resumed = run(which, inputs, tmp_path / "killed", resume=True, observer=quiet_observer)
    assert resumed.artifact_hash == whole.artifact_hash
    assert unhurried(rows(resumed)) == unhurried(rows(whole))


@each
def test_the_first_step_of_an_update_is_on_policy_whoever_knows_the_behaviour(
    which: str, inputs: RLInputs, tmp_path: Path
) -> None:
    for behaviour in ("auto", "sampler", "trainer"):
        artifact = run(which, inputs, tmp_path / behaviour, changes={"behaviour_logprobs": behaviour})
        for row in rows(artifact):
            assert row["first_ratio"] == pytest.approx(1, abs=1e-5)
            assert row["first_clip_fraction"] == 0
            assert row["first_approx_kl"] == pytest.approx(0, abs=1e-6)
            assert row["mismatch_max_nats"] < 1e-5
            assert row["mismatch_ess"] == pytest.approx(1, abs=1e-6)
            assert 4 < row["entropy_nats"] < 6  # near ln 300: the model is random
    first = rows(artifact)[0]
    assert [first[name] for name in ("kl_nats", "k2", "k3")] == pytest.approx([0, 0, 0], abs=1e-6)
    assert rows(artifact)[-1]["kl_nats"] != 0


@each
def test_switches_that_save_work_change_nothing(which: str, inputs: RLInputs, tmp_path: Path) -> None:
    plain = run(which, inputs, tmp_path / "plain", changes={"share_prompts": False, "behaviour_logprobs": "trainer"})
    quick = run(which, inputs, tmp_path / "quick")
    costs = ("_s", "floor_fraction", "mismatch_nats", "mismatch_max_nats")
    known_to_all = [name for name in rows(plain)[0] if not name.endswith(costs) and name != "entropy_nats"]  # of other tokens
    for name in known_to_all:
        assert rows(quick)[0][name] == pytest.approx(rows(plain)[0][name], rel=2e-4, abs=1e-5), name


@each
def test_what_is_saved_is_a_plain_policy(which: str, inputs: RLInputs, tmp_path: Path) -> None:
    artifact = run(which, inputs, tmp_path, changes={"keep_best": True, "updates": 1})
    for name in ("model", "best"):
        assert not has_adapters(load_policy(artifact.path / name))
    before, best = (dict(load_policy(path).named_parameters()) for path in (inputs.policy, artifact.path / "best"))
    # what drew update 1's rollouts is the first model
    assert all(torch.allclose(before[name], best[name], atol=1e-7) for name in before)
    after = dict(load_policy(artifact.path).named_parameters())
    assert any(not torch.equal(before[name], after[name]) for name in before)


@each
def test_how_fast_an_update_was_is_logged(which: str, inputs: RLInputs, tmp_path: Path) -> None:
    artifact = run(which, inputs, tmp_path, changes={"updates": 1})
    row = rows(artifact)[0]
    assert row["step_s"] >= row["sample_s"] + row["score_s"] + row["update_s"]
    assert row["tokens_per_s"] > 0
    assert 0 < row["floor_fraction"] < 1
    assert artifact.manifest.metrics["floor_fraction"] == pytest.approx(row["floor_fraction"])


def test_adapters_need_no_second_copy_of_the_model(inputs: RLInputs) -> None:
    models = load_models(CONFIGS["grpo with adapters"][1], inputs)
    assert models.reference is not None
    with models.reference.model() as reference:
        assert reference is models.policy


def test_without_a_tether_there_is_no_reference_and_no_kl(inputs: RLInputs, tmp_path: Path) -> None:
    for which in ("grpo", "rloo"):
        config = CONFIGS[which][1].with_changes(kl={"beta": 0.0})
        assert load_models(config, inputs).reference is None
        artifact = run(which, inputs, tmp_path, which, changes={"kl": {"beta": 0.0}})
        assert "kl_nats" not in rows(artifact)[0]
        assert all(rollout.kl_nats is None for rollout in read_records(artifact.path / "rollouts.jsonl", Rollout))


def count_letters(prompts: Any, texts: Any) -> list[float]:
    return [float(len(text)) for text in texts]


@pytest.mark.parametrize("which", ["grpo", "rloo", "ppo on a shared trunk"])
def test_a_function_can_take_the_reward_models_place(which: str, inputs: RLInputs, tmp_path: Path) -> None:
    by_rule = RLInputs(inputs.policy, RewardFunction("letters", count_letters), inputs.prompts)
    artifact = run(which, by_rule, tmp_path, changes={"updates": 1})
    rollouts = read_records(artifact.path / "rollouts.jsonl", Rollout)
    assert [r.proxy for r in rollouts] == [len(r.text) for r in rollouts]
    assert rows(artifact)[0]["reward"] == pytest.approx(rows(artifact)[0]["proxy"])


def test_a_function_must_give_one_finite_number_each(inputs: RLInputs, tmp_path: Path) -> None:
    broken = RLInputs(inputs.policy, RewardFunction("broken", lambda prompts, texts: [1.0]), inputs.prompts)
    with pytest.raises(TruingError, match="one finite number for each of 12"):
        run("grpo", broken, tmp_path)
    with pytest.raises(TruingError, match="shared_trunk"):
        run("ppo", RLInputs(inputs.policy, RewardFunction("letters", count_letters), inputs.prompts), tmp_path, "b")


def test_a_rule_is_learned(inputs: RLInputs, tmp_path: Path) -> None:
    """Prefer short answers, by a rule: after some updates they are shorter."""
    prompts = [Prompt.from_text(f"what colour is the fox? {index}") for index in range(8)]
    short = RLInputs(inputs.policy, RewardFunction("short", lambda _, texts: [-float(len(t)) for t in texts]), prompts)
    changes = {
        "updates": 25,
        "prompts_per_update": 8,
        "samples_per_prompt": 8,
        "minibatches": 1,
        "optimiser": OptimiserConfig(lr=1e-2, schedule="constant"),
    }
    for which in ("grpo", "rloo"):
        log = rows(run(which, short, tmp_path, which, changes={**changes, "kl": {"beta": 0.0}}))
        assert log[-1]["proxy"] > log[0]["proxy"] + 4 * max(log[0]["proxy_se"], log[-1]["proxy_se"])


class Inexact:
    """A sampler whose log-probabilities are off by `nats` at every second token."""

    def __init__(self, sampler: Any, nats: float) -> None:
        self._sampler, self._nats = sampler, nats

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sampler, name)

    def sample(self, prompts: Any, **options: Any) -> list[list[SampledCompletion]]:
        def shifted(one: SampledCompletion) -> SampledCompletion:
            logprobs = tuple(p + self._nats * (i % 2) for i, p in enumerate(one.logprobs))
            return one.model_copy(update={"logprobs": logprobs})

        return [[shifted(one) for one in several] for several in self._sampler.sample(prompts, **options)]


@pytest.fixture
def inexact(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    make = rl.make_sampler
    return lambda nats: monkeypatch.setattr(rl, "make_sampler", lambda *a, **k: Inexact(make(*a, **k), nats))


@pytest.mark.parametrize("which", ["ppo", "grpo", "rloo"])
def test_a_sampler_that_is_not_exact_is_not_believed(
    which: str, inputs: RLInputs, tmp_path: Path, inexact: Callable[[float], None]
) -> None:
    exact = rows(run(which, inputs, tmp_path / "exact", changes={"behaviour_logprobs": "trainer"}))
    inexact(0.01)
    noisy = rows(run(which, inputs, tmp_path / "auto"))
    for a, b in zip(noisy, exact, strict=True):
        assert a["mismatch_max_nats"] == pytest.approx(0.01, abs=1e-4)
        assert a["mismatch_ess"] < 1
        assert (a["first_ratio"], a["loss"]) == pytest.approx((b["first_ratio"], b["loss"]), abs=1e-6)
    believed = rows(run(which, inputs, tmp_path / "sampler", changes={"behaviour_logprobs": "sampler"}))[0]
    assert believed["first_ratio"] != pytest.approx(1, abs=1e-3)
    assert believed["mismatch_max_nats"] == pytest.approx(0.01, abs=1e-4)  # its first step tells


@pytest.mark.parametrize("behaviour", ["auto", "sampler"])
def test_a_sampler_of_other_weights_is_refused(
    behaviour: str, inputs: RLInputs, tmp_path: Path, inexact: Callable[[float], None]
) -> None:
    inexact(0.5)
    with pytest.raises(TruingError, match=r"differ from the trainer's by 0\.2"):
        run("grpo", inputs, tmp_path, changes={"behaviour_logprobs": behaviour})


@pytest.mark.parametrize("which", ["ppo", "grpo", "rloo"])
def test_or_corrected_for(which: str, inputs: RLInputs, tmp_path: Path, inexact: Callable[[float], None]) -> None:
    plain = rows(run(which, inputs, tmp_path / "plain"))
    inexact(-0.5)
    corrected = rows(run(which, inputs, tmp_path / "corrected", changes={"importance_cap": 2.0}))
    assert corrected[0]["first_ratio"] == pytest.approx(1, abs=1e-6)
    assert corrected[0]["grad_norm"] != pytest.approx(plain[0]["grad_norm"], rel=1e-3)


def test_the_guides_example_of_a_rule_runs(tiny_model_dir: Path, tmp_path: Path) -> None:
    guide = Path(__file__).parents[2] / "docs" / "guide" / "policy.md"
    code = guide.read_text(encoding="utf-8").split("```python\n")[1].split("```")[0]
    for named, here in (("runs/mine/sft", tiny_model_dir), ("runs/sums", tmp_path), ("updates=100", "updates=1")):
        assert named in code
        code = code.replace(named, str(here))
    made: dict[str, Any] = {}
    exec(code, made)
    assert made["is_right"]([Prompt.from_text("2 + 3 =")] * 3, ["5.", "it is 23", "no"]) == [1.0, 0.0, 0.0]
    assert made["artifact"].manifest.stage == "grpo"
