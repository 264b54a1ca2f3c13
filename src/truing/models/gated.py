"""Gated MLPs (SwiGLU, Shazeer 2020) on a CPU with the gate in one pass over memory, in the place of a model's own.

What is kept for the backward pass is both products and their gated product, a tensor less than in single operations.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from truing.models.kernels import array, gate, gate_back, gate_back_in_parts, gate_in_parts, in_rows, suits


class _Gated(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, gate_: Tensor, up: Tensor) -> Tensor:
        ctx.save_for_backward(gate_, up)
        out = torch.empty_like(gate_)
        in_rows(gate, gate_in_parts, *_flat(gate_, up, out), rows=out.numel(), width=1)
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor]:
        gate_, up = ctx.saved_tensors
        of_gate, of_up = torch.empty_like(gate_), torch.empty_like(up)
        in_rows(gate_back, gate_back_in_parts, *_flat(grads[0].contiguous(), gate_, up, of_gate, of_up), rows=up.numel(), width=1)
        return of_gate, of_up


def _flat(*tensors: Tensor) -> list[Any]:
    return [array(x.view(-1)) for x in tensors]


def gated(gate_: Tensor, up: Tensor) -> Tensor:
    """SiLU(gate) up, of one shape."""
    if not suits(gate_, up) or not gate_.is_contiguous() or not up.is_contiguous():
        return nn.functional.silu(gate_) * up
    # torch leaves Function.apply without types
    out: Tensor = _Gated.apply(gate_, up)  # type: ignore[no-untyped-call]
    return out


def fuse_gates(model: PreTrainedModel) -> None:
    """Have the MLPs of `model` gate in one pass, in place. What is not a SwiGLU under the usual names stays as it is."""
    for module in model.modules():
        own: Any = type(module)
        if _has_usual_names(module) and _is_equal(module):
            module.__class__ = _gating(own)


@torch.no_grad()
def _has_usual_names(module: nn.Module) -> bool:
    """Whether it has the parts of a SwiGLU; an activation is known by what it does to a few numbers."""
    layers = [getattr(module, name, None) for name in ("gate_proj", "up_proj", "down_proj")]
    activation, x = getattr(module, "act_fn", None), torch.linspace(-4, 4, 9)
    is_swiglu = all(isinstance(layer, nn.Linear) for layer in layers) and isinstance(activation, nn.Module)
    return is_swiglu and torch.allclose(activation(x), nn.functional.silu(x))  # type: ignore[misc]  # known to be a module


@torch.no_grad()
def _is_equal(module: Any) -> bool:
    """Whether it puts them together as a SwiGLU does, tried on a few numbers."""
    weight: Tensor = module.gate_proj.weight
    x = torch.linspace(-2, 3, 2 * weight.shape[1]).view(1, 2, -1).to(weight)
    is_float = weight.dtype == torch.float32
    return torch.allclose(module(x), _forward(module, x), rtol=1e-4 if is_float else 5e-2, atol=1e-5 if is_float else 1e-2)


@cache
def _gating(kind: Any) -> type[nn.Module]:
    return type(kind.__name__, (kind,), {"forward": _forward, "__module__": kind.__module__, "__doc__": kind.__doc__})


def _forward(module: Any, x: Tensor) -> Tensor:
    """[..., D] to the same."""
    out: Tensor = module.down_proj(gated(module.gate_proj(x), module.up_proj(x)))
    return out
