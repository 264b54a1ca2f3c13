"""Attention of sampled tokens on a CPU, where a prompt's keys and values stand once for all rows that go on from it.

Each row has one new token. What it sees stands in two places: its own tokens in its row of a cache, and its prompt. torch's
kernel runs once over the rows, and once for each prompt with the queries of all its rows together, so a prompt is read once a
step and not once a sample. The two parts are merged by their log-sum-exponentials, as in `segments.py`, whose kernel this is.

Shapes: R rows, H key/value heads, G queries that share one, C columns of the cache, P tokens of a prompt, E head width.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from truing.models.segments import kernel


class PromptStates(NamedTuple):
    """Keys and values of one prompt: [1, H, P, E] of each layer."""

    keys: Mapping[int, Tensor]
    values: Mapping[int, Tensor]

    @property
    def length(self) -> int:
        """Tokens of the prompt."""
        return next(iter(self.keys.values())).shape[2]

    def copied(self, dtype: torch.dtype) -> PromptStates:
        """In memory of its own, so that what it was run with is not kept as long as it is."""
        whole = torch.contiguous_format
        keys, values = ({layer: x.to(dtype, copy=True, memory_format=whole) for layer, x in of.items()} for of in self)
        return PromptStates(keys, values)


class PromptRows(NamedTuple):
    """Which rows go on from which prompt. `of` finds them."""

    row_R: Tensor
    """The rows, prompt after prompt ..."""
    place_R: Tensor
    """... and where in that order each row stands."""
    prompts: tuple[PromptStates, ...]
    counts: tuple[int, ...]
    """Rows of each prompt."""
    ids: tuple[int, ...]
    """Of each row's prompt."""

    @classmethod
    def of(cls, prompt_of_row: Sequence[PromptStates]) -> PromptRows:
        """From each row's prompt; the same object for rows of the same."""
        rows_of: dict[int, list[int]] = {}
        for row, prompt in enumerate(prompt_of_row):
            rows_of.setdefault(id(prompt), []).append(row)
        row_R = torch.tensor([row for rows in rows_of.values() for row in rows])
        prompts = tuple(prompt_of_row[rows[0]] for rows in rows_of.values())
        return cls(row_R, row_R.argsort(), prompts, tuple(map(len, rows_of.values())), tuple(map(id, prompt_of_row)))

    def is_of(self, prompt_of_row: Sequence[PromptStates]) -> bool:
        """Whether these are the prompts of the rows, and in this order."""
        return self.ids == tuple(map(id, prompt_of_row))


def prompted_attention(
    query_RHGE: Tensor, key_RHCE: Tensor, value_RHCE: Tensor, mask: Tensor, rows: PromptRows, layer: int, scale: float | None
) -> Tensor:
    """Softmax attention over a row's own columns, where `mask` [R, 1, 1, C] is 0 and not -inf, and its prompt: [R, H, G, E].

    float32 on a CPU. `scale` of the scores is 1 / sqrt(E) where None.
    """
    run, (n_rows, heads, sharing, width) = kernel().forward, query_RHGE.shape
    own, own_sums = run(query_RHGE, key_RHCE, value_RHCE, 0.0, False, attn_mask=mask, scale=scale)
    in_order = query_RHGE.transpose(0, 1).index_select(1, rows.row_R).view(1, heads, n_rows * sharing, width)
    parts, start = [], 0
    for prompt, count in zip(rows.prompts, rows.counts, strict=True):
        queries = in_order.narrow(2, start * sharing, count * sharing)
        parts.append(run(queries, prompt.keys[layer], prompt.values[layer], 0.0, False, scale=scale))
        start += count
    seen, seen_sums = (torch.cat(halves, 2)[0].unflatten(1, (n_rows, sharing)) for halves in zip(*parts, strict=True))
    seen, seen_sums = (x.index_select(1, rows.place_R).transpose(0, 1) for x in (seen, seen_sums))
    return own.lerp_(seen, (seen_sums - own_sums).sigmoid_()[..., None])
