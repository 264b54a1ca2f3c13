"""Rotary position embedding on a CPU in one pass over memory (Su et al. 2021, RoFormer), in the place of a model's own.

A model's attention calls a function of its module by the name `apply_rotary_pos_emb`. Its class is replaced by one whose forward
is the same code with another function under that name; nothing else that runs in the process sees it.

Shapes: B sequences, H heads (or H' of the keys), T tokens, E head width.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from types import FunctionType
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from truing.models.kernels import array, in_rows, rotate, rotate_in_parts, suits

_NAME = "apply_rotary_pos_emb"
Rotary = Callable[..., tuple[Tensor, Tensor]]
"""Of query [B, H, T, E], key [B, H', T, E], cos and sin [B, T, E]: query and key, rotated."""


class _Rotated(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x_BHTE: Tensor, cos_BTE: Tensor, sin_BTE: Tensor) -> Tensor:
        ctx.save_for_backward(cos_BTE, sin_BTE)
        return _rotated(x_BHTE, cos_BTE, sin_BTE, is_back=False)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        return _rotated(grads[0], *ctx.saved_tensors, is_back=True), None, None


def _rotated(x_BHTE: Tensor, cos_BTE: Tensor, sin_BTE: Tensor, *, is_back: bool) -> Tensor:
    x_BTHE = x_BHTE.transpose(1, 2).contiguous()
    out_BTHE = torch.empty_like(x_BTHE)
    x, cos, sin, out = (array(each.flatten(0, 1)) for each in (x_BTHE, cos_BTE, sin_BTE, out_BTHE))
    in_rows(rotate, rotate_in_parts, x, cos, sin, is_back, out, rows=len(x), width=x[0].size)
    return out_BTHE.transpose(1, 2)


def fuse_rotary(model: PreTrainedModel) -> None:
    """Have the attention of `model` rotate in one pass, in place. What rotates otherwise stays as it is."""
    for module in model.modules():
        own: Any = type(module)
        if (kind := _rotating(own)) is not None:
            module.__class__ = kind


@cache
def _rotating(kind: Any) -> type[nn.Module] | None:
    """The class, rotating in one pass; None where it does not rotate, or in some other way."""
    forward = kind.forward
    own = forward.__globals__.get(_NAME) if isinstance(forward, FunctionType) and _NAME in forward.__code__.co_names else None
    if own is None or not _is_plain(own):
        return None
    names = {**forward.__globals__, _NAME: _in_one_pass(own)}
    fused = FunctionType(forward.__code__, names, forward.__name__, forward.__defaults__, forward.__closure__)
    fused.__kwdefaults__ = forward.__kwdefaults__
    return type(kind.__name__, (kind,), {"forward": fused, "__module__": kind.__module__, "__doc__": kind.__doc__})


def _in_one_pass(own: Rotary) -> Rotary:
    def rotary(query: Tensor, key: Tensor, cos: Tensor, sin: Tensor, *rest: Any, **others: Any) -> tuple[Tensor, Tensor]:
        is_large = suits(query, key, cos, sin)
        if not is_large or rest or others or cos.shape != (query.shape[0], *query.shape[2:]):
            return own(query, key, cos, sin, *rest, **others)
        # torch leaves Function.apply without types
        both: Any = [_Rotated.apply(x, cos, sin) for x in (query, key)]  # type: ignore[no-untyped-call]
        return both[0], both[1]

    return rotary


@torch.no_grad()
def _is_plain(own: Rotary) -> bool:
    """Whether it turns pairs of x[e] and x[e + E/2], tried on a few numbers."""
    query, key = torch.linspace(-2, 3, 2 * 3 * 8).view(1, 2, 3, 8), torch.linspace(1, -1, 3 * 8).view(1, 1, 3, 8)
    angle = torch.linspace(0, 6, 3 * 4).view(1, 3, 4).repeat(1, 1, 2)
    cos, sin = angle.cos(), angle.sin()
    try:
        theirs = own(query, key, cos, sin)
    except Exception:  # noqa: BLE001  (another signature, in another model's code, may end in anything)
        return False
    ours = [_rotated(x, cos, sin, is_back=False) for x in (query, key)]
    return all(a.shape == b.shape and torch.allclose(a, b, atol=1e-6) for a, b in zip(theirs, ours, strict=True))
