import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.rollout.contract import PROMPTS, flat, require_logprobs, watched_steps

from truing.errors import TruingError
from truing.models.load import load_policy
from truing.records import Ending
from truing.rollout import schedule
from truing.rollout.config import LocalConfig
from truing.rollout.decode import Decoder
from truing.rollout.local import LocalSampler
from truing.rollout.request import Request, requests_for
from truing.rollout.sampler import SamplingSettings

SETTINGS = SamplingSettings(max_new_tokens=32, temperature=1.0)


@pytest.fixture(scope="module", params=["prompts in slots", "prompts shared"])
def sampler(model, tokenizer, request):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(schedule, "_is_worth_sharing", lambda _: request.param == "prompts shared")
        yield LocalSampler(model, tokenizer)


def drawn(sampler, requests):
    return {request: done.tokens for request, done in zip(requests, sampler.complete(requests, SETTINGS), strict=True)}


@settings(max_examples=25, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from([tuple(p) for p in PROMPTS]), st.integers(1, 32), st.integers(0, 8)), min_size=1, max_size=12
    ),
    st.integers(1, 6),
    st.randoms(use_true_random=False),
)
def test_what_is_drawn_depends_on_nothing_else_in_the_batch(sampler, asked, max_batch, shuffler: random.Random):
    """Alone, in any order, with any number of slots: a request's seed decides."""
    requests = [Request(prompt, 100 + i, most, min(least, most)) for i, (prompt, most, least) in enumerate(asked)]
    together = drawn(sampler, requests)
    few = LocalSampler(sampler.model, sampler.tokenizer, max_batch=max_batch)
    assert drawn(few, shuffler.sample(requests, len(requests))) == together
    for request in requests[:3]:
        assert drawn(sampler, [request])[request] == together[request]
        assert request.min_new_tokens <= len(together[request]) <= request.max_new_tokens


def test_rows_that_are_admitted_late_and_moved_stay_exact(sampler):
    """Ragged limits over few slots: every slot is freed, filled and moved many times."""
    few = LocalSampler(sampler.model, sampler.tokenizer, max_batch=5)
    rng = random.Random(0)
    requests = [Request(tuple(PROMPTS[i % 4]), i, rng.randint(1, 40)) for i in range(40)]
    done = few.complete(requests, SETTINGS)
    require_logprobs(sampler.model, [r.prompt for r in requests], [[one] for one in done], 1.0, atol=1e-5)


def test_a_prompt_is_run_once_for_its_whole_group(sampler, monkeypatch):
    """Also for samples that are admitted when others have ended."""
    few = LocalSampler(sampler.model, sampler.tokenizer, max_batch=3)
    run = []
    monkeypatch.setattr(
        few._decoder, "prefill", lambda prompts, inner=few._decoder.prefill: run.extend(prompts) or inner(prompts)
    )
    few.sample(PROMPTS, samples_per_prompt=8, settings=SETTINGS, seed=0)
    assert sorted(run) == sorted(tuple(prompt) for prompt in PROMPTS)


def test_slots_are_what_the_cache_holds(model, tokenizer):
    """2 layers of 2 heads of 8 numbers, keys and values, in float32: 256 bytes a token."""
    assert LocalSampler(model, tokenizer).slots(64) == 128
    for_three = LocalConfig(cache_gib=3.5 * 256 * 64 / 2**30)
    assert LocalSampler(model, tokenizer, config=for_three).slots(64) == 3
    with pytest.raises(TruingError, match=r"engine\.local\.cache_gib"):
        LocalSampler(model, tokenizer, config=for_three).slots(64 * 4)


