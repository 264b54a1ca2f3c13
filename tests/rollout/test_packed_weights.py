"""Weights kept as their products read them fastest while the local engine draws: nothing but rounding changes."""

import pytest
import torch

from truing.models import products
from truing.models.config import LoadSettings
from truing.models.load import load_policy
from truing.models.products import FastLinear, OneDnnLinear, has_onednn, multiplies_bfloat16
from truing.rollout.config import LocalConfig
from truing.rollout.local import LocalSampler
from truing.rollout.request import requests_for
from truing.rollout.sampler import SamplingSettings

pytestmark = pytest.mark.skipif(not has_onednn(), reason="this torch multiplies no float32 matrices by oneDNN")

PROMPTS = [[5, 6, 7], [8, 9, 10, 11]]
SETTINGS = SamplingSettings(max_new_tokens=12)


def policy(folder, monkeypatch, **settings):
    monkeypatch.setattr(OneDnnLinear, "least_weight", 64)
    return load_policy(folder, LoadSettings(**{"products": "onednn", **settings}))


def layers(model):
    return [module for module in model.modules() if isinstance(module, FastLinear)]


def sampled(model, tokenizer, *, pack):
    sampler = LocalSampler(model, tokenizer, config=LocalConfig(pack_weights=pack))
    rows = sampler.sample(PROMPTS, samples_per_prompt=3, settings=SETTINGS, seed=0)
    return [one for row in rows for one in row]


def test_the_same_tokens_are_drawn(tiny_model_dir, tokenizer, monkeypatch):
    model = policy(tiny_model_dir, monkeypatch)
    ran = []
    monkeypatch.setattr(OneDnnLinear, "by_packed", lambda *args, run=OneDnnLinear.by_packed: ran.append(1) or run(*args))
    packed = sampled(model, tokenizer, pack=True)
    assert ran
    ran.clear()
    plain = sampled(model, tokenizer, pack=False)
    assert not ran
    assert [one.tokens for one in packed] == [one.tokens for one in plain]
    for ours, theirs in zip(packed, plain, strict=True):
        assert ours.logprobs == pytest.approx(theirs.logprobs, abs=1e-5)


@pytest.mark.parametrize(
    "way",
    [pytest.param("onednn", marks=pytest.mark.skipif(not multiplies_bfloat16(), reason="no kernels for it here")), "widened"],
)
def test_in_bfloat16_they_are_as_likely(tiny_model_dir, tokenizer, monkeypatch, way):
    model = policy(tiny_model_dir, monkeypatch, dtype="bfloat16", products=way)
    packed, plain = (sampled(model, tokenizer, pack=pack)[0] for pack in (True, False))
    assert packed.logprobs[0] == pytest.approx(plain.logprobs[0], abs=0.05)


def test_copies_are_given_back_also_where_drawing_ends_early(tiny_model_dir, tokenizer, monkeypatch):
    model = policy(tiny_model_dir, monkeypatch)
    sampler = LocalSampler(model, tokenizer)
    stream = iter(sampler.stream(requests_for(PROMPTS, 2, SETTINGS, seed=0), SETTINGS))
    next(stream)
    assert all(layer.packed is not None for layer in layers(model))
    stream.close()
    assert all(layer.packed is None for layer in layers(model))


def test_a_weight_that_is_trained_meanwhile_is_used_as_it_stands(tiny_model_dir, monkeypatch):
    layer = layers(policy(tiny_model_dir, monkeypatch))[0]
    x_ND = torch.ones(3, layer.in_features)
    with products.packed_weights(layer), torch.no_grad():
        before = layer(x_ND)
        layer.weight.mul_(2)
        torch.testing.assert_close(layer(x_ND), 2 * before, rtol=1e-5, atol=1e-5)
