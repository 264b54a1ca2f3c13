"""In the last layer, only what is read is run.

A loss looks at few states: those before trained tokens, the last of a sequence. Earlier layers need every token, since later ones
look back at it; the last layer needs a token's key and value, but its query, its attention and its MLP only where its state is
read. So there the query and output projections and the MLP see only those rows, and queries of the others are left out. States
that nobody reads come out as anything.

Installed as hooks on a model's last layer (`skip_unread`), which do nothing unless a forward pass says what is read
(`models/forward.py`). Applies to models whose layers have `self_attn.q_proj` and `o_proj`, or an `mlp`, under those names.

Shapes: T tokens laid end to end, U of them read, D a width.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from truing.models.attention import LAYOUT
from truing.models.ragged import Reading

READING = "truing_reading"
"""Keyword that carries what is read through a model's forward to its last layer."""
_ROWS = "_truing_rows"


class _Rows(NamedTuple):
    rows_U: Tensor
    n_tokens: int


class _Spread(torch.autograd.Function):
    """[1, U, D] -> [1, T, D], zero where nothing is read."""

    @staticmethod
    def forward(ctx: Any, x_1UD: Tensor, rows: _Rows) -> Tensor:
        ctx.rows_U = rows.rows_U
        return x_1UD.new_zeros(1, rows.n_tokens, x_1UD.shape[2]).index_copy_(1, rows.rows_U, x_1UD)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        return grads[0].index_select(1, ctx.rows_U), None


class _Pick(torch.autograd.Function):
    """[1, T, D] -> [1, U, D], rows being distinct."""

    @staticmethod
    def forward(ctx: Any, x_1TD: Tensor, rows: _Rows) -> Tensor:
        ctx.rows = rows
        return x_1TD.index_select(1, rows.rows_U)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        (grad_1UD,), rows = grads, ctx.rows
        return grad_1UD.new_zeros(1, rows.n_tokens, grad_1UD.shape[2]).index_copy_(1, rows.rows_U, grad_1UD), None


def skip_unread(model: PreTrainedModel) -> None:
    """Put the hooks on `model`, which may be copied afterwards. One whose layers have other names is left as it is."""
    layer, modules = _last_layer(model), rowwise_modules(model)
    if layer is None or not modules:
        return
    layer.register_forward_pre_hook(_enter_layer, with_kwargs=True)
    for module in modules:
        module.register_forward_pre_hook(_pick)
        module.register_forward_hook(_spread)


def rowwise_modules(model: PreTrainedModel) -> list[nn.Module]:
    """Parts of the last layer whose output at a token matters only if that token's state is read."""
    layer = _last_layer(model)
    return [] if layer is None else _rowwise(layer)


def _last_layer(model: PreTrainedModel) -> nn.Module | None:
    for name in ("layers", "h"):
        layers = getattr(model.base_model, name, None)
        if isinstance(layers, nn.ModuleList):
            last: nn.Module = layers[-1]
            return last
    return None


def _rowwise(layer: nn.Module) -> list[nn.Module]:
    attention = getattr(layer, "self_attn", None)
    given = (getattr(attention, "q_proj", None), getattr(attention, "o_proj", None), getattr(layer, "mlp", None))
    return [module for module in given if isinstance(module, nn.Module)]


def _enter_layer(layer: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Tell the layer's parts which rows are read in this pass, if that is known."""
    reading: Reading | None = kwargs.pop(READING, None)
    rows = None
    if reading is not None:
        rows = _Rows(reading.rows_U, args[0].shape[1] if args else kwargs["hidden_states"].shape[1])
        kwargs[LAYOUT] = reading.layout
    for module in _rowwise(layer):
        hooked = getattr(module, "base_layer", module)  # an adapter put on it later wraps the module that has the hooks
        setattr(hooked, _ROWS, rows)
    return args, kwargs


def _pick(module: nn.Module, args: Sequence[Any]) -> tuple[Any, ...]:
    rows: _Rows | None = getattr(module, _ROWS, None)
    # torch leaves Function.apply without types, here and below
    return tuple(args) if rows is None else (_Pick.apply(args[0], rows), *args[1:])  # type: ignore[no-untyped-call]


def _spread(module: nn.Module, _: Any, output: Tensor) -> Tensor:
    rows: _Rows | None = getattr(module, _ROWS, None)
    spread: Tensor = output if rows is None else _Spread.apply(output, rows)  # type: ignore[no-untyped-call]
    return spread
