"""Batches without padding: sequences laid end to end, each with its own positions, common beginnings stored once.

Sequences of one group (two answers to a prompt, G samples of it) share their longest common prefix: it is run forward and
backward once, whatever it leads to. Since a token sees only what stands before it, nothing else changes.

Shapes: B sequences, T tokens laid end to end (a shared beginning counted once), N places where a token is predicted, U places
whose state is read.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from truing.errors import TruingError
from truing.models.layout import RaggedLayout, Segment


class Reading(NamedTuple):
    """Which states of a batch are read, each once, and where the queries of the last layer then go."""

    rows_U: Tensor
    layout: RaggedLayout
    attention_pairs: int
    """(query, key) pairs that those states are made of, in one layer."""


class Positions(NamedTuple):
    """Places where a token is predicted, sequence after sequence: `before_N` indexes T, `targets_N` are token ids."""

    before_N: Tensor
    targets_N: Tensor
    reading: Reading


@dataclass(frozen=True)
class RaggedBatch:
    """Sequences laid end to end. `starts_B` and `ends_B` index each sequence's first and last token in `tokens_T`."""

    tokens_T: Tensor
    lengths_B: Tensor
    starts_B: Tensor
    ends_B: Tensor
    layout: RaggedLayout
    places: tuple[np.ndarray, ...]
    """For each sequence, where each of its tokens stands in T."""

    @classmethod
    def from_sequences(
        cls, sequences: Sequence[Sequence[int]], device: torch.device | str = "cpu", groups: Sequence[int] | None = None
    ) -> RaggedBatch:
        """Lay token sequences end to end on `device`; those with one number in `groups` share their longest common prefix.

        Raises TruingError for an empty batch or an empty sequence.
        """
        if not sequences or min(map(len, sequences)) == 0:
            raise TruingError("a batch holds no sequences, or an empty one: every prompt must render to at least one token")
        arrays = [np.asarray(sequence, dtype=np.int64) for sequence in sequences]
        pieces: list[np.ndarray] = []
        segments: list[Segment] = []
        places: list[np.ndarray] = [np.empty(0)] * len(arrays)
        n_tokens = 0

        def lay(piece: np.ndarray, context: Segment | None) -> np.ndarray:
            """Append new tokens after `context`; returns where they stand."""
            nonlocal n_tokens
            seen = context.length if context else 0
            segments.append(Segment(n_tokens, len(piece), context.start if context else 0, seen))
            pieces.append(piece)
            n_tokens += len(piece)
            return np.arange(n_tokens - len(piece), n_tokens)

        for members in members_of(groups, len(arrays)):
            shared = _common_prefix([arrays[member] for member in members])
            if len(members) == 1 or shared == 0:
                for member in members:
                    places[member] = lay(arrays[member], None)
                continue
            context_places = lay(arrays[members[0]][:shared], None)
            context = segments[-1]
            for member in members:
                rest = arrays[member][shared:]
                places[member] = np.concatenate([context_places, lay(rest, context)]) if len(rest) else context_places

        device = torch.device(device)
        return cls(
            torch.from_numpy(np.concatenate(pieces)).to(device),
            torch.tensor([len(array) for array in arrays], device=device),
            torch.tensor([place[0] for place in places], device=device),
            torch.tensor([place[-1] for place in places], device=device),
            RaggedLayout.of_segments(segments, device),
            tuple(places),
        )

    @property
    def position_ids_T(self) -> Tensor:
        """Each token's place in its sequence."""
        return self.layout.position_T

    @property
    def n_sequences(self) -> int:
        """B."""
        return len(self.lengths_B)

    @property
    def n_tokens(self) -> int:
        """T: tokens that are run, a shared beginning counted once."""
        return len(self.tokens_T)

    def positions(self, is_selected: Sequence[Sequence[bool]]) -> Positions:
        """Where the flagged tokens are predicted. Raises ValueError where flags and tokens differ in number, or a first token is
        flagged: nothing precedes it.
        """
        before: list[np.ndarray] = []
        at: list[np.ndarray] = []
        for places, flags in zip(self.places, is_selected, strict=True):
            if len(flags) != len(places):
                raise ValueError(f"{len(flags)} flags for {len(places)} tokens")
            chosen = np.flatnonzero(np.asarray(flags, dtype=bool))
            if len(chosen) and chosen[0] == 0:
                raise ValueError("the first token of a sequence has nothing before it and cannot be scored")
            before.append(places[chosen - 1])
            at.append(places[chosen])
        device = self.tokens_T.device
        before_N, at_N = (torch.from_numpy(np.concatenate(indices)).to(device) for indices in (before, at))
        return Positions(before_N, self.tokens_T[at_N], self._reading(np.concatenate(before)))

    def last_tokens(self) -> Reading:
        """The last state of each sequence."""
        return self._reading(np.array([place[-1] for place in self.places]))

    def _reading(self, places: np.ndarray) -> Reading:
        is_read_T = np.zeros(self.n_tokens, dtype=bool)
        is_read_T[places] = True
        seen_T = np.empty(self.n_tokens, dtype=np.int64)
        for place in self.places:
            seen_T[place] = np.arange(1, len(place) + 1)
        rows_U = torch.from_numpy(np.flatnonzero(is_read_T)).to(self.tokens_T.device)
        return Reading(rows_U, self.layout.narrowed(is_read_T), int(seen_T[is_read_T].sum()))

    def every_position(self) -> Positions:
        """Every token that has something before it."""
        return self.positions([[index > 0 for index in range(len(places))] for places in self.places])


def shared_length(sequences: Sequence[Sequence[int]]) -> int:
    """How many tokens a group of sequences costs when their longest common prefix is stored once."""
    lengths = [len(sequence) for sequence in sequences]
    shared = _common_prefix([np.asarray(sequence, dtype=np.int64) for sequence in sequences])
    return sum(lengths) - shared * (len(lengths) - 1)


def members_of(groups: Sequence[int] | None, n: int) -> list[list[int]]:
    """Sequence numbers by group, groups in the order they first appear; each alone where `groups` is None."""
    if groups is None:
        return [[index] for index in range(n)]
    if len(groups) != n:
        raise ValueError(f"{len(groups)} group numbers for {n} sequences")
    by_group: dict[int, list[int]] = {}
    for index, group in enumerate(groups):
        by_group.setdefault(group, []).append(index)
    return list(by_group.values())


def _common_prefix(arrays: Sequence[np.ndarray]) -> int:
    shortest = min(len(array) for array in arrays)
    if len(arrays) == 1:
        return shortest
    differs = np.zeros(shortest, dtype=bool)
    for array in arrays[1:]:
        differs |= array[:shortest] != arrays[0][:shortest]
    return int(differs.argmax()) if differs.any() else shortest
