"""Matrix products of linear layers on a CPU, by oneDNN where torch's own are slow.

torch hands float32 products to MKL, which runs kernels of half the width on processors that are not Intel's. On one core of an
AMD EPYC that is 112 GFLOP/s against 250 where AVX-512 takes one cycle (Zen 5), 90 against 105 where it takes two (Zen 4). oneDNN,
which torch carries and uses for bfloat16, takes what the processor has. The sums are the same but for the order in which they are
rounded.

A product of few rows, as a sampler's, waits for the weight to come from memory. `packed_weights` holds weights in the order in
which oneDNN reads them: with 4 rows and 8,192 outputs that halves the time, float32 and bfloat16 (measured).

torch has no public function for either. `kernel` and `_packer` are the only places that name the private ones.

Shapes: N rows, D inputs, M outputs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import PreTrainedModel

from truing.errors import TruingError

_LEAST = 2**25
"""Multiplications from which on oneDNN is the faster: it takes a third of a millisecond to get ready for a new number of rows."""
_LEAST_WEIGHT = 2**16
"""Numbers of a weight from which on that happens, and asking each time costs little beside the product."""
_FEW_ROWS, _LEAST_OF_FEW = 128, 2**21
"""Up to so many rows, as a sampler runs, numbers come again and again; then 10 microseconds to get going are all (measured)."""
_PACKED_ROWS = 64
"""Rows that weights are packed for. Other numbers run as fast (measured)."""


@cache
def kernel() -> Callable[..., Tensor]:
    """Of x, weight and bias, then "none", [] and "": x weight^T + bias. Raises TruingError where this torch lacks it."""
    try:
        product: Callable[..., Tensor] | None = torch.ops.mkldnn._linear_pointwise.default
        _packer()
    except AttributeError:
        product = None
    if product is None or not torch.backends.mkldnn.is_available():
        raise TruingError(
            f"torch {torch.__version__} lacks mkldnn._linear_pointwise or ._reorder_linear_weight, by which oneDNN multiplies: "
            'set load.products = "torch" or "auto", or install a torch that has both (2.13 does)'
        )
    return product


def _packer() -> Callable[[Tensor, int], Tensor]:
    """Of a weight [M, D] and a number of rows: what `kernel` takes in its place. `kernel` tells where torch lacks it."""
    pack: Callable[[Tensor, int], Tensor] = torch.ops.mkldnn._reorder_linear_weight.default
    return pack


def has_onednn() -> bool:
    """Whether this torch can multiply float32 matrices by oneDNN."""
    try:
        kernel()
    except TruingError:
        return False
    return True


def processor() -> dict[str, Any]:
    """What torch knows of this CPU: `cpu_name` and which instructions it has; nothing where this torch does not tell."""
    tell: Callable[[], dict[str, Any]] = getattr(torch.cpu, "get_capabilities", dict)
    return tell()


def is_faster_by_onednn() -> bool:
    """Whether oneDNN has wider kernels than torch's own library here: AVX-512, but not by Intel."""
    cpu = processor()
    return has_onednn() and bool(cpu.get("avx512_f")) and "Intel" not in cpu.get("cpu_name", "Intel")


def onednn_linear(x_ND: Tensor, weight_MD: Tensor, bias_M: Tensor | None = None) -> Tensor:
    """x weight^T + bias, [N, M], no gradient recorded. float32 on a CPU; `weight_MD` without gaps, either way round.

    Raises TruingError where this torch lacks the kernel.
    """
    return kernel()(x_ND, weight_MD, bias_M, "none", [], "")


class _Packed(NamedTuple):
    """A weight as oneDNN reads it best, and which of its versions that is."""

    weight: Tensor
    version: int


class OneDnnLinear(nn.Linear):
    """A linear layer whose float32 products run on oneDNN, forward and back; small ones and other types as in its base class.

    Within `packed_weights` all products without gradients, whatever their size and type.
    """

    packed: _Packed | None = None

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002  (torch names it so)
        """[..., D] to [..., M]."""
        if self.packed is not None and not torch.is_grad_enabled() and self.packed.version == self.weight._version:
            return self._by_packed(input, self.packed.weight)
        if not self.suits(input):
            return super().forward(input)
        x_ND = input.reshape(-1, self.in_features).contiguous()
        # torch leaves Function.apply without types
        out_NM: Tensor = _Linear.apply(x_ND, self.weight, self.bias)  # type: ignore[no-untyped-call]
        return out_NM.view(*input.shape[:-1], self.out_features)

    def _by_packed(self, x: Tensor, packed: Tensor) -> Tensor:
        x_ND = x.reshape(-1, self.in_features)
        rows = len(x_ND)
        if missing := _few_rounded(rows) - rows:
            x_ND = functional.pad(x_ND, (0, 0, 0, missing))
        return onednn_linear(x_ND, packed, self.bias)[:rows].view(*x.shape[:-1], self.out_features)

    def suits(self, x: Tensor) -> bool:
        """Whether this input [..., D] goes to oneDNN."""
        is_float = x.dtype == self.weight.dtype == torch.float32
        rows = x.numel() // self.in_features
        is_large = x.numel() * self.out_features >= (_LEAST if rows > _FEW_ROWS else _LEAST_OF_FEW)
        return is_float and is_large and x.device.type == "cpu" and self.weight.is_contiguous()


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x_ND: Tensor, weight_MD: Tensor, bias_M: Tensor | None) -> Tensor:
        ctx.save_for_backward(x_ND, weight_MD)
        return onednn_linear(x_ND, weight_MD, bias_M)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        x_ND, weight_MD = ctx.saved_tensors
        grad_NM, (of_x, of_weight, of_bias) = grads[0].contiguous(), ctx.needs_input_grad
        return (
            onednn_linear(grad_NM, weight_MD.T) if of_x else None,
            onednn_linear(grad_NM.T, x_ND.T) if of_weight else None,
            grad_NM.sum(0) if of_bias else None,
        )


def _few_rounded(rows: int) -> int:
    """What few rows are filled up to: oneDNN keeps half a megabyte for each size of product that it has met."""
    if rows > _FEW_ROWS:
        return rows
    of = 4 if rows <= 16 else 8
    return -(-rows // of) * of


@contextmanager
def packed_weights(model: nn.Module) -> Iterator[None]:
    """While it lasts, have the products of `model` that are on oneDNN run on packed copies of their weights.

    Takes the memory of those weights once more, and as much time as to read and write them. A weight that is changed in place
    meanwhile is used as it stands.
    """
    layers = [module for module in model.modules() if isinstance(module, OneDnnLinear)]
    try:
        for layer in layers:
            weight_MD = layer.weight.detach()
            layer.packed = _Packed(_packer()(weight_MD, _PACKED_ROWS), weight_MD._version)
        yield
    finally:
        for layer in layers:
            layer.packed = None


def multiply_by_onednn(model: PreTrainedModel) -> None:
    """Have the large linear layers of `model` and its language-model head run on oneDNN, in place. Copies will too."""
    head = model.get_output_embeddings()
    for module in [*model.base_model.modules(), *([] if head is None else [head])]:
        if type(module) is nn.Linear and module.weight.numel() >= _LEAST_WEIGHT:
            module.__class__ = OneDnnLinear
