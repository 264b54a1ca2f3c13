"""RMS norms on a CPU in few passes over memory (Zhang and Sennrich 2019), put in the place of a model's own.

Written in single operations, a norm reads and writes its tokens a dozen times, most of them in float32 whatever the weights are.
Here rows go through in chunks that stay in the cache, and the way back uses torch's kernel for layer norm. That kernel takes mean
and deviation as given: with a mean of zero and the root mean square for deviation, its gradient with respect to x differs from
an RMS norm's only by the mean over j of w_j g_j, divided by the root mean square; that is added.

Shapes: N rows, D width.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

_CHUNK = 1024
"""Rows."""
_LEAST = 2**17
"""Numbers from which on passes over memory cost more than starting operations (measured)."""


class RMSNorm(nn.Module):
    """x / sqrt(mean(x^2) + eps) times a weight [D], in float32 up to the product with the weight."""

    def __init__(self, weight_D: nn.Parameter, eps: float) -> None:
        super().__init__()
        self.weight = weight_D
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """[..., D] to the same, in its dtype."""
        if x.numel() < _LEAST:
            floats = x.float()
            return self.weight * (floats * torch.rsqrt(floats.pow(2).mean(-1, keepdim=True) + self.eps)).to(x.dtype)
        # torch leaves Function.apply without types
        normed: Tensor = _RMSNorm.apply(x, self.weight, self.eps)  # type: ignore[no-untyped-call]
        return normed


class _RMSNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight_D: Tensor, eps: float) -> Tensor:
        x_ND = x.reshape(-1, x.shape[-1])
        out_ND = torch.empty_like(x_ND)
        inverse_N1 = torch.empty(len(x_ND), 1)
        for chunk, out, inverse in zip(*(each.split(_CHUNK) for each in (x_ND, out_ND, inverse_N1)), strict=True):
            floats = chunk.float()
            norm = torch.linalg.vector_norm(floats, dim=-1, keepdim=True)
            torch.rsqrt(norm.square_().div_(x.shape[-1]).add_(eps), out=inverse)
            torch.mul((floats * inverse).to(x.dtype), weight_D, out=out)
        ctx.save_for_backward(x_ND, weight_D, inverse_N1)
        return out_ND.view(x.shape)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, None]:
        x_ND, weight_D, inverse_N1 = ctx.saved_tensors
        grad_ND, of_x_ND = grads[0].reshape(x_ND.shape), torch.empty_like(x_ND)
        weight, of_weight_D = weight_D.float(), torch.zeros(x_ND.shape[1])
        for chunk, grad, inverse, of_x in zip(
            *(each.split(_CHUNK) for each in (x_ND, grad_ND, inverse_N1, of_x_ND)), strict=True
        ):
            floats, mean, shape = grad.float(), torch.zeros_like(inverse), [x_ND.shape[1]]
            of_floats, of_weight, _ = torch.ops.aten.native_layer_norm_backward(
                floats, chunk.float(), shape, mean, inverse, weight, None, [True, True, False]
            )
            of_x.copy_(of_floats.add_(torch.mv(floats, weight)[:, None].mul_(inverse).div_(x_ND.shape[1])))
            of_weight_D += of_weight
        return of_x_ND.view(grads[0].shape), of_weight_D.to(weight_D.dtype), None


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
    """What computes the same in few passes; None where nothing here does."""
    weight, eps = getattr(module, "weight", None), getattr(module, "variance_epsilon", getattr(module, "eps", None))
    if not isinstance(weight, nn.Parameter) or weight.ndim != 1 or not isinstance(eps, float):
        return None
    fused = RMSNorm(weight, eps).train(module.training)
    x = torch.linspace(-2, 3, 4 * len(weight)).view(4, -1).square().to(weight.dtype)
    return fused if torch.allclose(module(x), fused(x), rtol=1e-2 if weight.dtype != torch.float32 else 1e-5) else None
