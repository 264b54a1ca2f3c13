"""Linear layers on oneDNN and by way of float32: the numbers and gradients of torch's own products, and where they are used."""

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.models.test_unread import assert_same, loss_and_gradients
from torch import nn

from truing.errors import TruingError
from truing.models import load, products
from truing.models.config import LoadSettings, LoRASettings
from truing.models.load import choose_products, load_policy
from truing.models.lora import add_adapters
from truing.models.products import OneDnnLinear, WidenedLinear, has_onednn, onednn_linear

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def small_products(monkeypatch):
    """So that a few numbers are enough."""
    for name in ("_LEAST", "_LEAST_OF_FEW"):
        monkeypatch.setattr(products, name, 64)
    monkeypatch.setattr(OneDnnLinear, "least_weight", 64)


needs_onednn = pytest.mark.skipif(not has_onednn(), reason="this torch multiplies no float32 matrices by oneDNN")


@pytest.fixture
def both(tiny_model_dir):
    return [load_policy(tiny_model_dir, LoadSettings(products=name)) for name in ("onednn", "torch")]


@needs_onednn
@settings(max_examples=40, deadline=None)
@given(st.integers(64, 99), st.integers(1, 70), st.integers(1, 70), st.booleans(), st.booleans())
def test_a_layer_gives_what_torch_gives(rows, inputs, outputs, has_bias, is_strided):
    torch.manual_seed(rows)
    plain = nn.Linear(inputs, outputs, bias=has_bias)
    fast = copy.deepcopy(plain)
    fast.__class__ = OneDnnLinear
    x_ND = torch.randn(inputs, rows).T if is_strided else torch.randn(rows, inputs)
    upstream_NM = torch.randn(outputs, rows).T if is_strided else torch.randn(rows, outputs)
    results = []
    for layer in (plain, fast):
        x = x_ND.clone(memory_format=torch.preserve_format).requires_grad_()
        out = layer(x)
        out.backward(upstream_NM)
        results.append([out, x.grad, *(weight.grad for weight in layer.parameters())])
    for ours, theirs in zip(*results, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-4)


@needs_onednn
@settings(max_examples=30, deadline=None)
@given(st.integers(1, 140), st.integers(1, 70), st.integers(1, 70), st.booleans())
def test_a_packed_layer_gives_what_torch_gives(rows, inputs, outputs, has_bias):
    torch.manual_seed(rows)
    layer = nn.Linear(inputs, outputs, bias=has_bias)
    x_1ND = torch.randn(1, rows, inputs)
    with torch.no_grad():
        expected = layer(x_1ND)
        layer.__class__ = OneDnnLinear
        with products.packed_weights(layer):
            torch.testing.assert_close(layer(x_1ND), expected, rtol=1e-5, atol=1e-5)
        assert layer.packed is None


@needs_onednn
def test_gradients_are_of_the_weights_themselves_while_packed_copies_are_held():
    layer = nn.Linear(8, 8)
    layer.__class__ = OneDnnLinear
    with products.packed_weights(layer):
        layer(torch.randn(16, 8)).sum().backward()
    assert layer.weight.grad is not None


@pytest.mark.parametrize(("rows", "filled"), [(1, 4), (4, 4), (13, 16), (17, 24), (128, 128), (129, 129)])
def test_few_rows_are_filled_up_so_that_sizes_come_again(rows, filled):
    assert products._few_rounded(rows) == filled


@needs_onednn
def test_it_runs_what_it_says(monkeypatch):
    calls = []
    monkeypatch.setattr(OneDnnLinear, "multiply", staticmethod(lambda *args: calls.append(1) or onednn_linear(*args)))
    layer = nn.Linear(8, 8)
    layer.__class__ = OneDnnLinear
    layer(torch.randn(2, 8, 8, requires_grad=True)).sum().backward()
    assert len(calls) == 3  # forward, of the input, of the weight
    monkeypatch.setattr(products, "_LEAST", 200 * 8 * 8 + 1)
    layer(torch.randn(200, 8))
    assert len(calls) == 3  # many rows, and too small
    layer(torch.randn(100, 8, requires_grad=True))
    assert len(calls) == 4  # few rows, whose number comes again
    layer.bfloat16()(torch.randn(16, 8).bfloat16())
    assert len(calls) == 4


