"""Attention segment by segment: what a dense mask gives, forward and back, and what rectangles give."""

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from truing.errors import TruingError
from truing.models import attention, layout, segments
from truing.models.config import LoadSettings
from truing.models.forward import last_token_scores, token_logprobs
from truing.models.layout import Call, RaggedLayout, Segment
from truing.models.load import load_policy, load_scorer
from truing.models.ragged import RaggedBatch
from truing.models.segments import segment_attention

GROUPS = st.lists(
    st.tuples(st.integers(1, 9), st.lists(st.integers(1, 9), max_size=3)),
    min_size=1,
    max_size=4,
)
"""Lengths of beginnings and of their branches."""


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    """So that a few tokens are enough to be cut, and not to be gathered."""
    monkeypatch.setattr(layout, "_BLOCK", 4)
    monkeypatch.setattr(attention, "_SHORT", 0)


def calls_of(found):
    return RaggedLayout.of_segments(found, torch.device("cpu")).calls


def laid(groups, unread=lambda length: 0):
    found, n_tokens = [], 0
    for length, branches in groups:
        context = Segment(n_tokens, length, unread=unread(length))
        found.append(context)
        n_tokens += length
        for branch in branches:
            found.append(Segment(n_tokens, branch, context.start, context.length, unread=unread(branch)))
            n_tokens += branch
    return found, n_tokens


def seen_by(found, n_tokens):
    """Which key each query sees, [T, T]; no row's for tokens without a query."""
    is_seen_TT = torch.zeros(n_tokens, n_tokens, dtype=torch.bool)
    for segment in found:
        for token in range(segment.start + segment.unread, segment.start + segment.length):
            is_seen_TT[token, segment.start : token + 1] = True
            is_seen_TT[token, segment.context_start : segment.context_start + segment.context_length] = True
    return is_seen_TT


def inputs(n_tokens, dtype, heads=2, width=8):
    generator = torch.Generator().manual_seed(n_tokens)
    return [torch.randn(n_tokens, heads, width, generator=generator, dtype=dtype, requires_grad=True) for _ in range(3)]


def dense(query_THE, key_THE, value_THE, is_seen_TT, scale):
    scores_HTT = torch.einsum("qhe,khe->hqk", query_THE, key_THE) * scale
    weights_HTT = scores_HTT.masked_fill(~is_seen_TT, -1e30).softmax(-1) * is_seen_TT
    return torch.einsum("hqk,khe->qhe", weights_HTT, value_THE)


