"""Attention over sequences laid end to end, without padding anywhere else in the model.

Registered with transformers under four names. "truing", given a `RaggedLayout`, brings queries, keys and values into a few
rectangles of similar lengths, runs attention there, and lays the result end to end again: right padding is never seen, so
neighbours are exactly independent and no T x T mask is made. "truing_blocks" brings blocks of queries and what they see together,
for a CPU's products in bfloat16. Two others leave tokens where they are: "truing_segments" calls a CPU's kernel segment by
segment, "truing_flex" has FlexAttention skip every block that nobody sees, which a GPU prefers. Given a `StepLayout`, each row
has one new token that sees its row of a key/value cache. Without a layout all are transformers' own sdpa.

Shapes: T tokens laid end to end, A of them with a query, S query slots and K key slots of the rectangles, R rows, L query columns
and C key columns of one rectangle, H heads, E head width.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache, partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.nn.attention.flex_attention import flex_attention
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from truing.errors import TruingError
from truing.models.blocks import block_attention, laid_out
from truing.models.layout import RaggedLayout, Rectangle
from truing.models.prompted import PromptRows, prompted_attention
from truing.models.segments import segment_attention

ATTENTION = "truing"
SEGMENT_ATTENTION = "truing_segments"
BLOCK_ATTENTION = "truing_blocks"
FLEX_ATTENTION = "truing_flex"
LAYOUT = "truing_layout"
"""Keyword that carries the layout through a model's forward to its attention layers."""
_SHORT = 32
"""Tokens a segment, on average, below which calls for each cost more than bringing them together (measured)."""
_UNSUPPORTED = ("softcap", "s_aux", "position_bias")


@dataclass(frozen=True)
class StepLayout:
    """One new token a row, which stands at column `column_R` of its row of a cache and sees the columns up to it.

    `columns` of the cache are read: more than any of those. Before them a row sees its prompt, where `prompts` do not stand in
    the cache themselves.
    """

    column_R: Tensor
    columns: int
    prompts: PromptRows | None = None
    _masks: dict[tuple[int | None, torch.dtype], Tensor] = field(default_factory=dict, repr=False)

    def mask(self, window: int | None, dtype: torch.dtype) -> Tensor:
        """0 where a row sees a column, else -inf, [R, 1, 1, C]. Made once, used by every layer."""
        if (window, dtype) not in self._masks:
            distance_RC = self.column_R[:, None] - torch.arange(self.columns, device=self.column_R.device)
            is_unseen_RC = distance_RC < 0
            if window is not None:
                is_unseen_RC |= distance_RC >= window
            mask_RC = torch.zeros(is_unseen_RC.shape, dtype=dtype, device=is_unseen_RC.device)
            self._masks[window, dtype] = mask_RC.masked_fill_(is_unseen_RC, -torch.inf)[:, None, None]
        return self._masks[window, dtype]


class _ToSlots(torch.autograd.Function):
    """[T, H, E] -> [S, H, E]. Only one slot of each token gets a gradient (padding is never seen), so backward picks it."""

    @staticmethod
    def forward(ctx: Any, x_THE: Tensor, layout: RaggedLayout) -> Tensor:
        ctx.layout = layout
        return x_THE.index_select(0, layout.token_of_query_S)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        layout = ctx.layout
        return _placed(grads[0].index_select(0, layout.query_of_token_A), layout.asking_A, len(layout.segment_T)), None


class _FromSlots(torch.autograd.Function):
    """[S, H, E] -> [T, H, E], zero for tokens without a query; the gradient of padding slots is zero."""

    @staticmethod
    def forward(ctx: Any, x_SHE: Tensor, layout: RaggedLayout) -> Tensor:
        ctx.layout = layout
        return _placed(x_SHE.index_select(0, layout.query_of_token_A), layout.asking_A, len(layout.segment_T))

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        layout = ctx.layout
        grad_AHE = grads[0] if layout.asking_A is None else grads[0].index_select(0, layout.asking_A)
        return _placed(grad_AHE, layout.query_of_token_A, len(layout.token_of_query_S)), None


def _placed(x_AHE: Tensor, places_A: Tensor | None, n: int) -> Tensor:
    """Rows of `x_AHE` at `places_A` of `n` rows of zeros; as they are where no places are given."""
    return x_AHE if places_A is None else x_AHE.new_zeros(n, *x_AHE.shape[1:]).index_copy_(0, places_A, x_AHE)


