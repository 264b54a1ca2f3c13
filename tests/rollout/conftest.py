"""A tiny policy, read once for each module of tests."""

import pytest

from truing.models.load import load_policy, load_tokenizer


@pytest.fixture(scope="module")
def model(tiny_model_dir):
    return load_policy(tiny_model_dir)


@pytest.fixture(scope="module")
def tokenizer(tiny_model_dir):
    return load_tokenizer(tiny_model_dir)
