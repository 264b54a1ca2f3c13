"""Every engine, run through the one contract."""

import os
import signal
from contextlib import closing

import pytest
import torch
from tests.conftest import make_model
from tests.rollout.contract import PROMPTS, SETTINGS, Engine, EngineContract, flat, teacher_forced

from truing.models.load import load_policy, load_tokenizer
from truing.rollout.config import VllmConfig
from truing.rollout.generate import GenerateSampler
from truing.rollout.local import LocalSampler
from truing.rollout.vllm import VllmSampler


class TestLocal(EngineContract):
    @pytest.fixture(scope="class")
    @classmethod
    def engine(cls, tiny_model_dir):
        model, tokenizer = load_policy(tiny_model_dir), load_tokenizer(tiny_model_dir)
        with closing(LocalSampler(model, tokenizer)) as sampler:
            yield Engine(sampler, model, tokenizer)


class TestGenerate(EngineContract):
    @pytest.fixture(scope="class")
    @classmethod
    def engine(cls, tiny_model_dir):
        model, tokenizer = load_policy(tiny_model_dir), load_tokenizer(tiny_model_dir)
        with closing(GenerateSampler(model, tokenizer)) as sampler:
            yield Engine(sampler, model, tokenizer)


@pytest.fixture(scope="session")
def vllm_python():
    """The interpreter of an environment that holds vLLM."""
    python = os.environ.get("TRUING_VLLM_PYTHON")
    if not python:
        pytest.skip("set TRUING_VLLM_PYTHON to the Python interpreter of an environment that holds vLLM (docs/vllm.md)")
    return python


@pytest.fixture(scope="session")
def wider_model_dir(tiny_model_dir, tmp_path_factory):
    """The tiny model with heads of 32: vLLM's kernels have none of its 8."""
    path = tmp_path_factory.mktemp("wider-model")
    tokenizer = load_tokenizer(tiny_model_dir)
    make_model(tokenizer, hidden_size=128, initializer_range=0.1).save_pretrained(path)
    tokenizer.save_pretrained(path)
    return path


@pytest.mark.vllm
class TestVllm(EngineContract):
    @pytest.fixture(scope="class")
    @classmethod
    def engine(cls, wider_model_dir, vllm_python):
        model, tokenizer = load_policy(wider_model_dir), load_tokenizer(wider_model_dir)
        with closing(VllmSampler(model, tokenizer, config=VllmConfig(python=vllm_python))) as sampler:
            yield Engine(sampler, model, tokenizer)

    def test_bfloat16_stays_near_the_trainer(self, wider_model_dir, vllm_python):
        """Its logits are rounded to 8 bits: the mean difference is what PPO refuses above `max_mismatch_nats` = 0.05."""
        model = load_policy(wider_model_dir).to(torch.bfloat16)
        with closing(VllmSampler(model, load_tokenizer(wider_model_dir), config=VllmConfig(python=vllm_python))) as sampler:
            sampler.load_weights(model, 1)
            groups = sampler.sample(PROMPTS, samples_per_prompt=4, settings=SETTINGS, seed=0)
        differences = [
            (torch.tensor(one.logprobs) - teacher_forced(model, prompt, one.tokens, SETTINGS.temperature)).abs()
            for prompt, group in zip(PROMPTS, groups, strict=True)
            for one in group
        ]
        assert torch.cat(differences).mean() < 0.05

    def test_a_kill_in_the_middle_loses_nothing(self, engine):
        expected, pid = engine.sample(n=8), engine.sampler.worker_pid

        def kill_at_first(done, total):
            if engine.sampler.worker_pid == pid:
                os.kill(pid, signal.SIGKILL)

        with pytest.warns(UserWarning, match="SIGKILL"):
            again = engine.sampler.sample(PROMPTS, samples_per_prompt=8, settings=SETTINGS, seed=0, on_progress=kill_at_first)
        assert engine.sampler.worker_pid != pid
        assert [one.tokens for one in flat(again)] == [one.tokens for one in flat(expected)]
