"""Models that cannot run unpadded batches are sampled from all the same, and say so."""

import pytest
import torch
from tests.conftest import make_model, make_tokenizer
from tests.rollout.contract import PROMPTS, SETTINGS, flat

from truing.errors import TruingError
from truing.models.config import LoadSettings
from truing.models.load import load_policy
from truing.records import Ending
from truing.rollout.generate import GenerateSampler
from truing.rollout.local import LocalSampler
from truing.rollout.make import load_sampler


def gemma2():
    """Attention scores are capped: exact ragged batches do not support it."""
    from transformers import Gemma2Config, Gemma2ForCausalLM

    return Gemma2ForCausalLM(
        Gemma2Config(
            vocab_size=300, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
            num_key_value_heads=2, head_dim=8, max_position_embeddings=64, sliding_window=16, eos_token_id=1, pad_token_id=0,
            attn_logit_softcapping=2.0, initializer_range=0.3,
        )
    )  # fmt: skip


def mamba():
    """No attention at all."""
    from transformers import MambaConfig, MambaForCausalLM

    return MambaForCausalLM(
        MambaConfig(vocab_size=300, hidden_size=32, state_size=8, num_hidden_layers=2, initializer_range=0.3, eos_token_id=1)
    )


@pytest.mark.parametrize("make", [gemma2, mamba])
def test_models_that_cannot_run_unpadded_batches(make, tmp_path):
    torch.manual_seed(0)
    make().save_pretrained(tmp_path)
    with pytest.raises(TruingError):
        load_policy(tmp_path)
    tokenizer = make_tokenizer()
    sampler, notice = load_sampler(tmp_path, LoadSettings(), tokenizer)
    assert isinstance(sampler, GenerateSampler)
    assert "generate" in notice
    groups = sampler.sample(PROMPTS, samples_per_prompt=2, settings=SETTINGS, seed=0)
    for prompt, group in zip(PROMPTS, groups, strict=True):
        for one in group:
            whole = torch.tensor([[*prompt, *one.tokens]])
            with torch.no_grad():
                logits = sampler.model(whole).logits[0, len(prompt) - 1 : -1].float() / SETTINGS.temperature
            expected = logits.log_softmax(-1).gather(1, whole[0, len(prompt) :, None])[:, 0]
            torch.testing.assert_close(torch.tensor(one.logprobs), expected, rtol=1e-4, atol=1e-4)


def test_a_model_that_can_is_run_fast_and_says_nothing(tiny_model_dir):
    sampler, notice = load_sampler(tiny_model_dir, LoadSettings(), make_tokenizer())
    assert isinstance(sampler, LocalSampler)
    assert notice is None


def test_both_engines_draw_the_same_tokens():
    """Seeds mean the same in both."""
    tokenizer = make_tokenizer()
    model = make_model(tokenizer)
    model.set_attn_implementation("truing")
    fast, slow = (
        flat(engine(model, tokenizer, max_batch=3).sample(PROMPTS, samples_per_prompt=4, settings=SETTINGS, seed=3))
        for engine in (LocalSampler, GenerateSampler)
    )
    assert [one.tokens for one in fast] == [one.tokens for one in slow]
    assert {one.ending for one in fast} == {Ending.END_OF_TURN, Ending.LENGTH}


def test_generation_settings_that_came_with_the_model_change_nothing():
    tokenizer = make_tokenizer()
    model = make_model(tokenizer)
    sampler = GenerateSampler(model, tokenizer)
    plain = sampler.sample(PROMPTS, samples_per_prompt=2, settings=SETTINGS, seed=3)
    model.generation_config.repetition_penalty = 5.0
    model.generation_config.temperature = 0.1
    assert sampler.sample(PROMPTS, samples_per_prompt=2, settings=SETTINGS, seed=3) == plain
    assert model.generation_config.repetition_penalty == 5.0
