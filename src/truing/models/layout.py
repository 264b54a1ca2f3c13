"""Where each token of a batch goes for attention: sequences laid end to end, a common beginning stored once.

A `Segment` is a stretch of new tokens that sees itself causally and, where it is a branch, all of its context: the beginning
that several sequences share. Attention takes them in one of three ways: segments of similar lengths brought into a few
rectangles, each one call; calls on the tokens where they stand; a mask of blocks.

A narrowed layout has queries only from the first token on, in each segment, whose state anyone reads.

Legend: T tokens laid end to end, A of them with a query, S query slots and K key slots of all rectangles, R rows, L query columns
and C key columns of one rectangle.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import groupby
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.attention.flex_attention import BlockMask, create_block_mask

_MAX_PADDED_FRACTION = 0.25
"""Of a rectangle's area. More rectangles mean less padding and more calls."""
_BLOCK = 128
"""Queries of a causal call. Kernels compute all pairs of such a call, seen or not, so longer segments are cut."""


class Segment(NamedTuple):
    """Tokens `start` to `start + length`, after the `context_length` tokens from `context_start` on that they also see.

    The first `unread` of them are seen, but have no query.
    """

    start: int
    length: int
    context_start: int = 0
    context_length: int = 0
    unread: int = 0

    @property
    def n_queries(self) -> int:
        """How many of its tokens look back."""
        return self.length - self.unread

    @property
    def n_before(self) -> int:
        """Tokens that stand before the first query, and that all of them see."""
        return self.context_length + self.unread

    @property
    def n_keys(self) -> int:
        """Tokens that are seen."""
        return self.context_length + self.length


class Call(NamedTuple):
    """`n_queries` tokens from `query` on see `n_keys` tokens from `key` on: causally where these are the same, else all."""

    query: int
    n_queries: int
    key: int
    n_keys: int

    @property
    def is_causal(self) -> bool:
        """Whether they see themselves."""
        return self.query == self.key


@dataclass(frozen=True)
class Rectangle:
    """R segments as rows: queries padded on the right to L columns, keys (context, then the segment) to C columns."""

    rows: int
    query_columns: int
    key_columns: int
    before_R: Tensor | None
    """Keys before each row's first query; None where no row has any, so that plain causal attention serves."""
    _masks: dict[tuple[int | None, torch.dtype], Tensor] = field(default_factory=dict, repr=False)

    def mask(self, window: int | None, dtype: torch.dtype) -> Tensor | None:
        """0 where a query sees a key, else -inf, [R, 1, L, C] (or [1, 1, L, L]); None = causal. Made once, used by every layer.

        Padding columns stand to the right of everything a real query sees. `window`: how far back a token sees, if limited.
        """
        window = window if window is not None and window < self.key_columns else None
        if self.before_R is None and window is None:
            return None
        if (window, dtype) not in self._masks:
            self._masks[window, dtype] = self._make_mask(window, dtype)
        return self._masks[window, dtype]

    def _make_mask(self, window: int | None, dtype: torch.dtype) -> Tensor:
        before_R = torch.zeros(1, dtype=torch.long) if self.before_R is None else self.before_R
        device = before_R.device
        query_L, key_C = torch.arange(self.query_columns, device=device), torch.arange(self.key_columns, device=device)
        distance_RLC = (before_R[:, None] + query_L)[:, :, None] - key_C
        is_seen_RLC = distance_RLC >= 0
        if window is not None:
            is_seen_RLC &= distance_RLC < window
        return torch.zeros(is_seen_RLC.shape, dtype=dtype, device=device).masked_fill_(~is_seen_RLC, -torch.inf)[:, None]


