import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.conftest import make_model, make_tokenizer
from tests.rollout.contract import PROMPTS, SETTINGS, teacher_forced

from truing.errors import TruingError
from truing.models.config import LoadSettings
from truing.models.load import load_policy, load_tokenizer
from truing.records import Ending
from truing.rollout.decode import Decoder
from truing.rollout.local import LocalSampler
from truing.rollout.sampler import SamplingSettings


@pytest.fixture(scope="module")
def sampler(tiny_model_dir):
    return LocalSampler(load_policy(tiny_model_dir), load_tokenizer(tiny_model_dir))


def require_same_logprobs(sampler, prompts, groups, temperature):
    """To 1e-5 in the logits, absolute and relative; the temperature divides them."""
    atol = 1e-5 / min(1.0, temperature)
    for prompt, group in zip(prompts, groups, strict=True):
        for completion in group:
            expected = teacher_forced(sampler.model, prompt, completion.tokens, temperature)
            torch.testing.assert_close(torch.tensor(completion.logprobs), expected, rtol=1e-5, atol=atol)


@settings(max_examples=15, deadline=None)
@given(
    st.lists(st.lists(st.integers(2, 280), min_size=1, max_size=20), min_size=1, max_size=6),
    st.integers(1, 4),
    st.sampled_from([0.3, 0.7, 1.0, 1.5]),
    st.integers(0, 2**32),
)
def test_cached_logprobs_are_those_of_teacher_forcing(sampler, prompts, samples, temperature, seed):
    settings = SamplingSettings(max_new_tokens=12, temperature=temperature)
    groups = sampler.sample(prompts, samples_per_prompt=samples, settings=settings, seed=seed)
    assert [len(group) for group in groups] == [samples] * len(prompts)
    require_same_logprobs(sampler, prompts, groups, temperature)


def test_rows_are_retired_and_the_rest_stays_exact(tiny_model_dir):
    """A model that ends often: rows end at many different steps, the cache is cut several times."""
    tokenizer = load_tokenizer(tiny_model_dir)
    model = load_policy(tiny_model_dir)
    sampler = LocalSampler(model, tokenizer)
    sampler.end_tokens |= set(range(5, 60))  # a fifth of the vocabulary ends a turn
    groups = sampler.sample(PROMPTS, samples_per_prompt=16, settings=SETTINGS, seed=3)
    lengths = {len(c.tokens) for group in groups for c in group}
    assert len(lengths) > 5
    for completion in (c for group in groups for c in group):
        ends = [t in sampler.end_tokens for t in completion.tokens]
        assert not any(ends[:-1])
        assert (completion.ending is Ending.END_OF_TURN) == ends[-1]
        assert ends[-1] or len(completion.tokens) == SETTINGS.max_new_tokens
    require_same_logprobs(sampler, PROMPTS, groups, SETTINGS.temperature)


def test_the_cache_grows_beyond_its_first_columns(sampler):
    settings = SamplingSettings(max_new_tokens=100, temperature=1.0)
    groups = sampler.sample(PROMPTS[:2], samples_per_prompt=2, settings=settings, seed=1)
    assert max(len(c.tokens) for g in groups for c in g) > 64 + 8
    require_same_logprobs(sampler, PROMPTS[:2], groups, 1.0)


def test_the_same_seed_gives_the_same_samples_and_another_seed_others(sampler):
    first, again, other = (sampler.sample(PROMPTS, samples_per_prompt=2, settings=SETTINGS, seed=s) for s in (7, 7, 8))
    assert first == again
    assert first != other


def test_samples_of_one_prompt_differ(sampler):
    group = sampler.sample(PROMPTS[:1], samples_per_prompt=4, settings=SETTINGS, seed=0)[0]
    assert len({c.tokens for c in group}) == 4


def test_batching_does_not_change_what_is_drawn(sampler):
    small = LocalSampler(sampler.model, sampler.tokenizer, max_batch=3)
    whole = sampler.sample(PROMPTS, samples_per_prompt=2, settings=SETTINGS, seed=5)
    parts = small.sample(PROMPTS, samples_per_prompt=2, settings=SETTINGS, seed=5)
    assert [[c.tokens for c in g] for g in whole] == [[c.tokens for c in g] for g in parts]


def test_greedy_is_transformers_generate(sampler, tiny_model_dir):
    from transformers import AutoModelForCausalLM

    plain = AutoModelForCausalLM.from_pretrained(tiny_model_dir, attn_implementation="eager")
    groups = sampler.sample(PROMPTS, samples_per_prompt=1, settings=SamplingSettings(max_new_tokens=20, temperature=0), seed=0)
    for prompt, (completion,) in zip(PROMPTS, groups, strict=True):
        tokens = torch.tensor([prompt])
        expected = plain.generate(tokens, attention_mask=torch.ones_like(tokens), max_new_tokens=20, do_sample=False)
        assert list(completion.tokens) == expected[0, len(prompt) :].tolist()
        torch.testing.assert_close(
            torch.tensor(completion.logprobs), teacher_forced(sampler.model, prompt, completion.tokens, 1.0), rtol=0, atol=1e-5
        )