@needs_onednn
def test_a_model_on_onednn_is_the_same_model(both):
    fast, plain = both
    assert any(type(module) is OneDnnLinear for module in fast.base_model.modules())
    assert type(fast.get_output_embeddings()) is OneDnnLinear
    assert not any(type(module) is OneDnnLinear for module in plain.modules())
    assert_same(*map(loss_and_gradients, both))


@needs_onednn
def test_a_small_layer_is_left_as_it_is(tiny_model_dir, monkeypatch):
    monkeypatch.setattr(OneDnnLinear, "least_weight", 32 * 64)
    policy = load_policy(tiny_model_dir, LoadSettings(products="onednn"))
    sizes = {type(module): module.weight.numel() for module in policy.base_model.modules() if isinstance(module, nn.Linear)}
    assert set(sizes) == {nn.Linear, OneDnnLinear}
    assert sizes[nn.Linear] < 32 * 64 <= sizes[OneDnnLinear]


@needs_onednn
def test_adapters_go_on_layers_that_run_on_onednn(both):
    pytest.importorskip("peft")
    for model in both:
        add_adapters(model, LoRASettings(rank=2), seed=0)
    assert_same(*map(loss_and_gradients, both))


@pytest.mark.parametrize(
    ("cpu", "is_faster"),
    [
        ({"cpu_name": "AMD EPYC", "avx512_f": True}, True),
        ({"cpu_name": "Intel(R) Xeon(R)", "avx512_f": True}, False),
        ({"cpu_name": "AMD Ryzen", "avx512_f": False}, False),
        ({}, False),
    ],
)
def test_auto_takes_what_is_wider(monkeypatch, cpu, is_faster):
    monkeypatch.setattr(products, "has_onednn", lambda: True)
    monkeypatch.setattr(products, "processor", lambda: cpu)
    assert products.is_faster_by_onednn() is is_faster


def test_it_is_refused_where_it_cannot_run(monkeypatch):
    assert choose_products(LoadSettings(), torch.device("cuda")) == "torch"
    with pytest.raises(TruingError, match='on a CPU, not on cuda; use "torch"'):
        choose_products(LoadSettings(products="onednn"), torch.device("cuda"))


@needs_onednn
def test_a_torch_that_packs_no_weights_is_told_at_once(monkeypatch):
    def lacking():
        raise AttributeError("_reorder_linear_weight")

    monkeypatch.setattr(products, "_packer", lacking)
    products.kernel.cache_clear()
    try:
        assert choose_products(LoadSettings(), CPU) == "torch"
        with pytest.raises(TruingError, match=r"or \._reorder_linear_weight"):
            choose_products(LoadSettings(products="onednn"), CPU)
    finally:
        products.kernel.cache_clear()


def test_a_torch_without_the_kernel_is_told_at_once(monkeypatch):
    products.kernel.cache_clear()
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    try:
        assert choose_products(LoadSettings(), CPU) == "torch"
        with pytest.raises(TruingError, match=r"lacks mkldnn\._linear_pointwise.*products = \"torch\""):
            choose_products(LoadSettings(products="onednn"), CPU)
    finally:
        products.kernel.cache_clear()


def widened(layer):
    layer.__class__ = WidenedLinear
    return layer


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 40), st.integers(1, 70), st.integers(1, 70), st.booleans(), st.booleans())
def test_a_widened_layer_is_rounded_once(rows, inputs, outputs, has_bias, is_strided):
    torch.manual_seed(rows)
    layer = widened(nn.Linear(inputs, outputs, bias=has_bias).bfloat16())
    exact = nn.Linear(inputs, outputs, bias=has_bias)
    exact.load_state_dict(layer.state_dict())
    x_ND = (torch.randn(inputs, rows).T if is_strided else torch.randn(rows, inputs)).bfloat16()
    upstream_NM = torch.randn(rows, outputs).bfloat16()
    results = []
    for one, dtype in ((layer, torch.bfloat16), (exact, torch.float32)):
        x = x_ND.to(dtype, memory_format=torch.preserve_format).detach().clone().requires_grad_()
        out = one(x)
        out.backward(upstream_NM.to(dtype))
        results.append([out, x.grad, *(weight.grad for weight in one.parameters())])
    for ours, truth in zip(*results, strict=True):
        assert ours.dtype == torch.bfloat16
        torch.testing.assert_close(ours.float(), truth, rtol=2**-8, atol=1e-6 if rows >= 8 else 0.05)