@settings(max_examples=50, deadline=None)
@given(GROUPS, st.booleans())
def test_output_and_gradients_are_those_of_a_dense_mask(groups, narrowed):
    found, n_tokens = laid(groups, (lambda length: length // 2) if narrowed else (lambda length: 0))
    weight_THE = torch.linspace(-1, 1, n_tokens * 16).view(n_tokens, 2, 8)
    results = []
    for attend in (
        lambda *qkv: segment_attention(*qkv, calls_of(found), 0.3),
        lambda *qkv: dense(*qkv, seen_by(found, n_tokens), 0.3),
    ):
        qkv = inputs(n_tokens, torch.float32)
        out_THE = attend(*qkv)
        (out_THE * weight_THE).sum().backward()
        results.append([out_THE.detach(), *(x.grad for x in qkv)])
    for ours, expected in zip(*results, strict=True):
        torch.testing.assert_close(ours, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("unread", [0, 3])
def test_gradients_are_the_derivatives(unread):
    found, n_tokens = laid([(5, [6, 4]), (7, [])], lambda length: min(unread, length - 1))
    calls = calls_of(found)
    qkv = inputs(n_tokens, torch.float64, width=3)
    assert torch.autograd.gradcheck(lambda *x: segment_attention(*x, calls, None), qkv)


@settings(max_examples=50, deadline=None)
@given(GROUPS, st.booleans())
def test_every_pair_is_computed_once_and_each_query_is_first_seen_in_a_causal_call(groups, narrowed):
    found, n_tokens = laid(groups, (lambda length: length - 1) if narrowed else (lambda length: 0))
    times_TT = torch.zeros(n_tokens, n_tokens, dtype=torch.int)
    has_begun_T = torch.zeros(n_tokens, dtype=torch.bool)
    for call in calls_of(found):
        queries, keys = (torch.arange(at, at + n) for at, n in (call[:2], call[2:]))
        assert bool(has_begun_T[queries].all() if not call.is_causal else ~has_begun_T[queries].any())
        has_begun_T[queries] = True
        block = torch.ones(len(queries), len(keys), dtype=torch.int)
        times_TT[queries[:, None], keys] += block.tril() if call.is_causal else block
    torch.testing.assert_close(times_TT, seen_by(found, n_tokens).int())


def test_branches_of_one_beginning_see_it_in_one_call():
    found, _ = laid([(3, [2, 2, 1])])
    assert calls_of(found)[-1] == Call(query=3, n_queries=5, key=0, n_keys=3)


def test_a_prompt_and_its_answers_take_calls_of_what_is_seen():
    found, _ = laid([(6, [2, 1])])
    causal = [Call(0, 4, 0, 4), Call(4, 2, 4, 2), Call(6, 2, 6, 2), Call(8, 1, 8, 1)]
    assert calls_of(found) == (*causal, Call(4, 2, 0, 4), Call(6, 3, 0, 6))


SEQUENCES = [[9, 8, 7, 30, 31, 32, 40, 41, 42, 43, 44, 45], [9, 8, 7, 30, 31, 32, 50], [60, 61, 62, 63, 64], [70, 71, 72]]
FLAGS = [[False] * 6 + [True] * 6, [False] * 6 + [True], [False, True, False, False, True], [False, True, True]]


@pytest.fixture
def n_calls(monkeypatch):
    """How many calls of attention were made segment by segment."""
    made = []
    real = attention.segment_attention
    monkeypatch.setattr(attention, "segment_attention", lambda *args: made.append(args) or real(*args))
    return lambda: len(made)


@pytest.mark.parametrize("checkpointed", [False, True])
def test_segments_give_what_rectangles_give(tiny_model_dir, n_calls, checkpointed):
    results = []
    for way in ("auto", "rectangles"):
        model = load_policy(
            tiny_model_dir, LoadSettings(device="cpu", attention=way, gradient_checkpointing=checkpointed)
        ).train()
        before = n_calls()
        batch = RaggedBatch.from_sequences(SEQUENCES, groups=[0, 0, 1, 2])
        logprobs_N = token_logprobs(model, batch, batch.positions(FLAGS)).logprobs_N
        logprobs_N.square().sum().backward()
        assert (n_calls() > before) == (way == "auto")
        results.append([logprobs_N.detach(), *(weight.grad for weight in model.parameters())])
    for ours, expected in zip(*results, strict=True):
        torch.testing.assert_close(ours, expected, rtol=0, atol=1e-5 * max(1.0, float(expected.abs().max())))


def test_a_score_does_not_depend_on_what_else_is_in_the_batch(tiny_model_dir):
    scorer = load_scorer(tiny_model_dir, seed=1)
    mine = [9, 8, 7, 6, 5, 4, 3]
    with torch.no_grad():
        alone = last_token_scores(scorer, RaggedBatch.from_sequences([mine]))[0]
        beside = last_token_scores(scorer, RaggedBatch.from_sequences([[5] * 90, mine, [6] * 70]))[1]
    torch.testing.assert_close(beside, alone, rtol=0, atol=1e-5)


@pytest.mark.parametrize("reason", ["short", "window", "dropout"])
def test_the_rest_is_left_to_rectangles(tiny_model_dir, n_calls, monkeypatch, reason):
    model = copy.deepcopy(load_policy(tiny_model_dir))
    batch = RaggedBatch.from_sequences(SEQUENCES)
    if reason == "short":
        monkeypatch.setattr(attention, "_SHORT", 100)
    before = n_calls()
    with torch.no_grad():
        x = torch.randn(1, 2, batch.n_tokens, 8)
        kwargs = {"window": {"sliding_window": 4}, "dropout": {"dropout": 0.1}}.get(reason, {})
        attention._segment_attention(model, x, x, x, batch.layout, kwargs)
    assert n_calls() == before


def test_a_torch_without_the_kernel_is_told_at_once(tiny_model_dir, monkeypatch):
    monkeypatch.setattr(segments, "_NAME", "_gone")
    segments.kernel.cache_clear()
    try:
        with pytest.raises(TruingError, match=r'load\.attention = "rectangles"'):
            load_policy(tiny_model_dir, LoadSettings(device="cpu"))
        load_policy(tiny_model_dir, LoadSettings(device="cpu", attention="rectangles"))
    finally:
        monkeypatch.undo()
        segments.kernel.cache_clear()


def test_a_kernel_that_is_wrong_is_noticed_when_a_model_is_loaded(tiny_model_dir, monkeypatch):
    """The few tokens that are tried are enough to go through it."""
    monkeypatch.setattr(attention, "segment_attention", lambda query, *_: torch.zeros_like(query))
    with pytest.raises(TruingError, match="turns hidden states into logits in a way"):
        load_policy(tiny_model_dir, LoadSettings(attention="segments"))
