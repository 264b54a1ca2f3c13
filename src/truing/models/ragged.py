"""Batches without padding: sequences laid end to end, each with its own positions.

Shapes: B sequences, T tokens laid end to end.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, chain

import torch
from torch import Tensor

from truing.errors import TruingError
from truing.models.attention import RaggedLayout


@dataclass(frozen=True)
class RaggedBatch:
    """Sequences laid end to end. `starts_B` and `ends_B` index each sequence's first and last token in `tokens_T`."""

    tokens_T: Tensor
    position_ids_T: Tensor
    lengths_B: Tensor
    starts_B: Tensor
    ends_B: Tensor
    layout: RaggedLayout

    @classmethod
    def from_sequences(cls, sequences: Sequence[Sequence[int]], device: torch.device | str = "cpu") -> RaggedBatch:
        """Lay token sequences end to end on `device`. Raises TruingError for an empty batch or an empty sequence."""
        lengths = [len(sequence) for sequence in sequences]
        if not lengths or min(lengths) == 0:
            raise TruingError("a batch holds no sequences, or an empty one: every prompt must render to at least one token")
        device = torch.device(device)
        lengths_B = torch.tensor(lengths)
        ends = list(accumulate(lengths))
        starts_B = torch.tensor(ends) - lengths_B
        tokens_T = torch.tensor(list(chain.from_iterable(sequences)))
        position_ids_T = torch.arange(len(tokens_T)) - torch.repeat_interleave(starts_B, lengths_B)
        return cls(
            tokens_T.to(device),
            position_ids_T.to(device),
            lengths_B.to(device),
            starts_B.to(device),
            (starts_B + lengths_B - 1).to(device),
            RaggedLayout.of_lengths(lengths, device),
        )

    @property
    def n_sequences(self) -> int:
        """B."""
        return len(self.lengths_B)

    @property
    def n_tokens(self) -> int:
        """T."""
        return len(self.tokens_T)

    def mask(self, is_selected: Sequence[Sequence[bool]]) -> Tensor:
        """One flag a token, given sequence by sequence, laid end to end like the tokens: `where_T`."""
        where_T = torch.tensor(list(chain.from_iterable(is_selected)), dtype=torch.bool)
        if len(where_T) != self.n_tokens:
            raise ValueError(f"mask has {len(where_T)} flags for {self.n_tokens} tokens")
        return where_T.to(self.tokens_T.device)
