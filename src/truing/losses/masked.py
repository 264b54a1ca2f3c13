"""What every loss returns, and means over selected tokens.

Legend: N selected tokens (or pairs), laid end to end without padding, B sequences that they belong to.

Every loss here is a sum over its items divided by a count the caller gives: the count of the whole batch, not of the
micro-batch in hand. So losses and metrics of micro-batches add up to those of the batch, however it is split.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor


@dataclass(frozen=True)
class LossOutput:
    """A scalar to call `backward` on, and detached scalars for the log. Both add up over micro-batches."""

    loss: Tensor
    metrics: dict[str, Tensor] = field(default_factory=dict)

    def scaled(self, coefficient: float) -> LossOutput:
        """The same with the loss times `coefficient`."""
        return LossOutput(coefficient * self.loss, self.metrics)


def masked_mean(values: Tensor, is_counted: Tensor) -> Tensor:
    """Mean of `values` where `is_counted` is True. Both have one shape; at least one entry must be True."""
    return (values * is_counted).sum() / is_counted.sum()


def whiten(values_N: Tensor, *, shift_mean: bool = True) -> Tensor:
    """Scale to unit variance, and to zero mean unless `shift_mean` is off. A constant input gives zeros (or itself)."""
    mean = values_N.mean()
    variance = values_N.var(unbiased=False)
    whitened_N = (values_N - mean) * (variance + 1e-8).rsqrt()
    return whitened_N if shift_mean else whitened_N + mean


def sequence_sums(values_N: Tensor, lengths_B: Tensor) -> Tensor:
    """Sum a value a token over each sequence's `lengths_B` tokens, laid end to end."""
    sequence_N = torch.repeat_interleave(torch.arange(len(lengths_B), device=values_N.device), lengths_B)
    return values_N.new_zeros(len(lengths_B)).index_add(0, sequence_N, values_N)
