"""A key/value cache whose rows all write to the same column: prompts stand right-aligned, so a step is one slice a layer.

Shapes: T prompt tokens laid end to end, R rows, P columns of prompt, C columns in all, H key/value heads, E head width.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from transformers.cache_utils import Cache

_GROWTH = 64


class PrefillCache(Cache):
    """Keeps the keys and values of prompts laid end to end, each [1, H, T, E], for the rows to be built from."""

    def __init__(self) -> None:
        super().__init__(layers=[])
        self.keys: dict[int, Tensor] = {}
        self.values: dict[int, Tensor] = {}

    def update(self, key_states: Tensor, value_states: Tensor, layer_idx: int, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        """Called by each attention layer in turn."""
        self.keys[layer_idx] = key_states
        self.values[layer_idx] = value_states
        return key_states, value_states

    def get_seq_length(self, *_: Any, **__: Any) -> int:
        """Nothing is seen before the prompt."""
        return 0


class RowCache(Cache):
    """One row a completion. `begin_step` opens a column; each layer's `update` writes it and returns all columns so far."""

    def __init__(self, prefill: PrefillCache, token_of_column_RP: Tensor, max_columns: int) -> None:
        super().__init__(layers=[])
        self.columns = token_of_column_RP.shape[1]
        self._max_columns = max_columns
        self._capacity = min(max_columns, self.columns + _GROWTH)
        self.keys = {layer: _rows(x, token_of_column_RP, self._capacity) for layer, x in prefill.keys.items()}
        self.values = {layer: _rows(x, token_of_column_RP, self._capacity) for layer, x in prefill.values.items()}

    def begin_step(self) -> None:
        """Open the next column, growing the buffers where they are full."""
        if self.columns == self._capacity:
            self._capacity = min(self._max_columns, self.columns + _GROWTH)
            self.keys = {layer: _grown(x, self._capacity) for layer, x in self.keys.items()}
            self.values = {layer: _grown(x, self._capacity) for layer, x in self.values.items()}
        self.columns += 1

    def keep_rows(self, kept_R: Tensor) -> None:
        """Retire all rows but these."""
        self.keys = {layer: x.index_select(0, kept_R) for layer, x in self.keys.items()}
        self.values = {layer: x.index_select(0, kept_R) for layer, x in self.values.items()}

    def update(self, key_states: Tensor, value_states: Tensor, layer_idx: int, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        """Write [R, H, 1, E] into the open column; return every column up to it."""
        keys, values, column = self.keys[layer_idx], self.values[layer_idx], self.columns - 1
        keys[:, :, column] = key_states[:, :, 0]
        values[:, :, column] = value_states[:, :, 0]
        return keys[:, :, : self.columns], values[:, :, : self.columns]

    def get_seq_length(self, *_: Any, **__: Any) -> int:
        """Columns before the one being written."""
        return self.columns - 1


def _rows(x_1HTE: Tensor, token_of_column_RP: Tensor, capacity: int) -> Tensor:
    rows, columns = token_of_column_RP.shape
    heads, width = x_1HTE.shape[1], x_1HTE.shape[3]
    out = x_1HTE.new_empty(rows, heads, capacity, width)
    picked = x_1HTE[0].index_select(1, token_of_column_RP.flatten())
    out[:, :, :columns] = picked.view(heads, rows, columns, width).transpose(0, 1)
    return out


def _grown(x_RHCE: Tensor, capacity: int) -> Tensor:
    out = x_RHCE.new_empty(*x_RHCE.shape[:2], capacity, x_RHCE.shape[3])
    out[:, :, : x_RHCE.shape[2]] = x_RHCE
    return out


def right_aligned(starts_R: Tensor, lengths_R: Tensor) -> tuple[Tensor, Tensor]:
    """Token index at each column [R, P], and True where a column is padding on the left (it repeats a row's first token)."""
    columns = int(lengths_R.max())
    offset_RP = torch.arange(columns, device=starts_R.device) - (columns - lengths_R)[:, None]
    return starts_R[:, None] + offset_RP.clamp(min=0), offset_RP < 0
