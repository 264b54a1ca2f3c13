"""Rotation in one pass: the numbers and gradients of a model's own function, in its place and nowhere else."""

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.models.test_unread import assert_same, loss_and_gradients
from torch import nn
from transformers.models.llama import modeling_llama
from transformers.models.llama.modeling_llama import apply_rotary_pos_emb

from truing.models import kernels, rotary
from truing.models.config import LoadSettings
from truing.models.load import load_policy
from truing.models.rotary import fuse_rotary


@pytest.fixture(autouse=True)
def small_kernels(monkeypatch):
    """So that a few numbers are enough."""
    monkeypatch.setattr(kernels, "_LEAST", 1)


def given_numbers(batch, heads, key_heads, tokens, half, dtype):
    torch.manual_seed(tokens)
    query, key = (torch.randn(batch, tokens, n, 2 * half).transpose(1, 2) for n in (heads, key_heads))
    angle = (torch.rand(batch, tokens, half) * 6).repeat(1, 1, 2)
    return [x.to(dtype) for x in (query, key, angle.cos(), angle.sin())]


def results(function, query, key, cos, sin):
    query, key = (x.detach().requires_grad_() for x in (query, key))
    out = function(query, key, cos, sin)
    return [*out, *torch.autograd.grad(out, (query, key), [torch.ones_like(x) * x.detach() for x in out])]


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 3), st.sampled_from([(1, 1), (4, 2), (3, 3)]), st.integers(1, 9), st.integers(1, 9))
def test_values_and_gradients_are_the_models_own(batch, heads, tokens, half):
    numbers = given_numbers(batch, *heads, tokens, half, torch.float32)
    ours = results(rotary._in_one_pass(apply_rotary_pos_emb), *numbers)
    for a, b in zip(ours, results(apply_rotary_pos_emb, *numbers), strict=True):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-5)


def test_in_bfloat16_it_is_nearer_the_truth_than_single_operations():
    numbers = given_numbers(1, 4, 2, 300, 32, torch.bfloat16)
    truth = results(apply_rotary_pos_emb, *(x.double() for x in numbers))
    ours, theirs = (
        sum((a.double() - b).norm() for a, b in zip(results(way, *numbers), truth, strict=True))
        for way in (rotary._in_one_pass(apply_rotary_pos_emb), apply_rotary_pos_emb)
    )
    assert ours < theirs


@pytest.mark.parametrize(
    "change",
    [
        lambda q, k, c, s: (q.double(), k.double(), c.double(), s.double()),
        lambda q, k, c, s: (q, k, c.double(), s.double()),
        lambda q, k, c, s: (q, k, c[:1], s[:1]),
    ],
    ids=["double", "mixed", "one row of angles for two"],
)
def test_what_is_unusual_goes_the_models_own_way(change):
    numbers = change(*given_numbers(2, 2, 2, 3, 4, torch.float32))
    for a, b in zip(rotary._in_one_pass(apply_rotary_pos_emb)(*numbers), apply_rotary_pos_emb(*numbers), strict=True):
        assert torch.equal(a, b)


def _interleaved(q, k, cos, sin, unsqueeze_dim=1):
    cos, sin = cos.unsqueeze(unsqueeze_dim), sin.unsqueeze(unsqueeze_dim)
    return tuple(x * cos + torch.stack([-x[..., 1::2], x[..., ::2]], -1).flatten(-2) * sin for x in (q, k))


def _of_one_argument(q):
    return q


@pytest.mark.parametrize("function", [_interleaved, _of_one_argument])
def test_other_rotations_are_left_alone(function):
    assert not rotary._is_plain(function)
    assert rotary._is_plain(apply_rotary_pos_emb)


def test_a_model_that_rotates_in_one_pass_is_the_same_model(tiny_model_dir):
    on, off = (load_policy(tiny_model_dir, LoadSettings(fused=fused)) for fused in (True, False))
    kinds = [type(layer.self_attn) for layer in on.base_model.layers]
    assert all(kind.forward.__globals__["apply_rotary_pos_emb"] is not apply_rotary_pos_emb for kind in kinds)
    assert all(type(layer.self_attn) is kind.__mro__[1] for kind, layer in zip(kinds, off.base_model.layers, strict=True))
    assert modeling_llama.apply_rotary_pos_emb is apply_rotary_pos_emb
    assert_same(loss_and_gradients(on), loss_and_gradients(off))
    assert_same(loss_and_gradients(copy.deepcopy(on)), loss_and_gradients(off))


def test_modules_that_do_not_rotate_stay():
    model = nn.Sequential(nn.Linear(2, 2), nn.ReLU())
    fuse_rotary(model)
    assert [type(module) for module in model] == [nn.Linear, nn.ReLU]
