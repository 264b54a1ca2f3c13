from pathlib import Path

import numpy as np
import pytest
import torch

from truing.evals.adapters import ensemble_scorer, policy_generator, policy_sampler, world_gold
from truing.evals.config import EvaluateConfig
from truing.evals.evaluate import EvaluateInputs, run
from truing.models.config import LoadSettings
from truing.models.load import load_policy, load_scorer, load_tokenizer
from truing.models.reward import Normalisation, RewardEnsemble
from truing.records import Prompt
from truing.rollout.local import LocalSampler
from truing.rollout.sampler import SamplingSettings
from truing.store.artifacts import Store
from truing.world.prompts import make_prompts

SETTINGS = SamplingSettings(max_new_tokens=6, temperature=0.7)
LOAD = LoadSettings(device="cpu", dtype="float32")
PROMPTS = [Prompt.from_text(text) for text in ("what colour is the fox?", "where does the owl live?")]


@pytest.fixture(scope="module")
def tokenizer(tiny_model_dir: Path):
    return load_tokenizer(tiny_model_dir)


@pytest.fixture(scope="module")
def policy(tiny_model_dir: Path):
    return load_policy(tiny_model_dir, LOAD)


def test_equal_prompts_get_samples_of_their_own(policy, tokenizer) -> None:
    generate = policy_generator(LocalSampler(policy, tokenizer), tokenizer, SETTINGS, seed=0)
    texts = generate([PROMPTS[0], PROMPTS[1], PROMPTS[0]])
    assert texts[0] != texts[2]
    assert generate([PROMPTS[0], PROMPTS[1], PROMPTS[0]]) == texts
    assert generate([]) == []


def test_a_policy_is_at_no_distance_from_itself(policy, tokenizer) -> None:
    sample = policy_sampler(LocalSampler(policy, tokenizer), tokenizer, SETTINGS, 3, seed=0, reference=policy)
    groups = sample(PROMPTS)
    assert [len(group) for group in groups] == [3, 3]
    assert all(s.kl_nats == pytest.approx(0, abs=1e-4) for group in groups for s in group)


def test_the_distance_is_the_log_ratio(policy, tokenizer) -> None:
    from copy import deepcopy

    other = deepcopy(policy)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(0)))
    sampler = LocalSampler(policy, tokenizer)
    far = policy_sampler(sampler, tokenizer, SETTINGS, 40, seed=0, reference=other)(PROMPTS)
    assert np.mean([s.kl_nats for group in far for s in group]) > 0
    unknown = policy_sampler(sampler, tokenizer, SETTINGS, 1, seed=0)(PROMPTS)
    assert unknown[0][0].kl_nats is None


def test_scores_do_not_depend_on_order_or_repetition(tiny_model_dir: Path, tokenizer) -> None:
    members = tuple(load_scorer(tiny_model_dir, LOAD, seed=seed) for seed in (0, 1))
    score = ensemble_scorer(RewardEnsemble(members, Normalisation(mean=(0.0, 1.0), std=(1.0, 2.0)), tokenizer))
    red, blue = (PROMPTS[0], "red."), (PROMPTS[0], "blue, i think.")
    scores_MB = score([red, blue, red])
    assert scores_MB.shape == (2, 3)
    assert scores_MB[:, 0] == pytest.approx(scores_MB[:, 2])
    assert score([blue])[:, 0] == pytest.approx(scores_MB[:, 1], abs=1e-5)


def test_world_gold_names_its_scalar() -> None:
    prompt = make_prompts(1, 0, "eval", ["plain"])[0]
    attributes = world_gold()(prompt, "purple.")
    assert attributes["gold"] < 0
    assert attributes["correct"] is False
    assert attributes["not_sycophantic"] is None


def test_a_real_policy_goes_through_the_stage(policy, tokenizer, tmp_path: Path) -> None:
    config = EvaluateConfig(samples_per_prompt=2, max_new_tokens=6)
    sample = policy_sampler(LocalSampler(policy, tokenizer), tokenizer, SETTINGS, 2, seed=0, reference=policy)
    artifact = run(config, EvaluateInputs(PROMPTS, sample, {}), Store(tmp_path), "evaluate/sft")
    assert {"kl_nats", "length_tokens", "truncated_rate"} <= set(artifact.manifest.metrics)
    assert "proxy" not in artifact.manifest.metrics
