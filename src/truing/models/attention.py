"""Attention over sequences laid end to end, without padding anywhere else in the model.

Registered with transformers as "truing". Given a `RaggedLayout` it brings queries, keys and values into a few rectangles of
similar lengths, runs causal attention there, and lays the result end to end again: right padding under a causal mask is
never seen, so neighbours are exactly independent and no T x T mask is made. Given a `StepLayout`, each row has one new token
that sees its row of a key/value cache. Without a layout it is transformers' own sdpa.

Shapes: T tokens laid end to end, S slots of the rectangles (S >= T), R rows and L columns of one rectangle, H heads,
E head width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from truing.errors import TruingError

ATTENTION = "truing"
LAYOUT = "truing_layout"
"""Keyword that carries the layout through a model's forward to its attention layers."""
_MAX_PADDED_FRACTION = 0.25
_UNSUPPORTED = ("softcap", "s_aux", "position_bias")


class Rectangle(NamedTuple):
    """Slots `offset` to `offset + rows * columns`, as `rows` sequences padded on the right to `columns`."""

    offset: int
    rows: int
    columns: int


@dataclass(frozen=True)
class RaggedLayout:
    """Where each token goes: `token_of_slot_S` (padding repeats a token of its own row), `slot_of_token_T` back."""

    token_of_slot_S: Tensor
    slot_of_token_T: Tensor
    rectangles: tuple[Rectangle, ...]
    is_identity: bool

    @classmethod
    def of_lengths(cls, lengths: Sequence[int], device: torch.device) -> RaggedLayout:
        """Group sequences of these lengths so that at most a quarter of any rectangle is padding."""
        starts = [0]
        for length in lengths:
            starts.append(starts[-1] + length)
        token_of_slot: list[int] = []
        slot_of_token = [0] * starts[-1]
        rectangles = []
        for rows in _group(lengths):
            columns = max(lengths[row] for row in rows)
            rectangles.append(Rectangle(len(token_of_slot), len(rows), columns))
            for row in rows:
                start, length, slot = starts[row], lengths[row], len(token_of_slot)
                slot_of_token[start : start + length] = range(slot, slot + length)
                token_of_slot.extend(range(start, start + length))
                token_of_slot.extend([start + length - 1] * (columns - length))
        return cls(
            torch.tensor(token_of_slot, device=device),
            torch.tensor(slot_of_token, device=device),
            tuple(rectangles),
            is_identity=token_of_slot == slot_of_token,
        )


@dataclass(frozen=True)
class StepLayout:
    """One new token a row, in the last column of a cache. `mask_R11C` is added to attention scores: 0 seen, -inf padding."""

    mask_R11C: Tensor


def _group(lengths: Sequence[int]) -> list[list[int]]:
    """Row indices by group: as they stand where that wastes little, else sorted and cut where the waste grows too large."""
    if len(lengths) * max(lengths) * (1 - _MAX_PADDED_FRACTION) <= sum(lengths):
        return [list(range(len(lengths)))]
    groups: list[list[int]] = []
    columns = real = 0
    for row in sorted(range(len(lengths)), key=lambda index: -lengths[index]):
        if groups and (len(groups[-1]) + 1) * columns * (1 - _MAX_PADDED_FRACTION) <= real + lengths[row]:
            groups[-1].append(row)
            real += lengths[row]
        else:
            groups.append([row])
            columns = real = lengths[row]
    return groups


class _ToSlots(torch.autograd.Function):
    """[H, T, E] -> [H, S, E]. Padding slots get no gradient from causal attention, so backward just picks the real ones."""

    @staticmethod
    def forward(ctx: Any, x_HTE: Tensor, layout: RaggedLayout) -> Tensor:
        ctx.layout = layout
        return x_HTE.index_select(1, layout.token_of_slot_S)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        return grads[0].index_select(1, ctx.layout.slot_of_token_T), None


class _FromSlots(torch.autograd.Function):
    """[S, H, E] -> [T, H, E]; the gradient of padding slots is zero."""

    @staticmethod
    def forward(ctx: Any, x_SHE: Tensor, layout: RaggedLayout) -> Tensor:
        ctx.layout = layout
        return x_SHE.index_select(0, layout.slot_of_token_T)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        grad_THE, layout = grads[0], ctx.layout
        grad_SHE = grad_THE.new_zeros(len(layout.token_of_slot_S), *grad_THE.shape[1:])
        return grad_SHE.index_copy_(0, layout.slot_of_token_T, grad_THE), None


def _ragged_attention(module: torch.nn.Module, qkv: Sequence[Tensor], layout: RaggedLayout, kwargs: dict[str, Any]) -> Tensor:
    """Causal attention within each sequence. `qkv` are [1, H, T, E]; returns [1, T, H, E]."""
    # torch leaves Function.apply without types, here and below
    flat = [x[0] if layout.is_identity else _ToSlots.apply(x[0], layout) for x in qkv]  # type: ignore[no-untyped-call]
    pieces = []
    for offset, rows, columns in layout.rectangles:
        query, key, value = (
            x.narrow(1, offset, rows * columns).unflatten(1, (rows, columns)).transpose(0, 1) for x in flat
        )  # [R, H, L, E]
        mask = _window_mask(columns, kwargs.get("sliding_window"), query.device)
        settings = {"dropout": kwargs.get("dropout", 0.0), "scaling": kwargs.get("scaling"), "is_causal": mask is None}
        out_RLHE, _ = sdpa_attention_forward(module, query, key, value, mask, **settings)
        pieces.append(out_RLHE.flatten(0, 1))
    out_SHE = pieces[0] if len(pieces) == 1 else torch.cat(pieces)
    out_THE: Tensor = out_SHE if layout.is_identity else _FromSlots.apply(out_SHE, layout)  # type: ignore[no-untyped-call]
    return out_THE[None]


def _window_mask(columns: int, window: int | None, device: torch.device) -> Tensor | None:
    """True where a query may see a key, for models with sliding-window attention; None where the window covers everything."""
    if window is None or columns <= window:
        return None
    distance_LL = torch.arange(columns, device=device)[:, None] - torch.arange(columns, device=device)
    return ((distance_LL >= 0) & (distance_LL < window))[None, None]


def _step_attention(query: Tensor, key: Tensor, value: Tensor, layout: StepLayout, kwargs: dict[str, Any]) -> Tensor:
    """One query a row: [R, H, 1, E] on keys and values [R, H', C, E]; returns [R, 1, H, E]."""
    window, mask = kwargs.get("sliding_window"), layout.mask_R11C
    if window is not None and key.shape[2] > window:
        key, value, mask = key[:, :, -window:], value[:, :, -window:], mask[..., -window:]
    rows, heads, _, width = query.shape
    grouped = query.reshape(rows, key.shape[1], heads // key.shape[1], width)  # queries that share a key/value head, side by side
    out = functional.scaled_dot_product_attention(grouped, key, value, attn_mask=mask, scale=kwargs.get("scaling"))
    return out.reshape(rows, 1, heads, value.shape[-1])


def _attention(
    module: torch.nn.Module, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, **kwargs: Any
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
        return _step_attention(query, key, value, layout, kwargs), None
    return _ragged_attention(module, (query, key, value), layout, kwargs), None


AttentionInterface.register(ATTENTION, _attention)
AttentionMaskInterface.register(ATTENTION, sdpa_mask)
