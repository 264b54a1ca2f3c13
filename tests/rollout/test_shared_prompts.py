"""Prompts kept once for all their samples. `test_schedule.py` runs everything else both ways."""

import pytest
from tests.rollout.contract import SETTINGS, flat, watched_steps

from truing.models.config import LoadSettings
from truing.models.load import load_policy
from truing.rollout.config import LocalConfig
from truing.rollout.decode import Decoder
from truing.rollout.local import LocalSampler


def test_long_prompts_stand_once_for_all_their_samples(model, tokenizer, monkeypatch):
    """Same tokens, log-probabilities within rounding; slots then hold completions only."""
    prompts, few = [[5 + i] * 96 for i in range(3)], SETTINGS.with_changes(max_new_tokens=16)
    on, off = LocalSampler(model, tokenizer), LocalSampler(model, tokenizer, config=LocalConfig(share_prompts=False))
    _, sizes_on = watched_steps(on._decoder, monkeypatch)
    _, sizes_off = watched_steps(off._decoder, monkeypatch)
    shared, alone = (flat(one.sample(prompts, samples_per_prompt=4, settings=few, seed=0)) for one in (on, off))
    assert [one.tokens for one in shared] == [one.tokens for one in alone]
    for one, other in zip(shared, alone, strict=True):
        assert one.logprobs == pytest.approx(other.logprobs, abs=1e-5)
    assert (set(sizes_on), set(sizes_off)) == ({12 * 15}, {12 * (96 + 15)})


def test_a_model_in_bfloat16_shares_them_too(tiny_model_dir, tokenizer):
    """Its cache is float32 on a CPU."""
    model = load_policy(tiny_model_dir, LoadSettings(dtype="bfloat16"))
    few = SETTINGS.with_changes(max_new_tokens=16, temperature=0.0)
    on, off = LocalSampler(model, tokenizer), LocalSampler(model, tokenizer, config=LocalConfig(share_prompts=False))
    shared, alone = (flat(one.sample([[5] * 96], samples_per_prompt=4, settings=few, seed=0)) for one in (on, off))
    assert shared[0].logprobs[:4] == pytest.approx(alone[0].logprobs[:4], abs=0.05)


@pytest.mark.parametrize(("tokens", "samples"), [(95, 4), (96, 3)])
def test_short_prompts_and_few_samples_gain_nothing_from_sharing(model, tokenizer, monkeypatch, tokens, samples):
    sampler = LocalSampler(model, tokenizer)
    _, sizes = watched_steps(sampler._decoder, monkeypatch)
    sampler.sample([[5] * tokens], samples_per_prompt=samples, settings=SETTINGS.with_changes(max_new_tokens=8), seed=0)
    assert set(sizes) == {samples * (tokens + 7)}


def test_prompts_are_not_shared_where_attention_is_cut_off(tiny_model_dir):
    windowed = load_policy(tiny_model_dir)
    assert Decoder(windowed, graphs=False).can_share
    windowed.config.sliding_window = 8
    assert not Decoder(windowed, graphs=False).can_share