def _ragged_attention(
    module: torch.nn.Module, query: Tensor, key: Tensor, value: Tensor, layout: RaggedLayout, kwargs: dict[str, Any]
) -> Tensor:
    """Each segment sees its context and itself causally. Query, key and value are [1, H, T, E]; returns [1, T, H, E]."""
    # a CPU's kernel is slower in bfloat16 than in float32 (twice, measured), and the casts are cheap beside it
    dtype = torch.float32 if query.device.type == "cpu" else query.dtype
    query_SHE, *keys_values = (x[0].transpose(0, 1).to(dtype) for x in (query, key, value))
    if not layout.is_identity:
        # torch leaves Function.apply without types, here and below
        query_SHE = _ToSlots.apply(query_SHE, layout)  # type: ignore[no-untyped-call]
        if layout.has_own_keys:  # a shared beginning collects the gradients of all who see it: plain index_select adds them up
            keys_values = [_gathered(x, layout.token_of_key_K) for x in keys_values]
        else:
            keys_values = [_ToSlots.apply(x, layout) for x in keys_values]  # type: ignore[no-untyped-call]
    # split, not narrow: its backward is one concatenation, not a tensor of zeros for every rectangle
    sizes = [(x.rows * x.query_columns, x.rows * x.key_columns) for x in layout.rectangles]
    queries = query_SHE.split([n_queries for n_queries, _ in sizes])
    keys, values = (x.split([n_keys for _, n_keys in sizes]) for x in keys_values)
    pieces = [
        _rectangle_attention(module, *parts, kwargs) for parts in zip(queries, keys, values, layout.rectangles, strict=True)
    ]
    out_SHE = pieces[0] if len(pieces) == 1 else torch.cat(pieces)
    out_THE: Tensor = out_SHE if layout.is_identity else _FromSlots.apply(out_SHE, layout)  # type: ignore[no-untyped-call]
    return out_THE[None].to(query.dtype)


def _rectangle_attention(
    module: torch.nn.Module, query: Tensor, key: Tensor, value: Tensor, rectangle: Rectangle, kwargs: dict[str, Any]
) -> Tensor:
    """Attention of one rectangle's rows: [R * L, H, E]."""
    columns = (rectangle.query_columns, rectangle.key_columns, rectangle.key_columns)
    query_RHLE, key_RHCE, value_RHCE = (
        x.view(rectangle.rows, n, *x.shape[1:]).transpose(1, 2) for x, n in zip((query, key, value), columns, strict=True)
    )
    mask = rectangle.mask(kwargs.get("sliding_window"), query.dtype)
    settings = {"dropout": kwargs.get("dropout", 0.0), "scaling": kwargs.get("scaling"), "is_causal": mask is None}
    out_RLHE, _ = sdpa_attention_forward(module, query_RHLE, key_RHCE, value_RHCE, mask, **settings)
    flat: Tensor = out_RLHE.flatten(0, 1)
    return flat


def _gathered(x_THE: Tensor, token_of_slot_S: Tensor) -> Tensor:
    """[S, H, E]. Two dimensions, since adding rows up in the backward pass is ten times slower in three."""
    slots_SHE: Tensor = x_THE.flatten(1).index_select(0, token_of_slot_S).view(-1, *x_THE.shape[1:])
    return slots_SHE


