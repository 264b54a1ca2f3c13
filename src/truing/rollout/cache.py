"""Key/value caches: prompts as they come out of a prefill, and slots that completions are written into.

A slot is one row of each layer's buffer; its sequence stands at the left, one column a token, so a slot is freed, filled and
moved without touching another, and a step reads no further than the longest live sequence. Where samples share their prompts, a
slot holds only what was drawn after its prompt, whose keys and values stand once for all of them.

Shapes: T prompt tokens laid end to end, S slots, R rows under way (slots 0 to R), C columns, H key/value heads, E head width.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from transformers.cache_utils import Cache

from truing.models.prompted import PromptStates


class LayerShape(NamedTuple):
    """What one token takes in one layer: [H, E] keys and [H', E'] values."""

    keys: tuple[int, int]
    values: tuple[int, int]

    @property
    def elements(self) -> int:
        """Numbers kept for one token."""
        return self.keys[0] * self.keys[1] + self.values[0] * self.values[1]


class PrefillCache(Cache):
    """Keeps the keys and values of prompts laid end to end, each [1, H, T, E], layer after layer."""

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

    def part(self, start: int, length: int) -> PromptStates:
        """The prompt that begins at `start`, a view."""
        keys, values = ({layer: x.narrow(2, start, length) for layer, x in of.items()} for of in (self.keys, self.values))
        return PromptStates(keys, values)

    @property
    def shapes(self) -> list[LayerShape]:
        """One a layer."""
        layers = range(len(self.keys))
        return [LayerShape(_shape(self.keys[layer]), _shape(self.values[layer])) for layer in layers]


class SlotCache(Cache):
    """`slots` sequences of up to `columns` tokens. `begin_step` says where the rows stand; each layer then writes its column."""

    def __init__(self, shapes: Sequence[LayerShape], slots: int, columns: int, dtype: torch.dtype, device: torch.device) -> None:
        super().__init__(layers=[])
        self._keys, self._values = (
            [torch.empty(0, heads, 0, width, dtype=dtype, device=device) for heads, width in kind]
            for kind in zip(*shapes, strict=True)
        )
        self.slots, self.columns = 0, 0
        self._row_S = torch.arange(0, device=device)
        self.resize(slots, columns, kept=0)
        self._column_R = self._row_S
        self._seen = 0

    def resize(self, slots: int, columns: int, kept: int) -> None:
        """Make room for other numbers of slots and columns, layer by layer; the first `kept` slots keep their sequences."""
        width = min(columns, self.columns)
        for buffers in (self._keys, self._values):
            for layer, before in enumerate(buffers):
                # zeros: what a mask hides is still multiplied by nought, which must not meet the infinities of unwritten memory
                buffers[layer] = before.new_zeros(slots, before.shape[1], columns, before.shape[3])
                buffers[layer][:kept, :, :width] = before[:kept, :, :width]
        self._row_S = torch.arange(slots, device=self._row_S.device)
        self.slots, self.columns = slots, columns

    def fill(self, slot: int, prompt: PromptStates) -> None:
        """Write a prompt into a slot."""
        for layer, (keys, values) in enumerate(zip(self._keys, self._values, strict=True)):
            keys[slot, :, : prompt.length] = prompt.keys[layer][0]
            values[slot, :, : prompt.length] = prompt.values[layer][0]

    def move(self, source: int, target: int, length: int) -> None:
        """Copy the first `length` columns to another slot."""
        for buffer in (*self._keys, *self._values):
            buffer[target, :, :length] = buffer[source, :, :length]

    def begin_step(self, column_R: Tensor, seen: int) -> None:
        """Rows 0 to R write their next token at these columns; attention will read the first `seen` columns."""
        self._column_R, self._seen = column_R, seen

    def update(self, key_states: Tensor, value_states: Tensor, layer_idx: int, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        """Write [R, H, 1, E] at the rows' columns; return what attention reads, [R, H, seen, E]."""
        rows = len(self._column_R)
        row_R = self._row_S[:rows]
        keys, values = self._keys[layer_idx], self._values[layer_idx]
        keys[row_R, :, self._column_R] = key_states[:, :, 0].to(keys.dtype)
        values[row_R, :, self._column_R] = value_states[:, :, 0].to(values.dtype)
        return keys[:rows, :, : self._seen], values[:rows, :, : self._seen]

    def get_seq_length(self, *_: Any, **__: Any) -> int:
        """Columns before the last that is read."""
        return self._seen - 1


def _shape(x_1HTE: Tensor) -> tuple[int, int]:
    return x_1HTE.shape[1], x_1HTE.shape[3]
