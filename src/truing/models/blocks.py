"""Attention on a CPU in bfloat16: blocks of queries of one size together, as plain batched products.

A CPU's products in bfloat16 run several times faster than those in float32, but torch's attention kernel gains nothing from them,
so `segments.py` gives it float32. Here each segment's queries are cut into blocks, each block's keys are brought beside it, and
blocks of one size form a batch, whose attention runs as plain products. Scores and their softmax are float32: only what goes into
a product, and what comes out of the others, is rounded to bfloat16, as FlashAttention on a GPU does.

Probabilities are kept for the backward pass where a query sees few keys, and made again where it sees many, so memory grows with
the tokens, not with their square.

Shapes: T tokens laid end to end, H heads (H' of keys and values), E head width; in one batch R blocks, L query columns and C key
columns; S query slots and K key slots of all batches, over all heads.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from truing.models.layout import Segment
from truing.models.products import processor

_QUERIES = 128
"""Of a block, at most."""
_QUERY_COLUMNS, _KEY_COLUMNS = 32, 128
"""What queries and keys are padded to multiples of: oneDNN takes a third of a millisecond to get ready for each new size."""
_KEPT_KEYS = 512
"""Key columns up to which probabilities are kept."""


class Batch(NamedTuple):
    """Blocks of one size: slots are rows of [T * H, E] or [T * H', E]. Padding repeats a block's last token."""

    query_RHL: Tensor
    key_RHC: Tensor
    mask_R1LC: Tensor
    """0 where a query sees a key, else -inf. A padding query sees what the last one does, and copies of its last key."""
    padding: Tensor
    """Numbers of the query slots, over all blocks and heads, that are no token's own."""


class Blocks(NamedTuple):
    """Every query once, with all that it sees."""

    batches: tuple[Batch, ...]
    slot_of_query: Tensor
    """Where each row of [T * H, E] has its query; S where it has none."""
    slots_of_key: Tensor
    """Key slots in the order of the rows of [T * H', E] that they are copies of ..."""
    first_slot_of_key: Tensor
    """... and where each row's begin."""

    @classmethod
    def of_segments(cls, segments: Sequence[Segment], heads: int, key_heads: int) -> Blocks:
        """Lay out segments that together hold each token once; queries of `heads`, keys of `key_heads`."""
        of_size: defaultdict[tuple[int, int], list[_Block]] = defaultdict(list)
        for segment in segments:
            for block in _cut(segment):
                size = (_multiple(len(block.queries), _QUERY_COLUMNS), _multiple(len(block.keys), _KEY_COLUMNS))
                of_size[size].append(block)
        n_tokens = sum(segment.length for segment in segments)
        batches = tuple(_batch(size, blocks, heads, key_heads) for size, blocks in of_size.items())
        query_S = torch.cat([batch.query_RHL.flatten() for batch in batches])
        key_K = torch.cat([batch.key_RHC.flatten() for batch in batches])
        is_own_S = torch.cat([torch.ones(batch.query_RHL.numel()).index_fill_(0, batch.padding, 0) for batch in batches]).bool()
        slot_of_query = torch.full((n_tokens * heads,), len(query_S))
        slot_of_query[query_S[is_own_S]] = is_own_S.nonzero()[:, 0]
        counts = torch.bincount(key_K, minlength=n_tokens * key_heads)
        return cls(batches, slot_of_query, key_K.argsort(stable=True), counts.cumsum(0) - counts)


class _Block(NamedTuple):
    queries: np.ndarray
    keys: np.ndarray


@lru_cache(maxsize=4)
def laid_out(segments: tuple[Segment, ...], heads: int, key_heads: int) -> Blocks:
    """`Blocks.of_segments`, made once for all layers that see the same segments."""
    return Blocks.of_segments(segments, heads, key_heads)


def is_faster_in_blocks() -> bool:
    """Whether this processor multiplies bfloat16 matrices in hardware."""
    return any(processor().get(name, False) for name in ("avx512_bf16", "amx_bf16"))


def _cut(segment: Segment) -> list[_Block]:
    context = np.arange(segment.context_start, segment.context_start + segment.context_length)
    tokens = np.arange(segment.start, segment.start + segment.length)
    starts = range(segment.unread, segment.length, _QUERIES)
    return [_Block(tokens[at : at + _QUERIES], np.concatenate([context, tokens[: at + _QUERIES]])) for at in starts]


def _multiple(length: int, of: int) -> int:
    return -(-length // of) * of


def _batch(size: tuple[int, int], blocks: Sequence[_Block], heads: int, key_heads: int) -> Batch:
    n_queries, n_keys = size
    query_L, key_C, head_H1 = torch.arange(n_queries), torch.arange(n_keys), torch.arange(heads)[:, None]
    lengths_R = torch.tensor([len(block.queries) for block in blocks])
    before_R = torch.tensor([len(block.keys) for block in blocks]) - lengths_R
    is_unseen_RLC = key_C > (before_R[:, None] + query_L)[:, :, None]
    query_RL, key_RC = (
        torch.from_numpy(np.stack([np.pad(row, (0, n - len(row)), mode="edge") for row in rows]))
        for rows, n in (([block.queries for block in blocks], n_queries), ([block.keys for block in blocks], n_keys))
    )
    return Batch(
        query_RL[:, None] * heads + head_H1,
        key_RC[:, None] * key_heads + head_H1 // (heads // key_heads),
        torch.zeros(is_unseen_RLC.shape).masked_fill_(is_unseen_RLC, -torch.inf)[:, None],
        (query_L >= lengths_R[:, None])[:, None].expand(-1, heads, -1).flatten().nonzero()[:, 0],
    )


def block_attention(query_THE: Tensor, key_THE: Tensor, value_THE: Tensor, blocks: Blocks, scale: float) -> Tensor:
    """Softmax attention, [T, H, E], of bfloat16 on a CPU; zero for tokens without a query. Gradients once, not twice.

    Keys and values may have fewer heads, each shared by as many of the queries'. `scale` of the scores.
    """
    # torch leaves Function.apply without types
    out_THE: Tensor = _BlockAttention.apply(query_THE, key_THE, value_THE, blocks, scale)  # type: ignore[no-untyped-call]
    return out_THE


class _BlockAttention(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, query_THE: Tensor, key_THE: Tensor, value_THE: Tensor, blocks: Blocks, scale: float) -> Tensor:
        query, key, value = (x.reshape(-1, x.shape[-1]) for x in (query_THE, key_THE, value_THE))
        parts, kept = [], []
        for batch in blocks.batches:
            probabilities = _probabilities(_at(query, batch.query_RHL), _at(key, batch.key_RHC), batch, scale)
            parts.append(torch.bmm(probabilities, _at(value, batch.key_RHC)).flatten(0, 1))
            is_kept = any(ctx.needs_input_grad) and probabilities.shape[-1] <= _KEPT_KEYS
            kept.append(probabilities if is_kept else None)
        ctx.save_for_backward(query, key, value, *kept)
        ctx.blocks, ctx.scale, ctx.shapes = blocks, scale, [x.shape for x in (query_THE, key_THE, value_THE)]
        return _queries(parts, blocks).view(*query_THE.shape[:2], -1)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, Tensor, None, None]:
        query, key, value, *kept = ctx.saved_tensors
        grad, scale, blocks = grads[0].reshape(-1, value.shape[1]), ctx.scale, ctx.blocks
        of_query, of_key, of_value = [], [], []
        for batch, kept_probabilities in zip(blocks.batches, kept, strict=True):
            query_rows, key_rows = _at(query, batch.query_RHL), _at(key, batch.key_RHC)
            is_kept = kept_probabilities is not None
            probabilities = kept_probabilities if is_kept else _probabilities(query_rows, key_rows, batch, scale)
            grad_rows = _at(grad, batch.query_RHL)
            grad_rows.flatten(0, 1).index_fill_(0, batch.padding, 0)
            of_value.append(torch.bmm(probabilities.transpose(1, 2), grad_rows).flatten(0, 1))
            of_probabilities = torch.bmm(grad_rows, _at(value, batch.key_RHC).transpose(1, 2))
            of_scores = torch._softmax_backward_data(of_probabilities, probabilities, -1, probabilities.dtype)
            of_query.append(torch.bmm(of_scores, key_rows).flatten(0, 1))
            of_key.append(torch.bmm(of_scores.transpose(1, 2), query_rows).flatten(0, 1))
        gradients = (_queries(of_query, blocks).mul_(scale), _keys(of_key, blocks).mul_(scale), _keys(of_value, blocks))
        of_query_THE, of_key_THE, of_value_THE = (x.view(shape) for x, shape in zip(gradients, ctx.shapes, strict=True))
        return of_query_THE, of_key_THE, of_value_THE, None, None


def _at(rows: Tensor, slots_RHL: Tensor) -> Tensor:
    """[R * H, L, E]."""
    return rows.index_select(0, slots_RHL.flatten()).view(-1, slots_RHL.shape[-1], rows.shape[1])


def _probabilities(query: Tensor, key: Tensor, batch: Batch, scale: float) -> Tensor:
    """[R * H, L, C] in bfloat16: the softmax in float32 of float32 scores."""
    scores = torch.bmm(query.float() * scale, key.float().transpose(1, 2))
    scores.view(*batch.query_RHL.shape[:2], *scores.shape[1:]).add_(batch.mask_R1LC)
    return torch.softmax(scores, -1).to(query.dtype)


def _queries(parts: Sequence[Tensor], blocks: Blocks) -> Tensor:
    """What stands in the query slots, for each row of [T * H, E]."""
    return torch.cat([*parts, parts[0].new_zeros(1, parts[0].shape[1])]).index_select(0, blocks.slot_of_query)


def _keys(parts: Sequence[Tensor], blocks: Blocks) -> Tensor:
    """What stands in the key slots, added up in float32 for each row of [T * H', E]."""
    return functional.embedding_bag(blocks.slots_of_key, torch.cat(list(parts)), blocks.first_slot_of_key, mode="sum")
