"""Attention on a CPU segment by segment: torch's kernel reads queries, keys and values where the tokens stand.

Nothing is gathered, padded or masked. The layout says which calls it takes (`RaggedLayout.calls`): a block of queries sees itself
causally, and what stands before it in calls without a mask. The parts of a softmax are merged by their log-sum-exponentials
(Milakov and Gimelshein 2018). Going back, the kernel is given the merged output and sums, and so yields each part's share of the
whole gradient.

Torch has such a kernel, but no public function that tells the sums. `kernel` is the only place that names the private ones.

Shapes: T tokens laid end to end, H heads, E head width; in one call N queries and M keys.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, NamedTuple

import torch
from torch import Tensor

from truing.errors import TruingError
from truing.models.layout import Call

_NAME = "_scaled_dot_product_flash_attention_for_cpu"


class Kernel(NamedTuple):
    """Shapes [1, H, N, E], [1, H, M, E], sums [1, H, N]; any strides between tokens and heads."""

    forward: Callable[..., tuple[Tensor, Tensor]]
    """Of query, key, value, dropout and whether they are causal: the output and its log-sum-exponentials."""
    backward: Callable[..., tuple[Tensor, Tensor, Tensor]]
    """Of the output's gradient, query, key, value, output, sums, dropout and whether they are causal: three gradients."""


@cache
def kernel() -> Kernel:
    """Raises TruingError where this torch lacks it."""
    try:
        return Kernel(*(getattr(torch.ops.aten, name).default for name in (_NAME, f"{_NAME}_backward")))
    except AttributeError:
        raise TruingError(
            f"torch {torch.__version__} lacks aten.{_NAME}, by which unpadded batches attend on a CPU: "
            'set load.attention = "rectangles", or install a torch that has it (2.13 does)'
        ) from None


def has_kernel() -> bool:
    """Whether this torch has it."""
    try:
        kernel()
    except TruingError:
        return False
    return True


def segment_attention(
    query_THE: Tensor, key_THE: Tensor, value_THE: Tensor, calls: Sequence[Call], scale: float | None
) -> Tensor:
    """Softmax attention over what `calls` say is seen, [T, H, E]; zero for tokens without a query.

    float32 or float64 on a CPU. `scale` of the scores is 1 / sqrt(E) where None. Gradients once, not twice.
    """
    # torch leaves Function.apply without types
    out_THE: Tensor = _SegmentAttention.apply(query_THE, key_THE, value_THE, calls, scale)  # type: ignore[no-untyped-call]
    return out_THE


class _SegmentAttention(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, query_THE: Tensor, key_THE: Tensor, value_THE: Tensor, calls: Sequence[Call], scale: float | None
    ) -> Tensor:
        run, fresh = kernel().forward, _fresh(calls, len(query_THE))
        out_THE = fresh(query_THE.shape, dtype=query_THE.dtype)
        sums_TH = fresh(query_THE.shape[:2], dtype=query_THE.dtype)
        query, key, value, out, sums = map(_heads_first, (query_THE, key_THE, value_THE, out_THE, sums_TH))
        for call in calls:
            part, part_sums = run(_queries(query, call), _keys(key, call), _keys(value, call), 0.0, call.is_causal, scale=scale)
            whole, whole_sums = _queries(out, call), _queries(sums, call)
            if call.is_causal:
                whole.copy_(part)
                whole_sums.copy_(part_sums)
            else:
                whole.lerp_(part, (part_sums - whole_sums).sigmoid_()[..., None])
                torch.logaddexp(whole_sums, part_sums, out=whole_sums)
        ctx.save_for_backward(query_THE, key_THE, value_THE, out_THE, sums_TH)
        ctx.calls, ctx.scale = calls, scale
        return out_THE

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, Tensor, None, None]:
        run, fresh = kernel().backward, _fresh(ctx.calls, len(grads[0]))
        saved = ctx.saved_tensors  # once: recomputed activations are handed out no second time
        grad, query, key, value, out, sums = map(_heads_first, (grads[0].contiguous(), *saved))
        of_query_THE, of_key_THE, of_value_THE = (fresh(x.shape, dtype=x.dtype) for x in saved[:3])
        of_query, of_key, of_value = map(_heads_first, (of_query_THE, of_key_THE, of_value_THE))
        for call in ctx.calls:
            at_queries = [_queries(x, call) for x in (grad, query, out, sums)]
            parts = run(
                *at_queries[:2], _keys(key, call), _keys(value, call), *at_queries[2:], 0.0, call.is_causal, scale=ctx.scale
            )
            for whole, part in zip((_queries(of_query, call), _keys(of_key, call), _keys(of_value, call)), parts, strict=True):
                if call.is_causal:
                    whole.copy_(part)
                else:
                    whole.add_(part)
        return of_query_THE, of_key_THE, of_value_THE, None, None


def _heads_first(x_TH: Tensor) -> Tensor:
    """[T, H, ...] -> [1, H, T, ...], a view."""
    return x_TH.transpose(0, 1)[None]


def _queries(x_1HT: Tensor, call: Call) -> Tensor:
    return x_1HT.narrow(2, call.query, call.n_queries)


def _keys(x_1HT: Tensor, call: Call) -> Tensor:
    return x_1HT.narrow(2, call.key, call.n_keys)


def _fresh(calls: Sequence[Call], n_tokens: int) -> Callable[..., Tensor]:
    """What makes a result: causal calls write all of it, except tokens without a query, which are to be zero."""
    return torch.empty if sum(call.n_queries for call in calls if call.is_causal) == n_tokens else torch.zeros
