"""Matrix products of linear layers on a CPU, where torch's own are slow.

**float32, by oneDNN.** torch hands float32 products to MKL, which runs kernels of half the width on processors that are not
Intel's. On one core of an AMD EPYC that is 112 GFLOP/s against 250 where AVX-512 takes one cycle (Zen 5), 90 against 105 where it
takes two (Zen 4). oneDNN, which torch carries and uses for bfloat16, takes what the processor has. The sums are the same but for
the order in which they are rounded.

**bfloat16, by way of float32.** On a processor without instructions for bfloat16, as many laptops', torch multiplies it at 0.5 to
20 GFLOP/s a core, where float32 runs at 80 (an EPYC with AVX2). There both operands are made float32 as they go into a product,
and what comes out is rounded: weights and what a step keeps stay bfloat16.

A product of few rows, as a sampler's, waits for the weight to come from memory. `packed_weights` holds copies of the weights as
their products read them fastest. For oneDNN that is an order of its own: with 4 rows and 8,192 outputs it halves the time,
float32 and bfloat16 (measured). For bfloat16 by way of float32 it is float32.

torch has no public function for oneDNN's products. `kernel`, `_packer` and `multiplies_bfloat16` are the only places that name
private ones.

Shapes: N rows, D inputs, M outputs.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import PreTrainedModel

from truing.errors import TruingError

_LEAST = 2**25
"""Multiplications from which on oneDNN is the faster: it takes a third of a millisecond to get ready for a new number of rows."""
_FEW_ROWS, _LEAST_OF_FEW = 128, 2**21
"""Up to so many rows, as a sampler runs, numbers come again and again; then 10 microseconds to get going are all (measured)."""
_PACKED_ROWS = 64
"""Rows that weights are packed for. Other numbers run as fast (measured)."""
_WIDENED_ROWS = 8
"""Of bfloat16, from which on it is faster to make the weight float32 first than to multiply it as it is (measured)."""

Multiply = Callable[[Tensor, Tensor, Tensor | None], Tensor]
"""Of x [N, D], weight [M, D] and bias [M] or None: x weight^T + bias. Records no gradient."""


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


def multiplies_bfloat16() -> bool:
    """Whether oneDNN, to which torch hands products in bfloat16, has kernels for them here; True where this torch cannot tell.

    Without, torch multiplies element by element.
    """
    tell: Callable[[], bool] = getattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: True)
    return tell()


def onednn_linear(x_ND: Tensor, weight_MD: Tensor, bias_M: Tensor | None = None) -> Tensor:
    """x weight^T + bias, [N, M], no gradient recorded. float32 on a CPU; `weight_MD` without gaps, either way round.

    Raises TruingError where this torch lacks the kernel.
    """
    return kernel()(x_ND, weight_MD, bias_M, "none", [], "")


def widened_linear(x_ND: Tensor, weight_MD: Tensor, bias_M: Tensor | None = None) -> Tensor:
    """x weight^T + bias, [N, M], multiplied and added up in float32, then rounded to the type of `x_ND`."""
    return functional.linear(x_ND.float(), weight_MD.float(), None if bias_M is None else bias_M.float()).to(x_ND.dtype)


class _Packed(NamedTuple):
    """A weight as its products read it best, and which of its versions that is."""

    weight: Tensor
    version: int


class FastLinear(nn.Linear, ABC):
    """A linear layer whose products run otherwise than torch would have them, forward and back, where that is faster.

    Within `packed_weights` all products without gradients.
    """

    least_weight: ClassVar[int] = 0
    """Numbers of a weight below which a layer is left to torch altogether."""
    packed: _Packed | None = None

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002  (torch names it so)
        """[..., D] to [..., M]."""
        packed = self.packed
        if torch.is_grad_enabled() or (packed is not None and packed.version != self.weight._version):
            packed = None
        if packed is None and not self.suits(input):
            return super().forward(input)
        x_ND = input.reshape(-1, self.in_features)
        if packed is not None:
            out_NM = self.by_packed(x_ND, packed.weight)
        else:  # torch leaves Function.apply without types
            out_NM = _Linear.apply(x_ND.contiguous(), self.weight, self.bias, self.multiply)  # type: ignore[no-untyped-call]
        return out_NM.view(*input.shape[:-1], self.out_features)

    @staticmethod
    @abstractmethod
    def multiply(x_ND: Tensor, weight_MD: Tensor, bias_M: Tensor | None = None) -> Tensor:
        """x weight^T + bias, no gradient recorded."""

    @abstractmethod
    def suits(self, x: Tensor) -> bool:
        """Whether that is faster for this input [..., D]."""

    @abstractmethod
    def pack(self, weight_MD: Tensor) -> Tensor:
        """The weight as `by_packed` takes it."""

    @abstractmethod
    def by_packed(self, x_ND: Tensor, packed: Tensor) -> Tensor:
        """What `multiply` gives, of a packed weight."""


class OneDnnLinear(FastLinear):
    """Large float32 products by oneDNN; packed ones whatever their size and type."""

    least_weight = 2**16
    """From here on it happens that oneDNN is faster, and asking each time costs little beside the product."""
    multiply = staticmethod(onednn_linear)

    def suits(self, x: Tensor) -> bool:
        """Large, float32, on a CPU."""
        is_float = x.dtype == self.weight.dtype == torch.float32
        rows = x.numel() // self.in_features
        is_large = x.numel() * self.out_features >= (_LEAST if rows > _FEW_ROWS else _LEAST_OF_FEW)
        return is_float and is_large and x.device.type == "cpu" and self.weight.is_contiguous()

    def pack(self, weight_MD: Tensor) -> Tensor:
        """In oneDNN's own order."""
        return _packer()(weight_MD, _PACKED_ROWS)

    def by_packed(self, x_ND: Tensor, packed: Tensor) -> Tensor:
        """Few rows are filled up."""
        rows = len(x_ND)
        if missing := _few_rounded(rows) - rows:
            x_ND = functional.pad(x_ND, (0, 0, 0, missing))
        return onednn_linear(x_ND, packed, self.bias)[:rows]


