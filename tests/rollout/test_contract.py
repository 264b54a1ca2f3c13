"""Every engine, run through the one contract."""

from contextlib import closing

import pytest
from tests.rollout.contract import Engine, EngineContract

from truing.models.load import load_policy, load_tokenizer
from truing.rollout.generate import GenerateSampler
from truing.rollout.local import LocalSampler


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
