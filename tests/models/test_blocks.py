"""Attention by blocks of queries: what a dense mask gives, forward and back, and where it is used."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.models.test_segments import FLAGS, GROUPS, SEQUENCES, dense, laid, seen_by

from truing.errors import TruingError
from truing.models import attention, blocks, kernels, load
from truing.models.blocks import Blocks, block_attention
from truing.models.config import LoadSettings
from truing.models.forward import token_logprobs
from truing.models.load import choose_attention, load_policy
from truing.models.ragged import RaggedBatch

HEADS, KEY_HEADS, WIDTH = 4, 2, 8


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    """So that a few tokens are enough to be cut, padded, and not to be gathered."""
    monkeypatch.setattr(blocks, "_QUERIES", 4)
    monkeypatch.setattr(blocks, "_QUERY_COLUMNS", 2)
    monkeypatch.setattr(blocks, "_KEY_COLUMNS", 3)
    monkeypatch.setattr(attention, "_SHORT", 0)
    blocks.laid_out.cache_clear()
    yield
    blocks.laid_out.cache_clear()


def inputs(n_tokens):
    generator = torch.Generator().manual_seed(n_tokens)
    shapes = [(n_tokens, heads, WIDTH) for heads in (HEADS, KEY_HEADS, KEY_HEADS)]
    return [torch.randn(shape, generator=generator, requires_grad=True) for shape in shapes]


def dense_with_shared_heads(query_THE, key_THE, value_THE, is_seen_TT, scale):
    key_THE, value_THE = (x.repeat_interleave(HEADS // KEY_HEADS, 1) for x in (key_THE, value_THE))
    return dense(query_THE, key_THE, value_THE, is_seen_TT, scale)


@pytest.mark.parametrize("kept_keys", [0, 6, 512])
@settings(max_examples=30, deadline=None)
@given(GROUPS, st.booleans())
def test_output_and_gradients_are_those_of_a_dense_mask(kept_keys, groups, narrowed):
    found, n_tokens = laid(groups, (lambda length: length // 2) if narrowed else (lambda length: 0))
    weight_THE = torch.linspace(-1, 1, n_tokens * HEADS * WIDTH).view(n_tokens, HEADS, WIDTH)
    results = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(blocks, "_KEPT_KEYS", kept_keys)
        for attend in (
            lambda *qkv: block_attention(*qkv, Blocks.of_segments(found, HEADS, KEY_HEADS), 0.3),
            lambda *qkv: dense_with_shared_heads(*qkv, seen_by(found, n_tokens), 0.3),
        ):
            qkv = inputs(n_tokens)
            out_THE = attend(*qkv)
            (out_THE * weight_THE).sum().backward()
            results.append([out_THE.detach(), *(x.grad for x in qkv)])
    for ours, expected in zip(*results, strict=True):
        torch.testing.assert_close(ours, expected, rtol=1e-5, atol=1e-5)


def test_threads_share_the_rows_with_the_same_result(monkeypatch):
    monkeypatch.setattr(kernels, "_LEAST", 1)
    found, n_tokens = laid([(9, [6, 4]), (7, [])])
    before, results = torch.get_num_threads(), []
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            qkv = [x.detach().bfloat16().requires_grad_() for x in inputs(n_tokens)]
            out_THE = block_attention(*qkv, Blocks.of_segments(found, HEADS, KEY_HEADS), 0.3)
            out_THE.square().sum().backward()
            results.append([out_THE.detach(), *(x.grad for x in qkv)])
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))


def sizes(found):
    """Of each batch: blocks, query columns, key columns."""
    batches = Blocks.of_segments(found, HEADS, KEY_HEADS).batches
    return sorted((len(batch.query_RHL), batch.query_RHL.shape[2], batch.key_RHC.shape[2]) for batch in batches)


def test_short_branches_of_one_beginning_have_it_beside_them_once():
    found, _ = laid([(3, [1, 2, 1]), (3, [2, 2])])
    assert sizes(found) == [(2, 4, 3), (2, 4, 9)]  # 3 + 1 + 2 + 1 keys and 3 + 2 + 2, in columns of 3
    found, _ = laid([(3, [1, 6, 1])])  # the second is cut in two, the others go together
    assert sizes(found) == [(1, 2, 6), (1, 2, 9), (1, 4, 3), (1, 4, 9)]


def test_branches_stay_apart_where_their_own_keys_cost_more_than_bringing_the_beginning_twice(monkeypatch):
    monkeypatch.setattr(blocks, "_BRINGING", 0)
    found, _ = laid([(1, [2, 2])])
    assert sizes(found) == [(3, 2, 3)]


def test_in_bfloat16_it_is_near_the_dense_mask_in_float32():
    found, n_tokens = laid([(9, [6, 4]), (7, [])])
    given_THE = [x.detach().bfloat16() for x in inputs(n_tokens)]
    results = []
    for dtype, attend in (
        (torch.bfloat16, lambda *qkv: block_attention(*qkv, Blocks.of_segments(found, HEADS, KEY_HEADS), 0.3)),
        (torch.float32, lambda *qkv: dense_with_shared_heads(*qkv, seen_by(found, n_tokens), 0.3)),
    ):
        qkv = [x.to(dtype, copy=True).requires_grad_() for x in given_THE]
        out_THE = attend(*qkv)
        out_THE.square().sum().backward()
        assert out_THE.dtype == dtype
        results.append([out_THE.detach().float(), *(x.grad.float() for x in qkv)])
    for ours, expected in zip(*results, strict=True):
        assert float((ours - expected).norm() / expected.norm()) < 0.01


def test_a_policy_in_bfloat16_says_what_rectangles_say(tiny_model_dir, monkeypatch):
    made = []
    monkeypatch.setattr(attention, "block_attention", lambda *args: made.append(1) or block_attention(*args))
    results = []
    for way in ("blocks", "rectangles"):
        model = load_policy(tiny_model_dir, LoadSettings(device="cpu", dtype="bfloat16", attention=way)).train()
        before = len(made)
        batch = RaggedBatch.from_sequences(SEQUENCES, groups=[0, 0, 1, 2])
        logprobs_N = token_logprobs(model, batch, batch.positions(FLAGS)).logprobs_N
        logprobs_N.mean().backward()
        assert (len(made) > before) == (way == "blocks")
        results.append([logprobs_N.detach(), *(weight.grad.float() for weight in model.parameters())])
    for ours, expected in zip(*results, strict=True):
        assert float((ours - expected).norm()) <= 0.03 * float(expected.norm())


@pytest.mark.parametrize("reason", ["short", "window", "dropout"])
def test_the_rest_is_left_to_rectangles(monkeypatch, reason):
    monkeypatch.setattr(attention, "block_attention", None)  # would fail
    batch = RaggedBatch.from_sequences(SEQUENCES)
    if reason == "short":
        monkeypatch.setattr(attention, "_SHORT", 100)
    x = torch.randn(1, 2, batch.n_tokens, 8).bfloat16()
    kwargs = {"window": {"sliding_window": 4}, "dropout": {"dropout": 0.1}}.get(reason, {})
    out = attention._block_attention(torch.nn.Module(), x, x, x, batch.layout, kwargs)
    assert out.shape == (1, batch.n_tokens, 2, 8)


def test_auto_takes_blocks_for_bfloat16_where_the_processor_has_it(monkeypatch):
    cpu = torch.device("cpu")
    for has_it, way in ((True, "truing_blocks"), (False, "truing_segments")):
        monkeypatch.setattr(load, "is_faster_in_blocks", lambda has_it=has_it: has_it)
        assert choose_attention(LoadSettings(dtype="bfloat16"), cpu) == way
        assert choose_attention(LoadSettings(dtype="float32"), cpu) == "truing_segments"
    with pytest.raises(TruingError, match="multiplies in bfloat16"):
        choose_attention(LoadSettings(attention="blocks", dtype="float32"), cpu)
    with pytest.raises(TruingError, match="runs on a CPU, not on cuda"):
        choose_attention(LoadSettings(attention="blocks"), torch.device("cuda"))
    monkeypatch.setattr(blocks, "processor", lambda: {"amx_bf16": True})
    assert blocks.is_faster_in_blocks()
    monkeypatch.setattr(blocks, "processor", dict)
    assert not blocks.is_faster_in_blocks()