def test_what_a_widened_layer_keeps_for_the_way_back_is_bfloat16():
    kept = []
    layer = widened(nn.Linear(16, 8).bfloat16())
    with torch.autograd.graph.saved_tensors_hooks(lambda x: kept.append(x.dtype) or x, lambda x: x):
        layer(torch.randn(32, 16).bfloat16())
    assert kept == [torch.bfloat16, torch.bfloat16]


def test_a_widened_layer_leaves_few_rows_and_other_types_to_torch(monkeypatch):
    calls = []
    multiply = WidenedLinear.multiply
    monkeypatch.setattr(WidenedLinear, "multiply", staticmethod(lambda *args: calls.append(1) or multiply(*args)))
    layer = widened(nn.Linear(8, 8).bfloat16())
    layer(torch.randn(2, 4, 8, requires_grad=True).bfloat16()).sum().backward()
    assert len(calls) == 3  # forward, of the input, of the weight
    layer(torch.randn(7, 8).bfloat16())
    layer.float()(torch.randn(9, 8))
    assert len(calls) == 3


def test_float32_that_a_widened_layer_sees_is_not_rounded():
    layer = widened(nn.Linear(16, 8).bfloat16())
    x_ND = torch.randn(3, 16)
    expected = nn.functional.linear(x_ND, layer.weight.float(), layer.bias.float())
    torch.testing.assert_close(layer(x_ND), expected)
    with products.packed_weights(layer), torch.no_grad():
        torch.testing.assert_close(layer(x_ND), expected)
        torch.testing.assert_close(layer(x_ND.bfloat16()).float(), layer(x_ND), rtol=2e-2, atol=2e-2)
    assert layer.packed is None


def test_a_widened_model_is_the_same_model(tiny_model_dir):
    wide = load_policy(tiny_model_dir, LoadSettings(dtype="bfloat16", products="widened"))
    assert all(type(module) is not nn.Linear for module in wide.base_model.modules())
    assert type(wide.get_output_embeddings()) is WidenedLinear
    exact = load_policy(tiny_model_dir, LoadSettings(dtype="float32", products="torch"))
    exact.load_state_dict({name: weight.float() for name, weight in wide.state_dict().items()})
    (logprobs_N, gradients), (exact_N, exact_gradients) = map(loss_and_gradients, (wide, exact))
    torch.testing.assert_close(logprobs_N, exact_N, rtol=0, atol=0.05)
    for name, truth in exact_gradients.items():
        torch.testing.assert_close(gradients[name].float(), truth, rtol=0, atol=0.05 * float(truth.abs().max()), msg=name)


@pytest.mark.parametrize(
    ("has_kernels", "dtype", "way"), [(False, "bfloat16", "widened"), (True, "bfloat16", "torch"), (False, "float32", "torch")]
)
def test_auto_widens_bfloat16_where_it_has_no_kernels(monkeypatch, has_kernels, dtype, way):
    monkeypatch.setattr(load, "multiplies_bfloat16", lambda: has_kernels)
    monkeypatch.setattr(load, "is_faster_by_onednn", lambda: False)
    assert choose_products(LoadSettings(dtype=dtype), CPU) == way


def test_what_tells_of_kernels_for_bfloat16_is_right():
    """The processor's own list, where it is told, and what torch says agree on the two ends."""
    cpu = products.processor()
    if cpu.get("architecture") != "x86_64":
        pytest.skip("torch tells of instructions under other names here")
    if cpu["avx512_bf16"] or cpu["amx_bf16"]:
        assert products.multiplies_bfloat16()
    if not cpu["avx512_f"] and not cpu["avx_ne_convert"]:
        assert not products.multiplies_bfloat16()


@pytest.mark.parametrize(
    ("chosen", "device", "message"),
    [
        ({"products": "onednn", "dtype": "bfloat16"}, "cpu", 'no kernels for bfloat16 on this processor; use "widened"'),
        ({"products": "widened"}, "cpu", 'set dtype = "bfloat16", or use "auto"'),
        ({"products": "widened", "dtype": "bfloat16"}, "cuda", "multiplies on a CPU, not on cuda"),
    ],
)
def test_what_cannot_multiply_bfloat16_is_refused(chosen, device, message, monkeypatch):
    monkeypatch.setattr(load, "multiplies_bfloat16", lambda: False)
    with pytest.raises(TruingError, match=message):
        choose_products(LoadSettings(**chosen), torch.device(device))
