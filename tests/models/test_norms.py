"""RMS norms in one pass: the numbers and gradients of the formula, in the place of those that mean it and of no others."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.models.test_unread import assert_same, loss_and_gradients
from torch import nn

from truing.models import kernels
from truing.models.config import LoadSettings
from truing.models.load import load_policy, load_scorer, load_tokenizer, save_model
from truing.models.norms import RMSNorm, fuse_norms


@pytest.fixture(autouse=True)
def small_kernels(monkeypatch):
    """So that a few numbers are enough."""
    monkeypatch.setattr(kernels, "_LEAST", 1)


class PlainRMSNorm(nn.Module):
    """As models write it; `offset` as some do whose weights are around zero."""

    def __init__(self, width, offset=0.0):
        super().__init__()
        self.weight = nn.Parameter(torch.linspace(-1, 2, width))
        self.variance_epsilon = 1e-6
        self.offset = offset

    def forward(self, x):
        floats = x.float()
        normed = floats * torch.rsqrt(floats.square().mean(-1, keepdim=True) + self.variance_epsilon)
        return (self.offset + self.weight) * normed.to(x.dtype)


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 9), st.integers(1, 9), st.sampled_from([torch.float32, torch.float64]))
def test_values_and_gradients_are_the_formulas(rows, width, dtype):
    torch.manual_seed(rows)
    plain = PlainRMSNorm(width).to(dtype)
    x, upstream = torch.randn(2, rows, width, dtype=dtype, requires_grad=True), torch.randn(2, rows, width, dtype=dtype)
    results = [
        (out := norm(x), *torch.autograd.grad(out, (x, plain.weight), upstream)) for norm in (plain, RMSNorm(plain.weight, 1e-6))
    ]
    for theirs, ours in zip(*results, strict=True):
        assert ours.dtype == theirs.dtype
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)


def test_in_bfloat16_it_is_no_further_from_the_truth_than_the_formula_in_single_operations():
    torch.manual_seed(0)
    plain = PlainRMSNorm(64).bfloat16()
    x, upstream = torch.randn(3000, 64).bfloat16().requires_grad_(), torch.randn(3000, 64).bfloat16()

    def results(norm, dtype):
        given = x.detach().to(dtype).requires_grad_()
        out = norm(given)
        return [out, *torch.autograd.grad(out, (given, norm.weight), upstream.to(dtype))]

    def errors(norm):
        return [((a.double() - b).norm() / b.norm()).item() for a, b in zip(results(norm, torch.bfloat16), truth, strict=True)]

    exact = PlainRMSNorm(64).double()
    exact.weight.data.copy_(plain.weight.data)
    exact.forward = lambda x: exact.weight * (x * torch.rsqrt(x.square().mean(-1, keepdim=True) + 1e-6))
    truth = results(exact, torch.float64)
    for ours, theirs in zip(errors(RMSNorm(plain.weight, 1e-6)), errors(plain), strict=True):
        assert ours <= 1.05 * theirs


def test_rows_are_shared_among_threads_with_the_same_result():
    torch.manual_seed(0)
    norm = RMSNorm(nn.Parameter(torch.randn(128)), 1e-6)
    x, upstream = torch.randn(3000, 128, requires_grad=True), torch.randn(3000, 128)

    def results(threads):
        torch.set_num_threads(threads)
        out = norm(x)
        return [out, *torch.autograd.grad(out, (x, norm.weight), upstream)]

    before = torch.get_num_threads()
    try:
        one, three = results(1), results(3)
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(a, b) for a, b in zip(one, three, strict=True))


def test_only_norms_that_mean_the_same_are_replaced():
    model = nn.Sequential(PlainRMSNorm(6), PlainRMSNorm(6, offset=1.0), nn.LayerNorm(6), nn.Sequential(PlainRMSNorm(5)))
    weights = list(model.parameters())
    fuse_norms(model)
    assert [type(module) for module in model] == [RMSNorm, PlainRMSNorm, nn.LayerNorm, nn.Sequential]
    assert type(model[3][0]) is RMSNorm
    assert all(a is b for a, b in zip(model.parameters(), weights, strict=True))


def test_a_model_with_fused_norms_is_the_same_model(tiny_model_dir):
    on, off = (load_policy(tiny_model_dir, LoadSettings(fused=fused)) for fused in (True, False))
    assert sum(isinstance(module, RMSNorm) for module in on.modules()) == 2 * on.config.num_hidden_layers + 1
    assert not any(isinstance(module, RMSNorm) for module in off.modules())
    assert_same(loss_and_gradients(on), loss_and_gradients(off))


def test_what_is_saved_is_a_plain_model(tiny_model_dir, tmp_path):
    on = load_scorer(tiny_model_dir, seed=0)
    save_model(on, load_tokenizer(tiny_model_dir), tmp_path / "saved")
    again = load_scorer(tmp_path / "saved", LoadSettings(fused=False, products="torch"))
    assert on.state_dict().keys() == again.state_dict().keys()
    assert all(torch.equal(a, b) for a, b in zip(on.state_dict().values(), again.state_dict().values(), strict=True))