def test_admission_stays_within_the_cache(model, tokenizer, monkeypatch):
    columns = len(PROMPTS[2]) + SETTINGS.max_new_tokens - 1
    config = LocalConfig(cache_gib=2.5 * 256 * columns / 2**30)
    small = LocalSampler(model, tokenizer, config=config)
    rows, sizes = watched_steps(small._decoder, monkeypatch)
    groups = small.sample(PROMPTS, samples_per_prompt=3, settings=SETTINGS, seed=0)
    assert max(rows) == 2
    assert max(sizes) * 256 <= config.cache_gib * 2**30
    free = LocalSampler(model, tokenizer).sample(PROMPTS, samples_per_prompt=3, settings=SETTINGS, seed=0)
    assert [one.tokens for one in flat(groups)] == [one.tokens for one in flat(free)]


def test_the_cache_is_given_back_when_all_is_drawn(model, tokenizer):
    """What trains next has the memory. A stream that is given up gives it back too."""
    sampler = LocalSampler(model, tokenizer)
    sampler.sample(PROMPTS, samples_per_prompt=2, settings=SETTINGS, seed=0)
    assert not sampler._decoder.has_room(1, 1)
    reading = iter(sampler.stream(requests_for(PROMPTS, 1, SETTINGS, 0), SETTINGS))
    next(reading)
    assert sampler._decoder.has_room(1, 1)
    reading.close()
    assert not sampler._decoder.has_room(1, 1)


def test_captured_steps_keep_their_cache(model):
    """They read and write where it stands, and capturing again would take longer than sampling."""
    decoder = Decoder(model, graphs=False)
    decoder.reserve(2, 64)
    decoder._captured[2, 64] = object()
    decoder.rest()
    assert decoder.has_room(2, 64)


def test_a_stream_tells_every_token_as_it_is_drawn(sampler):
    requests = requests_for(PROMPTS, 2, SETTINGS, 0)
    stream = sampler.stream(requests, SETTINGS)
    told = list(stream)
    for number, one in enumerate(stream.completions()):
        mine = [token for token in told if token.request == number]
        assert tuple(token.token for token in mine) == one.tokens
        assert tuple(token.logprob for token in mine) == one.logprobs
        assert [token.ending for token in mine] == [None] * (len(mine) - 1) + [one.ending]
    assert [token.request for token in told[:8]] != [0] * 8  # requests take turns


def test_a_second_stream_is_refused_while_one_is_read(sampler):
    requests = requests_for(PROMPTS, 1, SETTINGS, 0)
    alone = sampler.complete(requests, SETTINGS)
    first, second = sampler.stream(requests, SETTINGS), sampler.stream(requests[:1], SETTINGS)
    reading = iter(first)
    next(reading)
    with pytest.raises(ValueError, match="another stream of this sampler is being read"):
        next(iter(second))
    for _ in reading:
        pass
    assert first.completions() == alone
    given_up = iter(sampler.stream(requests, SETTINGS))
    next(given_up)
    given_up.close()
    list(second)
    assert [one.tokens for one in second.completions()] == [alone[0].tokens]


def read_adding(stream, joining):
    """Read a stream to its end; `joining` are (after so many tokens, request), soonest first."""
    waiting = list(joining)
    for read, _ in enumerate(stream, start=1):
        while waiting and waiting[0][0] <= read:
            stream.add(waiting.pop(0)[1])
    assert not waiting
    return [one.tokens for one in stream.completions()]


@settings(max_examples=10, deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, 30), st.sampled_from([tuple(p) for p in PROMPTS]), st.integers(1, 60)), max_size=8),
    st.integers(1, 6),
)
def test_requests_that_join_draw_what_they_draw_alone_and_disturb_nobody(sampler, joining, max_batch):
    """Shorter and longer ones, with more slots than the stream began with or none free."""
    few = LocalSampler(sampler.model, sampler.tokenizer, max_batch=max_batch)
    begun = [Request(tuple(PROMPTS[i % 4]), i, 32, 32) for i in range(2)]
    added = [Request(prompt, 100 + i, most) for i, (_, prompt, most) in enumerate(joining)]
    at = sorted(after for after, _, _ in joining)
    told = read_adding(few.stream(begun, SETTINGS), list(zip(at, added, strict=True)))
    assert told == [drawn(sampler, [request])[request] for request in [*begun, *added]]