@dataclass(frozen=True)
class RaggedLayout:
    """Where each token goes and back. Padding repeats a token of its own row."""

    segments: tuple[Segment, ...]
    token_of_query_S: Tensor
    query_of_token_A: Tensor
    asking_A: Tensor | None
    """Tokens with a query; None where all have one."""
    token_of_key_K: Tensor
    rectangles: tuple[Rectangle, ...]
    is_identity: bool
    """Slots are the tokens as they stand: nothing has to be moved."""
    has_own_keys: bool
    """Keys lie otherwise than queries: some tokens are keys of several rows, or have no query."""
    segment_T: Tensor
    """Number of the segment that each token stands in."""
    context_segment_T: Tensor
    """Number of the segment that is its context, -1 where it has none."""
    position_T: Tensor
    """Tokens that stand before it in its sequence."""
    attention_pairs: int
    """(query, key) pairs that are seen, without padding: what attention has to compute."""
    _block_masks: dict[int | None, BlockMask] = field(default_factory=dict, repr=False)

    @classmethod
    def of_segments(cls, segments: Sequence[Segment], device: torch.device) -> RaggedLayout:
        """Lay out segments that together hold each token once, in the order they stand."""
        plain = [segment for segment in segments if segment.n_before == 0]
        others = [segment for segment in segments if segment.n_before > 0]
        queries: list[np.ndarray] = []
        keys: list[np.ndarray] = []
        rectangles: list[Rectangle] = []
        for rows in [*_grouped(plain), *_grouped(others)]:
            query_columns = max(row.n_queries for row in rows)
            key_columns = max(row.n_keys for row in rows)
            before_R = torch.tensor([row.n_before for row in rows], device=device) if rows[0].n_before else None
            rectangles.append(Rectangle(len(rows), query_columns, key_columns, before_R))
            queries += [_padded(row.start + row.unread, row.n_queries, query_columns) for row in rows]
            keys += [_key_tokens(row, key_columns) for row in rows]
        token_of_query_S = np.concatenate(queries)
        n_tokens = sum(segment.length for segment in segments)
        lengths = [segment.length for segment in segments]
        by_start = {segment.start: number for number, segment in enumerate(segments)}
        contexts = [by_start[segment.context_start] if segment.context_length else -1 for segment in segments]
        query_of_token_T = np.full(n_tokens, -1)
        # Padding repeats a row's last token: written in reverse, the first slot of each token stays.
        query_of_token_T[token_of_query_S[::-1]] = np.arange(len(token_of_query_S))[::-1]
        asking_A = np.flatnonzero(query_of_token_T >= 0)
        return cls(
            tuple(segments),
            torch.from_numpy(token_of_query_S).to(device),
            torch.from_numpy(query_of_token_T[asking_A]).to(device),
            None if len(asking_A) == n_tokens else torch.from_numpy(asking_A).to(device),
            torch.from_numpy(np.concatenate(keys)).to(device),
            tuple(rectangles),
            is_identity=not others and np.array_equal(token_of_query_S, np.arange(n_tokens)),
            has_own_keys=bool(others),
            segment_T=torch.from_numpy(np.repeat(np.arange(len(segments)), lengths)).to(device),
            context_segment_T=torch.from_numpy(np.repeat(contexts, lengths)).to(device),
            position_T=torch.from_numpy(np.concatenate([np.arange(s.length) + s.context_length for s in segments])).to(device),
            attention_pairs=sum(s.n_queries * s.n_before + s.n_queries * (s.n_queries + 1) // 2 for s in segments),
        )

    def narrowed(self, is_read_T: np.ndarray) -> RaggedLayout:
        """The same without the queries that stand before the first state read, in each segment. One query is always left."""
        segments = []
        for segment in self.segments:
            read = np.flatnonzero(is_read_T[segment.start : segment.start + segment.length])
            segments.append(segment._replace(unread=int(read[0]) if len(read) else segment.length - 1))
        narrow = RaggedLayout.of_segments(segments, self.segment_T.device)
        return replace(narrow, _block_masks=self._block_masks)  # who sees whom is the same

    @cached_property
    def calls(self) -> tuple[Call, ...]:
        """Every pair that is seen, once; every query first in a causal call, then in those with what else it sees."""
        causal, before = [], []
        for segment in self.segments:
            stop = segment.start + segment.length
            for start in range(segment.start + segment.unread, stop, _BLOCK):
                length = min(_BLOCK, stop - start)
                causal.append(Call(start, length, start, length))
                if start > segment.start:
                    before.append(Call(start, length, segment.start, start - segment.start))
        return (*causal, *before, *_context_calls(self.segments))

    @property
    def mean_length(self) -> float:
        """Tokens a segment."""
        return len(self.segment_T) / len(self.segments)

    def block_mask(self, window: int | None) -> BlockMask:
        """Which blocks of the T x T square anyone sees, and the rule within them: made once, used by every layer."""
        if window not in self._block_masks:
            segment_T, context_T, position_T = self.segment_T, self.context_segment_T, self.position_T

            def sees(_batch: Tensor, _head: Tensor, query: Tensor, key: Tensor) -> Tensor:
                is_seen = (segment_T[query] == segment_T[key]) & (query >= key)
                is_seen = is_seen | (context_T[query] == segment_T[key])
                if window is not None:
                    is_seen = is_seen & (position_T[query] - position_T[key] < window)
                return is_seen

            n_tokens = len(segment_T)
            mask = create_block_mask(sees, None, None, n_tokens, n_tokens, device=segment_T.device)
            self._block_masks[window] = mask
        return self._block_masks[window]


def _context_calls(segments: Sequence[Segment]) -> Iterator[Call]:
    """One for all branches of a beginning that stand side by side, if all of their tokens have queries."""
    branches = (segment for segment in segments if segment.context_length)
    for (key, n_keys), siblings in groupby(branches, lambda branch: (branch.context_start, branch.context_length)):
        first, *others = ((s.start + s.unread, s.n_queries) for s in siblings)
        start, length = first
        for query, n_queries in others:
            if query != start + length:
                yield Call(start, length, key, n_keys)
                start, length = query, 0
            length += n_queries
        yield Call(start, length, key, n_keys)


def _padded(start: int, length: int, columns: int) -> np.ndarray:
    return np.minimum(np.arange(start, start + columns), start + length - 1)


def _key_tokens(row: Segment, columns: int) -> np.ndarray:
    context = np.arange(row.context_start, row.context_start + row.context_length)
    return np.concatenate([context, _padded(row.start, row.length, columns - row.context_length)])


def _grouped(segments: Sequence[Segment]) -> list[list[Segment]]:
    """As they stand where that wastes little, else sorted by size and cut where the waste grows too large."""
    if not segments:
        return []
    if _wastes_little(segments):
        return [list(segments)]
    groups: list[list[Segment]] = []
    for segment in sorted(segments, key=lambda s: (-s.n_keys, -s.n_queries)):
        if groups and _wastes_little([*groups[-1], segment]):
            groups[-1].append(segment)
        else:
            groups.append([segment])
    return groups


def _wastes_little(rows: Sequence[Segment]) -> bool:
    columns = max(row.n_queries for row in rows)
    if rows[0].n_before == 0:  # causal: what counts is the slots
        return len(rows) * columns * (1 - _MAX_PADDED_FRACTION) <= sum(row.n_queries for row in rows)
    key_columns = max(row.n_keys for row in rows)
    return len(rows) * columns * key_columns * (1 - _MAX_PADDED_FRACTION) <= sum(row.n_queries * row.n_keys for row in rows)
