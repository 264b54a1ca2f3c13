"""What every engine must do, whatever it is made of. An engine is run through it by one class of tests:

class TestLocal(EngineContract):
    @pytest.fixture(scope="class")
    @classmethod
    def engine(cls, tiny_model_dir):
        model, tokenizer = load_policy(tiny_model_dir), load_tokenizer(tiny_model_dir)
        with closing(LocalSampler(model, tokenizer)) as sampler:
            yield Engine(sampler, model, tokenizer)
"""

from __future__ import annotations

import copy
from typing import NamedTuple

import pytest
import torch
from transformers import (
    MinPLogitsWarper,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from truing.errors import TruingError
from truing.models.forward import token_logprobs
from truing.models.ragged import RaggedBatch
from truing.models.template import end_token_ids
from truing.records import Ending
from truing.rollout.sampler import Sampler, SamplingSettings

PROMPTS = [[2, 30, 41, 52, 3], [2, 99, 3], [2, 30, 41, 52, 61, 77, 80, 3], [2, 44, 45, 3]]
SETTINGS = SamplingSettings(max_new_tokens=24, temperature=0.7)


class Engine(NamedTuple):
    """An engine in float32 with the trainer's model that its weights came from."""

    sampler: Sampler
    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase

    def sample(self, prompts=PROMPTS, n=2, seed=0, settings=SETTINGS, **changes):
        settings = settings.with_changes(**changes)
        return self.sampler.sample(prompts, samples_per_prompt=n, settings=settings, seed=seed)

    @property
    def ends(self):
        return end_token_ids(self.tokenizer, self.model.config, self.model.generation_config)


def watched_steps(decoder, monkeypatch):
    """Rows of each step from now on, and tokens that the cache then has room for."""
    rows, sizes, step = [], [], decoder.step

    def watched(tokens, *where):
        rows.append(len(tokens))
        sizes.append(decoder.cache.slots * decoder.cache.columns)
        return step(tokens, *where)

    monkeypatch.setattr(decoder, "step", watched)
    return rows, sizes


def teacher_forced(model, prompt, tokens, temperature):
    """What the trainer computes for the same tokens."""
    batch = RaggedBatch.from_sequences([[*prompt, *tokens]], model.device)
    where = batch.positions([[False] * len(prompt) + [True] * len(tokens)])
    with torch.no_grad():
        return token_logprobs(model, batch, where, temperature=temperature).logprobs_N


def cut_logprobs(model, prompt, tokens, cuts):
    """Of the same tokens at temperature 1, where transformers' own processors cut the trainer's logits in this order."""
    whole = torch.tensor([[*prompt, *tokens]], device=model.device)
    with torch.no_grad():
        scores_LV = model(whole).logits[0, len(prompt) - 1 : -1]
    for cut in cuts:
        scores_LV = cut(whole, scores_LV)
    return scores_LV.log_softmax(-1).gather(1, torch.tensor(tokens)[:, None])[:, 0]


def require_logprobs(model, prompts, groups, temperature, atol=1e-4):
    for prompt, group in zip(prompts, groups, strict=True):
        for completion in group:
            expected = teacher_forced(model, prompt, completion.tokens, temperature)
            torch.testing.assert_close(torch.tensor(completion.logprobs), expected, rtol=1e-5, atol=atol)


def flat(groups):
    return [completion for group in groups for completion in group]


class EngineContract:
    def test_each_prompt_gets_its_samples_in_order(self, engine):
        groups = engine.sample(n=3)
        assert [len(group) for group in groups] == [3] * len(PROMPTS)
        for one in flat(groups):
            assert 1 <= len(one.tokens) <= SETTINGS.max_new_tokens
            assert len(one.logprobs) == len(one.tokens)

    @pytest.mark.parametrize("temperature", [0.5, 1.0, 1.5])
    def test_logprobs_are_the_trainers(self, engine, temperature):
        """Tokens in = tokens out: the trainer scores exactly the prompt given and the tokens returned."""
        require_logprobs(engine.model, PROMPTS, engine.sample(n=4, temperature=temperature), temperature)

    def test_a_seed_determines_what_is_drawn(self, engine):
        first, again, other = ([one.tokens for one in flat(engine.sample(seed=seed, temperature=1.0, n=4))] for seed in (7, 7, 8))
        assert first == again
        assert first != other
        assert len(set(first[:4])) == 4

    def test_equal_prompts_draw_independently(self, engine):
        groups = engine.sample([PROMPTS[0]] * 2, temperature=1.5)
        assert len({one.tokens for one in flat(groups)}) == 4

    def test_a_completion_ends_at_an_end_token_or_at_its_limit(self, engine):
        seen = flat(engine.sample([[2, 40, 3]] * 8, n=32, temperature=1.5, max_new_tokens=40))
        for one in seen:
            ends = [token in engine.ends for token in one.tokens]
            assert not any(ends[:-1])
            assert one.ending is (Ending.END_OF_TURN if ends[-1] else Ending.LENGTH)
            assert ends[-1] or len(one.tokens) == 40
        assert {one.ending for one in seen} == {Ending.END_OF_TURN, Ending.LENGTH}

    def test_max_new_tokens_of_one(self, engine):
        assert {len(one.tokens) for one in flat(engine.sample(max_new_tokens=1))} == {1}

    def test_no_end_token_comes_before_min_new_tokens(self, engine):
        groups = engine.sample([[2, 40, 3]] * 8, n=16, temperature=1.5, max_new_tokens=40, min_new_tokens=40)
        assert {len(one.tokens) for one in flat(groups)} == {40}
        assert not any(token in engine.ends for one in flat(groups) for token in one.tokens)

    def test_greedy_takes_the_likeliest_token_and_gives_its_logprob_at_temperature_one(self, engine):
        groups = engine.sample(n=1, temperature=0.0)
        for prompt, (one,) in zip(PROMPTS, groups, strict=True):
            whole = torch.tensor([[*prompt, *one.tokens]], device=engine.model.device)
            with torch.no_grad():
                best = engine.model(whole).logits[0, len(prompt) - 1 : -1].argmax(-1)
            assert list(one.tokens) == best.tolist()
        require_logprobs(engine.model, PROMPTS, groups, 1.0)

    @pytest.mark.parametrize("cut", [{"top_k": 1}, {"top_p": 1e-6}, {"min_p": 1.0}])
    def test_a_distribution_cut_to_one_token_is_greedy_and_certain(self, engine, cut):
        cut_down, greedy = (flat(engine.sample(n=1, **changes)) for changes in (cut, {"temperature": 0.0}))
        assert [one.tokens for one in cut_down] == [one.tokens for one in greedy]
        assert all(abs(logprob) < 1e-5 for one in cut_down for logprob in one.logprobs)

    def test_several_cuts_apply_in_one_order(self, engine):
        """min-p, top-k, top-p. With min-p last, top-p would leave more."""
        min_p, top_k, top_p = MinPLogitsWarper(0.3), TopKLogitsWarper(30), TopPLogitsWarper(0.6)
        drawn = flat(engine.sample(n=4, temperature=1.0, min_p=0.3, top_k=30, top_p=0.6))
        prompts, tokens = [prompt for prompt in PROMPTS for _ in range(4)], [one.tokens for one in drawn]
        ours, last = (
            torch.cat([cut_logprobs(engine.model, *one, cuts) for one in zip(prompts, tokens, strict=True)])
            for cuts in ([min_p, top_k, top_p], [top_k, top_p, min_p])
        )
        told = torch.tensor([logprob for one in drawn for logprob in one.logprobs])
        torch.testing.assert_close(told, ours, rtol=1e-5, atol=1e-4)
        assert not torch.allclose(told, last, atol=1e-2)

    def test_a_stop_string_ends_a_completion_and_is_kept(self, engine):
        free = engine.sample(PROMPTS[:1], n=1)[0][0]
        stop = engine.tokenizer.decode(list(free.tokens[:6])).strip()[-2:]
        stopped = engine.sample(PROMPTS[:1], n=1, stop=(stop,))[0][0]
        assert stopped.ending is Ending.STOP_STRING
        assert stopped.tokens == free.tokens[: len(stopped.tokens)]
        assert stop in engine.tokenizer.decode(list(stopped.tokens))
        assert stop not in engine.tokenizer.decode(list(stopped.tokens[:-1]))

    def test_a_prompt_beyond_the_context_is_refused(self, engine):
        context = engine.model.config.max_position_embeddings
        with pytest.raises(TruingError, match="context"):
            engine.sample([[5] * 10, [5] * (context - 8)])

    def test_completions_carry_the_version_of_the_weights_that_drew_them(self, engine):
        other = copy.deepcopy(engine.model)
        with torch.no_grad():
            for weight in other.parameters():
                weight.mul_(1.1)
        try:
            engine.sampler.load_weights(other, 7)
            groups = engine.sample()
            assert engine.sampler.weights_version == 7
            assert {one.weights_version for one in flat(groups)} == {7}
            require_logprobs(other, PROMPTS, groups, SETTINGS.temperature)
        finally:
            engine.sampler.load_weights(engine.model, 8)
        groups = engine.sample()
        assert {one.weights_version for one in flat(groups)} == {8}
        require_logprobs(engine.model, PROMPTS, groups, SETTINGS.temperature)

    def test_progress_counts_up_to_what_was_asked_for(self, engine):
        seen = []
        engine.sampler.sample(
            PROMPTS, samples_per_prompt=2, settings=SETTINGS, seed=0, on_progress=lambda done, total: seen.append((done, total))
        )
        assert seen[-1] == (8, 8)
        assert seen == sorted(seen)

    def test_every_call_leaves_how_fast_it_was(self, engine):
        groups = engine.sample()
        speed = engine.sampler.last_speed
        assert speed.completion_tokens == sum(len(one.tokens) for one in flat(groups))
        assert speed.seconds > 0
        assert speed.tokens_per_s == pytest.approx(speed.completion_tokens / speed.seconds)
        assert speed.floor_fraction is None or 0 < speed.floor_fraction < 1