def _step_attention(
    module: torch.nn.Module, query: Tensor, key: Tensor, value: Tensor, layout: StepLayout, kwargs: dict[str, Any]
) -> Tensor:
    """One query a row: [R, H, 1, E] on keys and values [R, H', C, E], computed in their dtype; returns [R, 1, H, E]."""
    rows, heads, _, width = query.shape
    # queries that share a key/value head, side by side
    grouped = query.reshape(rows, key.shape[1], heads // key.shape[1], width).to(key.dtype)
    mask, scale = layout.mask(kwargs.get("sliding_window"), key.dtype), kwargs.get("scaling")
    if layout.prompts is None:
        out = functional.scaled_dot_product_attention(grouped, key, value, attn_mask=mask, scale=scale)
    else:
        layer: Any = module.layer_idx
        out = prompted_attention(grouped, key, value, mask, layout.prompts, layer, scale)
    return out.reshape(rows, 1, heads, value.shape[-1]).to(query.dtype)


def _segment_attention(
    module: torch.nn.Module, query: Tensor, key: Tensor, value: Tensor, layout: RaggedLayout, kwargs: dict[str, Any]
) -> Tensor:
    """What `_ragged_attention` computes, with tokens where they stand. Left to it: short segments, limited windows, dropout."""
    if not _is_plain(query, value, layout, kwargs):
        return _ragged_attention(module, query, key, value, layout, kwargs)
    query_THE, key_THE, value_THE = (x[0].transpose(0, 1).float() for x in (query, key, value))
    if (sharing := query.shape[1] // key.shape[1]) > 1:
        key_THE, value_THE = (x.repeat_interleave(sharing, 1) for x in (key_THE, value_THE))
    return segment_attention(query_THE, key_THE, value_THE, layout.calls, kwargs.get("scaling"))[None].to(query.dtype)


def _is_plain(query: Tensor, value: Tensor, layout: RaggedLayout, kwargs: dict[str, Any]) -> bool:
    """Whether segments are long and see all that stands before them."""
    window = kwargs.get("sliding_window")
    is_windowed = window is not None and any(segment.n_keys > window for segment in layout.segments)
    return layout.mean_length >= _SHORT and not is_windowed and not kwargs.get("dropout") and query.shape[-1] == value.shape[-1]


def _block_attention(
    module: torch.nn.Module, query: Tensor, key: Tensor, value: Tensor, layout: RaggedLayout, kwargs: dict[str, Any]
) -> Tensor:
    """As `_segment_attention`, by products in bfloat16."""
    if not _is_plain(query, value, layout, kwargs):
        return _ragged_attention(module, query, key, value, layout, kwargs)
    query_THE, key_THE, value_THE = (x[0].transpose(0, 1) for x in (query, key, value))
    blocks = laid_out(layout.segments, query.shape[1], key.shape[1])
    scale = kwargs.get("scaling") or query.shape[-1] ** -0.5
    return block_attention(query_THE, key_THE, value_THE, blocks, scale)[None]


def _flex_attention(
    module: torch.nn.Module, query: Tensor, key: Tensor, value: Tensor, layout: RaggedLayout, kwargs: dict[str, Any]
) -> Tensor:
    """What `_ragged_attention` computes, by FlexAttention (Dong et al. 2024); compiled on CUDA."""
    del module
    if kwargs.get("dropout"):
        raise TruingError("FlexAttention has no dropout: use load.attention = 'rectangles', or a model without attention dropout")
    run = _compiled_flex() if query.device.type == "cuda" else flex_attention
    mask = layout.block_mask(kwargs.get("sliding_window"))
    out_1HTE: Tensor = run(query, key, value, block_mask=mask, scale=kwargs.get("scaling"), enable_gqa=query.shape != key.shape)
    return out_1HTE.transpose(1, 2)


@cache
def _compiled_flex() -> Any:
    return torch.compile(flex_attention, dynamic=True)


def _attention(
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    run: Callable[..., Tensor],
    **kwargs: Any,
) -> tuple[Tensor, None]:
    layout = kwargs.pop(LAYOUT, None)
    if layout is None:
        out, _ = sdpa_attention_forward(module, query, key, value, attention_mask, **kwargs)
        return out, None
    unsupported = [name for name in _UNSUPPORTED if kwargs.get(name) is not None]
    if unsupported:
        raise TruingError(
            f"this model's attention uses {', '.join(unsupported)}, which exact ragged batches do not support yet. "
            "Choose a model with plain softmax attention (Llama, Mistral, Qwen, ...)."
        )
    if isinstance(layout, StepLayout):
        return _step_attention(module, query, key, value, layout, kwargs), None
    return run(module, query, key, value, layout, kwargs), None


for _name, _run in (
    (ATTENTION, _ragged_attention),
    (SEGMENT_ATTENTION, _segment_attention),
    (BLOCK_ATTENTION, _block_attention),
    (FLEX_ATTENTION, _flex_attention),
):
    AttentionInterface.register(_name, partial(_attention, run=_run))
    AttentionMaskInterface.register(_name, sdpa_mask)
