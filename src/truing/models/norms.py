"""RMS norms on a CPU in one pass over memory (Zhang and Sennrich 2019), put in the place of a model's own.

Shapes: N rows, D width.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from truing.models.kernels import (
    CHUNK,
    array,
    in_rows,
    normalise,
    normalise_back,
    normalise_back_in_parts,
    normalise_in_parts,
    suits,
)


class RMSNorm(nn.Module):
    """x / sqrt(mean(x^2) + eps) times a weight [D], in float32 up to the product with the weight."""

    def __init__(self, weight_D: nn.Parameter, eps: float) -> None:
        super().__init__()
        self.weight = weight_D
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """[..., D] to the same, in its dtype."""
        if not suits(x, self.weight):
            floats = x.float()
            return self.weight * (floats * torch.rsqrt(floats.pow(2).mean(-1, keepdim=True) + self.eps)).to(x.dtype)
        # torch leaves Function.apply without types
        normed: Tensor = _RMSNorm.apply(x, self.weight, self.eps)  # type: ignore[no-untyped-call]
        return normed


class _RMSNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight_D: Tensor, eps: float) -> Tensor:
        x_ND = x.reshape(-1, x.shape[-1]).contiguous()
        out_ND, inverse_N = torch.empty_like(x_ND), torch.empty(len(x_ND))
        given = (*map(array, (x_ND, weight_D)), np.float32(eps), *map(array, (out_ND, inverse_N)))
        in_rows(normalise, normalise_in_parts, *given, rows=len(x_ND), width=x_ND.shape[1])
        ctx.save_for_backward(x_ND, weight_D, inverse_N)
        return out_ND.view(x.shape)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, None]:
        x_ND, weight_D, inverse_N = ctx.saved_tensors
        grad_ND = grads[0].reshape(x_ND.shape).contiguous()
        of_x_ND, of_weight_CD = torch.empty_like(x_ND), torch.zeros(-(-len(x_ND) // CHUNK), x_ND.shape[1])
        given = map(array, (grad_ND, x_ND, weight_D, inverse_N, of_x_ND, of_weight_CD))
        in_rows(normalise_back, normalise_back_in_parts, *given, rows=len(x_ND), width=x_ND.shape[1], multiple=CHUNK)
        return of_x_ND.view(grads[0].shape), of_weight_CD.sum(0).to(weight_D.dtype), None


def fuse_norms(model: PreTrainedModel) -> None:
    """Replace the norms of `model`, in place, by ones that share their weights. What is not an RMS norm stays.

    Models write theirs each in a class of its own, some with another meaning of the weight: each is tried on a few numbers.
    """
    for parent in list(model.modules()):
        for name, module in list(parent.named_children()):
            if type(module).__name__.endswith("RMSNorm") and (fused := _equal(module)) is not None:
                setattr(parent, name, fused)


@torch.no_grad()
def _equal(module: nn.Module) -> RMSNorm | None:
    """What computes the same in one pass; None where nothing here does."""
    weight, eps = getattr(module, "weight", None), getattr(module, "variance_epsilon", getattr(module, "eps", None))
    if not isinstance(weight, nn.Parameter) or weight.ndim != 1 or not isinstance(eps, float):
        return None
    fused = RMSNorm(weight, eps).train(module.training)
    x = torch.linspace(-2, 3, 4 * len(weight)).view(4, -1).square().to(weight.dtype)
    return fused if torch.allclose(module(x), fused(x), rtol=1e-2 if weight.dtype != torch.float32 else 1e-5) else None
