"""Attention on a CPU in bfloat16: blocks of queries of one size together, as plain batched products.

A CPU's products in bfloat16 run several times faster than those in float32, but torch's attention kernel gains nothing from them,
so `segments.py` gives it float32. Here each segment's queries are cut into blocks, each block's keys are brought beside it, and
blocks of one size form a batch, whose attention runs as plain products. Short branches of one beginning make a block together,
so that it is brought once for all of them. Scores and their softmax are float32: only what goes into a product, and what comes
out of the others, is rounded to bfloat16, as FlashAttention on a GPU does.

Probabilities are kept for the backward pass where a query sees few keys, and made again where it sees many, so memory grows with
the tokens, not with their square.

Shapes: T tokens laid end to end, H heads (H' of keys and values), E head width; in one batch R blocks, L query columns and C key
columns; S query slots and K key slots of all batches, over all heads.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import groupby
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from truing.models.kernels import array, attend, attend_back, attend_back_in_parts, attend_in_parts, in_rows
from truing.models.layout import Segment
from truing.models.products import processor

_QUERIES = 128
"""Of a block, at most."""
_QUERY_COLUMNS, _KEY_COLUMNS = 32, 128
"""What queries and keys are padded to multiples of: oneDNN takes a third of a millisecond to get ready for each new size."""
_KEPT_KEYS = 512
"""Key columns up to which probabilities are kept."""
_BRINGING = 50
"""Queries whose pairs with a key cost what it costs to bring the key and to take its gradient back (estimated)."""


class Batch(NamedTuple):
    """Blocks of one size: slots are rows of [T * H, E] or [T * H', E]. Padding repeats a block's last token."""

    query_RHL: Tensor
    key_RHC: Tensor
    seen: tuple[np.ndarray, np.ndarray, np.ndarray]
    """Of each row of scores, R * H * L: it sees keys before the first, and from the second to the third. A padding query sees
    what the last one does."""
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
        for block in _blocks(segments):
            of_size[block.size].append(block)
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
    """Queries that see their context, the keys that come first, and of the others those from `first` to `last`, each its own."""

    queries: np.ndarray
    keys: np.ndarray
    context: int
    first: np.ndarray
    last: np.ndarray

    @property
    def size(self) -> tuple[int, int]:
        """Columns of queries and of keys, padding included."""
        return _multiple(len(self.queries), _QUERY_COLUMNS), _multiple(len(self.keys), _KEY_COLUMNS)

    @property
    def cost(self) -> int:
        """In pairs of a query and a key."""
        n_queries, n_keys = self.size
        return (n_queries + _BRINGING) * n_keys

    def beside(self, other: _Block) -> _Block:
        """Both as one, with their context once."""
        moved = len(self.keys) - self.context
        return _Block(
            np.concatenate([self.queries, other.queries]),
            np.concatenate([self.keys, other.keys[self.context :]]),
            self.context,
            np.concatenate([self.first, other.first + moved]),
            np.concatenate([self.last, other.last + moved]),
        )


@lru_cache(maxsize=4)
def laid_out(segments: tuple[Segment, ...], heads: int, key_heads: int) -> Blocks:
    """`Blocks.of_segments`, made once for all layers that see the same segments."""
    return Blocks.of_segments(segments, heads, key_heads)


def is_faster_in_blocks() -> bool:
    """Whether this processor multiplies bfloat16 matrices in hardware."""
    return any(processor().get(name, False) for name in ("avx512_bf16", "amx_bf16"))


def _blocks(segments: Sequence[Segment]) -> Iterator[_Block]:
    """Every query once. Branches of one beginning that stand side by side are put together where that costs less."""
    for (_, context), siblings in groupby(segments, lambda segment: (segment.context_start, segment.context_length)):
        cut = [_cut(segment) for segment in siblings]
        yield from (block for blocks in cut if not context or len(blocks) > 1 for block in blocks)
        yield from _together([blocks[0] for blocks in cut if context and len(blocks) == 1])


def _together(branches: Sequence[_Block]) -> Iterator[_Block]:
    pending: _Block | None = None
    for branch in branches:
        both = branch if pending is None else pending.beside(branch)
        if pending is None or (len(both.queries) <= _QUERIES and both.cost < pending.cost + branch.cost):
            pending = both
        else:
            yield pending
            pending = branch
    if pending is not None:
        yield pending


def _cut(segment: Segment) -> list[_Block]:
    context = segment.context_length
    before = np.arange(segment.context_start, segment.context_start + context)
    tokens = np.arange(segment.start, segment.start + segment.length)
    blocks = []
    for at in range(segment.unread, segment.length, _QUERIES):
        queries, keys = tokens[at : at + _QUERIES], np.concatenate([before, tokens[: at + _QUERIES]])
        last = np.arange(context + at, context + at + len(queries))
        blocks.append(_Block(queries, keys, context, np.full(len(queries), context), last))
    return blocks


def _multiple(length: int, of: int) -> int:
    return -(-length // of) * of


def _batch(size: tuple[int, int], blocks: Sequence[_Block], heads: int, key_heads: int) -> Batch:
    n_queries, n_keys = size
    head_H1 = torch.arange(heads)[:, None]
    query_RL, first_RL, last_RL = (
        _stacked(rows, n_queries) for rows in zip(*((block.queries, block.first, block.last) for block in blocks), strict=True)
    )
    key_RC = _stacked([block.keys for block in blocks], n_keys)
    context_RL = torch.tensor([block.context for block in blocks])[:, None].expand(-1, n_queries)
    context_N, first_N, last_N = (x[:, None].expand(-1, heads, -1).flatten().numpy() for x in (context_RL, first_RL, last_RL))
    is_padding_RL = torch.arange(n_queries) >= torch.tensor([len(block.queries) for block in blocks])[:, None]
    return Batch(
        query_RL[:, None] * heads + head_H1,
        key_RC[:, None] * key_heads + head_H1 // (heads // key_heads),
        (context_N, first_N, last_N),
        is_padding_RL[:, None].expand(-1, heads, -1).flatten().nonzero()[:, 0],
    )


def _stacked(rows: Sequence[np.ndarray], columns: int) -> Tensor:
    """One below the other, each repeating its last number up to `columns`."""
    return torch.from_numpy(np.stack([np.pad(row, (0, columns - len(row)), mode="edge") for row in rows]))


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
        out, parts = _room(value, [batch.query_RHL for batch in blocks.batches])
        kept = []
        for batch, part in zip(blocks.batches, parts, strict=True):
            probabilities = _probabilities(_at(query, batch.query_RHL), _at(key, batch.key_RHC), batch, scale)
            torch.bmm(probabilities, _at(value, batch.key_RHC), out=part)
            is_kept = any(ctx.needs_input_grad) and probabilities.shape[-1] <= _KEPT_KEYS
            kept.append(probabilities if is_kept else None)
        ctx.save_for_backward(query, key, value, *kept)
        ctx.blocks, ctx.scale, ctx.shapes = blocks, scale, [x.shape for x in (query_THE, key_THE, value_THE)]
        return out.index_select(0, blocks.slot_of_query).view(*query_THE.shape[:2], -1)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, Tensor, None, None]:
        query, key, value, *kept = ctx.saved_tensors
        grad, scale, blocks = grads[0].reshape(-1, value.shape[1]), ctx.scale, ctx.blocks
        of_query, query_parts = _room(query, [batch.query_RHL for batch in blocks.batches])
        of_key, key_parts = _room(key, [batch.key_RHC for batch in blocks.batches])
        of_value, value_parts = _room(value, [batch.key_RHC for batch in blocks.batches])
        parts = zip(query_parts, key_parts, value_parts, strict=True)
        for batch, kept_probabilities, (query_part, key_part, value_part) in zip(blocks.batches, kept, parts, strict=True):
            query_rows, key_rows = _at(query, batch.query_RHL), _at(key, batch.key_RHC)
            is_kept = kept_probabilities is not None
            probabilities = kept_probabilities if is_kept else _probabilities(query_rows, key_rows, batch, scale)
            grad_rows = _at(grad, batch.query_RHL)
            grad_rows.flatten(0, 1).index_fill_(0, batch.padding, 0)
            torch.bmm(probabilities.transpose(1, 2), grad_rows, out=value_part)
            of_probabilities = torch.bmm(grad_rows, _at(value, batch.key_RHC).transpose(1, 2))
            of_scores = _of_scores(of_probabilities, probabilities, scale)
            torch.bmm(of_scores, key_rows, out=query_part)
            torch.bmm(of_scores.transpose(1, 2), query_rows, out=key_part)
        gradients = (
            of_query.index_select(0, blocks.slot_of_query),
            _added_up(of_key, blocks),
            _added_up(of_value, blocks),
        )
        of_query_THE, of_key_THE, of_value_THE = (x.view(shape) for x, shape in zip(gradients, ctx.shapes, strict=True))
        return of_query_THE, of_key_THE, of_value_THE, None, None


def _at(rows: Tensor, slots_RHL: Tensor) -> Tensor:
    """[R * H, L, E]."""
    return rows.index_select(0, slots_RHL.flatten()).view(-1, slots_RHL.shape[-1], rows.shape[1])


def _room(like: Tensor, slots: Sequence[Tensor]) -> tuple[Tensor, list[Tensor]]:
    """A row for each of the slots and one of zeros; and what of it belongs to each batch, [R * H, L, E]."""
    sizes = [slots_RHL.numel() for slots_RHL in slots]
    room = like.new_empty(sum(sizes) + 1, like.shape[1])
    *parts, zeros = room.split([*sizes, 1])
    zeros.zero_()
    return room, [part.view(-1, slots_RHL.shape[-1], like.shape[1]) for part, slots_RHL in zip(parts, slots, strict=True)]


def _probabilities(query: Tensor, key: Tensor, batch: Batch, scale: float) -> Tensor:
    """[R * H, L, C] in the type of the query: the softmax in float32 of float32 scores."""
    scores = torch.bmm(query.float(), key.float().transpose(1, 2))
    out = scores if query.dtype == torch.float32 else torch.empty_like(scores, dtype=query.dtype)
    scores_NC, out_NC = (array(x.flatten(0, 1)) for x in (scores, out))
    given = (scores_NC, np.float32(scale), *batch.seen, out_NC)
    in_rows(attend, attend_in_parts, *given, rows=len(out_NC), width=out_NC.shape[1])
    return out


def _of_scores(of_probabilities: Tensor, probabilities: Tensor, scale: float) -> Tensor:
    """The gradient of query key^T, in place."""
    grad_NC, probabilities_NC = (array(x.flatten(0, 1)) for x in (of_probabilities, probabilities))
    given = (grad_NC, probabilities_NC, np.float32(scale))
    in_rows(attend_back, attend_back_in_parts, *given, rows=len(grad_NC), width=grad_NC.shape[1])
    return of_probabilities


def _added_up(of_slots: Tensor, blocks: Blocks) -> Tensor:
    """What stands in the key slots, added up in float32 for each row of [T * H', E]."""
    return functional.embedding_bag(blocks.slots_of_key, of_slots, blocks.first_slot_of_key, mode="sum")
