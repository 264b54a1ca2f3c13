"""Gates in one pass: the numbers and gradients of SiLU and a product, in MLPs that are just that and in no others."""

import pytest
import torch
from tests.models.test_unread import assert_same, loss_and_gradients
from torch import nn
from torch.nn import functional

from truing.models import kernels
from truing.models.config import LoadSettings
from truing.models.gated import fuse_gates, gated
from truing.models.load import load_policy


@pytest.fixture(autouse=True)
def small_kernels(monkeypatch):
    """So that a few numbers are enough."""
    monkeypatch.setattr(kernels, "_LEAST", 1)


def plain(gate, up):
    return functional.silu(gate) * up


def results(function, gate, up, upstream):
    gate, up = (x.detach().requires_grad_() for x in (gate, up))
    out = function(gate, up)
    return [out, *torch.autograd.grad(out, (gate, up), upstream)]


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("shape", [(1,), (1, 3, 5), (700, 301)])
def test_values_and_gradients_are_the_formulas(shape, threads):
    torch.manual_seed(0)
    numbers = [5 * torch.randn(shape) for _ in range(3)]
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        ours = results(gated, *numbers)
    finally:
        torch.set_num_threads(before)
    for a, b in zip(ours, results(plain, *numbers), strict=True):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-5)


def test_in_bfloat16_it_is_nearer_the_truth_than_single_operations():
    torch.manual_seed(0)
    numbers = [torch.randn(3000).bfloat16() for _ in range(3)]
    truth = results(plain, *(x.double() for x in numbers))
    for ours, theirs, true in zip(results(gated, *numbers), results(plain, *numbers), truth, strict=True):
        assert (ours.double() - true).norm() <= (theirs.double() - true).norm()


@pytest.mark.parametrize(
    "change", [torch.Tensor.double, lambda x: x.view(2, 3).T, torch.Tensor.half], ids=["double", "turned", "half"]
)
def test_what_is_unusual_goes_torchs_way(change):
    gate, up = change(torch.randn(6)), change(torch.randn(6))
    assert torch.equal(gated(gate, up), plain(gate, up))


class MLP(nn.Module):
    def __init__(self, act_fn, scale=1.0):
        super().__init__()
        self.gate_proj, self.up_proj, self.down_proj = nn.Linear(4, 6), nn.Linear(4, 6), nn.Linear(6, 4)
        self.act_fn, self.scale = act_fn, scale

    def forward(self, x):
        return self.scale * self.down_proj(self.act_fn(self.gate_proj(x)) * self.up_proj(x))


def test_only_mlps_that_mean_the_same_are_replaced():
    torch.manual_seed(0)
    model = nn.Sequential(MLP(nn.SiLU()), MLP(nn.GELU()), MLP(nn.SiLU(), scale=2.0), nn.Linear(4, 4))
    x = torch.randn(2, 4)
    before = model(x)
    fuse_gates(model)
    assert [type(module) is kind for module, kind in zip(model, (MLP, MLP, MLP, nn.Linear), strict=True)] == [
        False,
        True,
        True,
        True,
    ]
    assert isinstance(model[0], MLP)
    torch.testing.assert_close(model(x), before)


def test_a_model_that_gates_in_one_pass_is_the_same_model(tiny_model_dir):
    on, off = (load_policy(tiny_model_dir, LoadSettings(fused=fused)) for fused in (True, False))
    kinds = [[type(layer.mlp) for layer in model.base_model.layers] for model in (on, off)]
    assert all(fused.__mro__[1] is own for fused, own in zip(*kinds, strict=True))
    assert_same(loss_and_gradients(on), loss_and_gradients(off))


def test_few_numbers_go_torchs_way(monkeypatch):
    gate, up = torch.randn(2, 6)
    monkeypatch.setattr(kernels, "_LEAST", 7)
    assert torch.equal(gated(gate, up), plain(gate, up))