def test_one_that_joins_is_drawn_before_those_it_joined_have_ended(sampler):
    stream, order = sampler.stream([Request(tuple(PROMPTS[0]), 0, 32, 32)], SETTINGS), []
    for place, token in enumerate(stream):
        if place == 4:
            assert stream.add(Request(tuple(PROMPTS[1]), 1, 2, 2)) == 1
        if token.ending is not None:
            order.append(token.request)
    assert order == [1, 0]


def test_one_that_joins_stays_within_the_cache(model, tokenizer, monkeypatch):
    """A request of 96 columns leaves room for two: it waits until only one other is under way."""
    small = LocalSampler(model, tokenizer, config=LocalConfig(cache_gib=2.5 * 256 * 96 / 2**30))
    begun = [Request(tuple(PROMPTS[0]), i, 24 + i, 24 + i) for i in range(4)]
    rows, sizes = watched_steps(small._decoder, monkeypatch)
    long = Request((5,) * 90, 9, 7, 7)
    told = read_adding(small.stream(begun, SETTINGS), [(3, long)])
    assert told == [drawn(LocalSampler(model, tokenizer), [request])[request] for request in [*begun, long]]
    assert max(sizes) <= 2.5 * 96
    assert max(rows) == 4
    with pytest.raises(TruingError, match=r"engine\.local\.cache_gib"):
        LocalSampler(model, tokenizer, config=LocalConfig(cache_gib=64 * 256 / 2**30)).stream(begun, SETTINGS).add(long)


def test_what_joins_must_fit_the_context_and_come_in_time(sampler):
    stream = sampler.stream([Request(tuple(PROMPTS[0]), 0, 2)], SETTINGS)
    with pytest.raises(TruingError, match=r"request 1 has 120 tokens.*context of 128"):
        stream.add(Request((5,) * 120, 1, 32))
    list(stream)
    with pytest.raises(ValueError, match="open another"):
        stream.add(Request(tuple(PROMPTS[0]), 1, 2))
    assert len(stream.completions()) == 1


def test_a_cancelled_request_frees_its_slot_and_leaves_the_others_alone(sampler):
    few = LocalSampler(sampler.model, sampler.tokenizer, max_batch=2)
    requests = [Request(tuple(prompt), seed, 32, 32) for seed, prompt in enumerate(PROMPTS)]
    free = few.complete(requests, SETTINGS)
    stream = few.stream(requests, SETTINGS)
    begun, endings, waiting = [0] * len(requests), {}, None
    for token in stream:
        if token.ending is not None:
            endings[token.request] = token.ending
        begun[token.request] += token.token is not None
        if begun[token.request] == 3 and waiting is None:
            stream.cancel(token.request)  # under way
            stream.cancel(token.request)
            waiting = begun.index(0)
            stream.cancel(waiting)
    ended = stream.completions()
    cancelled = [number for number, one in enumerate(ended) if one.ending is Ending.CANCELLED]
    assert len(cancelled) == 2
    assert ended[waiting].tokens == ()
    assert [endings[number] for number in cancelled] == [Ending.CANCELLED] * 2
    for number, one in enumerate(ended):
        assert one.tokens == free[number].tokens[: len(one.tokens)]
        assert number in cancelled or len(one.tokens) == 32
    assert any(3 <= len(ended[number].tokens) < 32 for number in cancelled)


def test_weights_that_have_diverged_are_named(tiny_model_dir, tokenizer):
    broken = load_policy(tiny_model_dir)
    sampler = LocalSampler(broken, tokenizer)
    broken.get_input_embeddings().weight.data.fill_(float("nan"))
    with pytest.raises(TruingError, match="NaN"):
        sampler.sample(PROMPTS, samples_per_prompt=1, settings=SETTINGS, seed=0)
