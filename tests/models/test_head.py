"""The head in tiles: the same numbers as all logits at once, forward and backward."""

import copy

import pytest
import torch
from torch import nn

from truing.models import head, products
from truing.models.config import LoadSettings
from truing.models.head import score_tokens
from truing.models.load import load_policy
from truing.models.products import OneDnnLinear, has_onednn


@pytest.fixture(
    scope="module",
    params=["torch", pytest.param("onednn", marks=pytest.mark.skipif(not has_onednn(), reason="no such kernel in this torch"))],
)
def policy(tiny_model_dir, request):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(OneDnnLinear, "least_weight", 0)
        return load_policy(tiny_model_dir, LoadSettings(products=request.param))


def make_tiles_of_five_rows(monkeypatch, vocabulary):
    make_tiles(monkeypatch, vocabulary, rows=5)


def make_tiles(monkeypatch, vocabulary, rows):
    monkeypatch.setattr(products, "_LEAST_OF_FEW", 0)
    monkeypatch.setattr(head, "_TILE_ELEMENTS", {"cpu": rows * vocabulary})
    for name in ("_TILE_ROWS", "_TILE_ROWS_ONEDNN"):
        monkeypatch.setattr(head, name, 1)
    monkeypatch.setattr(head, "_STRIP_ELEMENTS", {"cpu": 2 * vocabulary})
    monkeypatch.setattr(head, "_LINE", 1)


def scored(policy, *, tiled, temperature=1.0, summed=False, upstream=(-1, 2), dtype=torch.float32, **config):
    model = copy.deepcopy(policy).to(dtype)
    for name, value in config.items():
        setattr(model.config, name, value)
    generator = torch.Generator().manual_seed(0)
    hidden_ND = torch.randn(23, model.config.hidden_size, generator=generator).to(dtype).requires_grad_()
    targets_N = torch.randint(0, model.config.vocab_size, (23,), generator=generator)
    scores = score_tokens(model, hidden_ND, targets_N, temperature=temperature, entropy=True, summed=summed, tiled=tiled)
    upstream_N = torch.linspace(*upstream, 23)
    (scores.logprobs_N * upstream_N).sum().backward()
    return scores.logprobs_N.detach(), scores.entropy_N, hidden_ND.grad, model.get_output_embeddings().weight.grad


@pytest.mark.parametrize(
    "settings", [{}, {"temperature": 0.7}, {"final_logit_softcapping": 0.5, "temperature": 0.7}, {"logit_scale": 0.25}]
)
def test_tiles_give_the_same_values_and_gradients(policy, monkeypatch, settings):
    whole = scored(policy, tiled=False, **settings)
    make_tiles_of_five_rows(monkeypatch, policy.config.vocab_size)
    for a, b in zip(whole, scored(policy, tiled=True, **settings), strict=True):
        torch.testing.assert_close(b, a, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("settings", [{}, {"final_logit_softcapping": 0.5, "temperature": 0.7}])
@pytest.mark.parametrize("upstream", [(-0.3, -0.3), (-1, 2)], ids=["promise kept", "promise broken"])
def test_a_sum_needs_no_second_look_at_the_logits(policy, monkeypatch, settings, upstream):
    make_tiles_of_five_rows(monkeypatch, policy.config.vocab_size)
    plain = scored(policy, tiled=True, upstream=upstream, **settings)
    for a, b in zip(plain, scored(policy, tiled=True, summed=True, upstream=upstream, **settings), strict=True):
        torch.testing.assert_close(b, a, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("settings", [{}, {"final_logit_softcapping": 0.5, "temperature": 0.7}])
def test_where_one_tile_is_all_it_is_made_once(policy, monkeypatch, settings):
    made = []
    run = head._Room.products
    monkeypatch.setattr(head._Room, "products", lambda *args: made.append(1) or run(*args))
    whole = scored(policy, tiled=False, **settings)
    for rows, products_made in ((23, 1), (22, 2)):
        made.clear()
        make_tiles(monkeypatch, policy.config.vocab_size, rows)
        for a, b in zip(whole, scored(policy, tiled=True, **settings), strict=True):
            torch.testing.assert_close(b, a, rtol=1e-5, atol=1e-5)
        assert len(made) == products_made


@pytest.mark.parametrize("summed", [False, True])
def test_a_second_way_back_gives_the_same_again(policy, summed):
    model = copy.deepcopy(policy)
    hidden_ND = torch.randn(6, model.config.hidden_size, requires_grad=True)
    loss = score_tokens(model, hidden_ND, torch.arange(6), summed=summed).logprobs_N.sum()
    first, second = (torch.autograd.grad(loss, hidden_ND, retain_graph=True)[0].clone() for _ in range(2))
    torch.testing.assert_close(second, first, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("rows", [5, 23])
@pytest.mark.parametrize("summed", [False, True])
def test_tiles_in_bfloat16_are_as_near_as_its_rounding(policy, monkeypatch, summed, rows):
    whole = scored(policy, tiled=False, dtype=torch.bfloat16)
    make_tiles(monkeypatch, policy.config.vocab_size, rows)
    for a, b in zip(whole, scored(policy, tiled=True, summed=summed, dtype=torch.bfloat16), strict=True):
        torch.testing.assert_close(b, a, rtol=0.03, atol=0.01 * float(a.detach().abs().max()))


def test_a_head_with_a_bias_and_one_that_is_no_plain_layer(policy, monkeypatch):
    make_tiles_of_five_rows(monkeypatch, policy.config.vocab_size)

    class Wrapped(nn.Linear):
        """As an adapter on the head would be."""

    def gradients(kind, *, tiled):
        model = copy.deepcopy(policy)
        torch.manual_seed(0)
        model.set_output_embeddings(kind(model.config.hidden_size, model.config.vocab_size))
        scores = score_tokens(model, torch.ones(12, model.config.hidden_size), torch.arange(12), tiled=tiled)
        scores.logprobs_N.pow(2).sum().backward()
        return model.get_output_embeddings().weight.grad, model.get_output_embeddings().bias.grad

    for kind in (nn.Linear, Wrapped):
        for a, b in zip(gradients(kind, tiled=False), gradients(kind, tiled=True), strict=True):
            torch.testing.assert_close(b, a, rtol=1e-5, atol=1e-5)


def test_no_tensor_as_large_as_all_logits_is_made(policy, monkeypatch):
    from torch.utils._python_dispatch import TorchDispatchMode

    vocabulary, n = policy.config.vocab_size, 40
    make_tiles_of_five_rows(monkeypatch, vocabulary)
    largest = 0

    class Largest(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            nonlocal largest
            out = func(*args, **(kwargs or {}))
            for tensor in out if isinstance(out, tuple | list) else [out]:
                if isinstance(tensor, torch.Tensor):
                    largest = max(largest, tensor.numel())
            return out

    model = copy.deepcopy(policy)
    hidden_ND = torch.randn(n, model.config.hidden_size, requires_grad=True)
    with Largest():
        score_tokens(model, hidden_ND, torch.arange(n)).logprobs_N.sum().backward()
    assert largest <= max(5 * vocabulary, vocabulary * model.config.hidden_size)
    assert largest < n * vocabulary