class WidenedLinear(FastLinear):
    """bfloat16 products by way of float32. Of a float32 input they are not rounded."""

    multiply = staticmethod(widened_linear)

    def suits(self, x: Tensor) -> bool:
        """More than a few rows of bfloat16."""
        return self.weight.dtype == torch.bfloat16 and (
            x.dtype != torch.bfloat16 or x.numel() >= _WIDENED_ROWS * self.in_features
        )

    def pack(self, weight_MD: Tensor) -> Tensor:
        """In float32."""
        return weight_MD.float()

    def by_packed(self, x_ND: Tensor, packed: Tensor) -> Tensor:
        """Rounded once."""
        return widened_linear(x_ND, packed, self.bias)


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x_ND: Tensor, weight_MD: Tensor, bias_M: Tensor | None, multiply: Multiply) -> Tensor:
        ctx.save_for_backward(x_ND, weight_MD)
        ctx.multiply = multiply
        return multiply(x_ND, weight_MD, bias_M)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None, None]:
        x_ND, weight_MD = ctx.saved_tensors
        grad_NM, (of_x, of_weight, of_bias, _) = grads[0].contiguous(), ctx.needs_input_grad
        return (
            ctx.multiply(grad_NM, weight_MD.T, None) if of_x else None,
            ctx.multiply(grad_NM.T, x_ND.T, None) if of_weight else None,
            grad_NM.sum(0) if of_bias else None,
            None,
        )


def _few_rounded(rows: int) -> int:
    """What few rows are filled up to: oneDNN keeps half a megabyte for each size of product that it has met."""
    if rows > _FEW_ROWS:
        return rows
    of = 4 if rows <= 16 else 8
    return -(-rows // of) * of


@contextmanager
def packed_weights(model: nn.Module) -> Iterator[None]:
    """While it lasts, have the fast layers of `model` multiply by packed copies of their weights.

    Takes the memory of those weights once more (in float32 where bfloat16 goes that way), and as much time as to read and write
    them. A weight that is changed in place meanwhile is used as it stands.
    """
    layers = [module for module in model.modules() if isinstance(module, FastLinear)]
    try:
        for layer in layers:
            weight_MD = layer.weight.detach()
            layer.packed = _Packed(layer.pack(weight_MD), weight_MD._version)
        yield
    finally:
        for layer in layers:
            layer.packed = None


def multiply_by(model: PreTrainedModel, kind: type[FastLinear]) -> None:
    """Have the linear layers of `model` and its language-model head be of this kind, in place. Copies will too."""
    head = model.get_output_embeddings()
    for module in [*model.base_model.modules(), *([] if head is None else [head])]:
        if type(module) is nn.Linear and module.weight.numel() >= kind.least_weight:
            module.__class__ = kind