def test_every_eos_id_ends_a_completion(tiny_model_dir):
    model, tokenizer = load_policy(tiny_model_dir), load_tokenizer(tiny_model_dir)
    model.generation_config.eos_token_id = [tokenizer.eos_token_id, *range(5, 150)]
    groups = LocalSampler(model, tokenizer).sample(PROMPTS, samples_per_prompt=8, settings=SETTINGS, seed=0)
    ended = [c for g in groups for c in g if c.ending is Ending.END_OF_TURN]
    assert any(c.tokens[-1] != tokenizer.eos_token_id for c in ended)
    assert all(5 <= c.tokens[-1] < 150 or c.tokens[-1] == tokenizer.eos_token_id for c in ended)
    assert not any(5 <= t < 150 for c in ended for t in c.tokens[:-1])


def test_a_stop_string_ends_a_completion_and_is_kept(sampler):
    free = sampler.sample(PROMPTS[:1], samples_per_prompt=1, settings=SETTINGS, seed=2)[0][0]
    text = sampler.tokenizer.decode(list(free.tokens[:6])).strip()[-2:]
    stopped = sampler.sample(PROMPTS[:1], samples_per_prompt=1, settings=SETTINGS.with_changes(stop=(text,)), seed=2)[0][0]
    assert stopped.ending is Ending.STOP_STRING
    assert stopped.tokens == free.tokens[: len(stopped.tokens)]
    assert text in sampler.tokenizer.decode(list(stopped.tokens))


def test_a_prompt_beyond_the_context_is_named(sampler):
    with pytest.raises(TruingError, match=r"prompt 1 has 120 tokens.*context of 128"):
        sampler.sample([[5] * 10, [5] * 120], samples_per_prompt=1, settings=SETTINGS, seed=0)


def test_the_version_of_the_weights_is_on_every_completion(sampler):
    other = LocalSampler(sampler.model, sampler.tokenizer)
    other.weights_version = 7
    assert other.sample(PROMPTS[:1], samples_per_prompt=1, settings=SETTINGS, seed=0)[0][0].weights_version == 7


def test_progress_is_told_and_training_mode_comes_back(sampler):
    seen = []
    sampler.model.train()
    small = LocalSampler(sampler.model, sampler.tokenizer, max_batch=4)
    small.sample(
        PROMPTS, samples_per_prompt=2, settings=SETTINGS, seed=0, on_progress=lambda done, total: seen.append((done, total))
    )
    assert seen == [(done, 8) for done in range(1, 9)]
    assert sampler.model.training
    sampler.model.eval()


def test_sliding_window_models_sample_exactly(tmp_path):
    from transformers import MistralConfig, MistralForCausalLM

    tokenizer = make_tokenizer()
    config = MistralConfig(
        vocab_size=300, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
        sliding_window=6, max_position_embeddings=64, initializer_range=0.3, eos_token_id=1, pad_token_id=0,
    )  # fmt: skip
    torch.manual_seed(0)
    MistralForCausalLM(config).save_pretrained(tmp_path)
    sampler = LocalSampler(load_policy(tmp_path), tokenizer)
    groups = sampler.sample(PROMPTS, samples_per_prompt=2, settings=SETTINGS, seed=4)
    require_same_logprobs(sampler, PROMPTS, groups, SETTINGS.temperature)


def test_frequencies_are_those_of_the_model():
    """One token from one prompt, many times: the share of each token is its probability."""
    tokenizer = make_tokenizer()
    model = make_model(tokenizer, initializer_range=0.3)
    model.set_attn_implementation("truing")
    sampler = LocalSampler(model, tokenizer, max_batch=4000)
    settings = SamplingSettings(max_new_tokens=1, temperature=0.7)
    group = sampler.sample([[2, 40, 3]], samples_per_prompt=4000, settings=settings, seed=0)[0]
    share = torch.bincount(torch.tensor([c.tokens[0] for c in group]), minlength=len(tokenizer)) / 4000
    with torch.no_grad():
        probability = (model(torch.tensor([[2, 40, 3]])).logits[0, -1] / 0.7).softmax(-1)
    spread = (probability * (1 - probability) / 4000).sqrt()
    assert ((share - probability).abs() <= 5 * spread + 1e-3).all()


def test_stories_logprobs_are_those_of_teacher_forcing(stories_dir):
    model = load_policy(stories_dir)
    tokenizer = load_tokenizer(stories_dir, "{% for m in messages %}{{ m['content'] + '</s>' }}{% endfor %}")
    prompts = [tokenizer("Once upon a time")["input_ids"], tokenizer("Lily had a big red ball and she")["input_ids"]]
    sampler = LocalSampler(model, tokenizer)
    groups = sampler.sample(prompts, samples_per_prompt=3, settings=SamplingSettings(max_new_tokens=40), seed=0)
    require_same_logprobs(sampler, prompts, groups, 0.7)


def test_in_bfloat16_logprobs_are_the_trainers_to_its_rounding(tiny_model_dir):
    """The cache is in float32 on a CPU, so that what differs is the order of sums alone."""
    model = load_policy(tiny_model_dir, LoadSettings(dtype="bfloat16", device="cpu"))
    sampler = LocalSampler(model, load_tokenizer(tiny_model_dir))
    groups = sampler.sample(PROMPTS, samples_per_prompt=4, settings=SETTINGS, seed=0)
    pairs = [
        (torch.tensor(one.logprobs), teacher_forced(model, prompt, one.tokens, SETTINGS.temperature))
        for prompt, group in zip(PROMPTS, groups, strict=True)
        for one in group
    ]
    difference = torch.cat([ours - theirs for ours, theirs in pairs]).abs()
    assert difference.mean() < 0.02
    assert difference.max() < 0.2


def test_steps_are_captured_on_cuda_alone(sampler):
    assert not Decoder(sampler.model, graphs=True).graphs
