"""Draw one token a row from next-token logits. Shapes: R rows, V vocabulary, K blocks of B tokens."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from truing.rollout.sampler import SamplingSettings

_BELOW_ONE = 1 - 2**-23
"""Largest number used to draw: times the total probability, it stays below it in float32."""
_BLOCK = 128
"""Neighbouring tokens summed up at once, so that only one block of each row has to be summed token by token."""


class Drawn(NamedTuple):
    """Token ids and their log-probabilities, one a row."""

    tokens_R: Tensor
    logprobs_R: Tensor


def uniforms(seed: int, count: int) -> list[float]:
    """`count` numbers in [0, 1), one for each token that a request may draw: its own, whatever else is under way."""
    numbers = np.random.Generator(np.random.Philox(seed)).random(count, dtype=np.float32)
    return [min(number, _BELOW_ONE) for number in numbers.tolist()]


def draw(logits_RV: Tensor, uniform_R: Tensor, settings: SamplingSettings) -> Drawn:
    """Draw by inverting the cumulative distribution at `uniform_R`. Logits are float32; from NaN come NaN log-probabilities.

    The only pass in sequence over the vocabulary is over sums of blocks; nothing is sorted unless top_p asks for it.
    """
    if settings.temperature == 0:
        best_R, tokens_R = logits_RV.max(-1)
        return Drawn(tokens_R, best_R - logits_RV.logsumexp(-1))
    weights_RKB = _weights(logits_RV, settings).unflatten(1, (-1, _BLOCK))
    upto_RK = weights_RKB.sum(-1).cumsum(-1)
    total_R1 = upto_RK[:, -1:]
    block_R1, rest_R1 = _invert(upto_RK, uniform_R[:, None])
    inside_RB = weights_RKB.gather(1, block_R1[:, :, None].expand(-1, -1, _BLOCK))[:, 0].cumsum(-1)
    token_R1, _ = _invert(inside_RB, rest_R1)
    tokens_R1 = (block_R1 * _BLOCK + token_R1).clamp_(max=logits_RV.shape[1] - 1)
    excess_R1 = logits_RV.gather(1, tokens_R1) - logits_RV.amax(-1, keepdim=True)
    return Drawn(tokens_R1[:, 0], (excess_R1 / settings.temperature - total_R1.log())[:, 0])


def _weights(logits_RV: Tensor, settings: SamplingSettings) -> Tensor:
    """Probability of each token over that of the likeliest, zero where it is cut off, filled up with zeros to whole blocks."""
    rows, vocabulary = logits_RV.shape
    padded = logits_RV.new_zeros(rows, -(-vocabulary // _BLOCK) * _BLOCK)
    weights_RV = padded[:, :vocabulary]
    torch.sub(logits_RV, logits_RV.amax(-1, keepdim=True), out=weights_RV)
    weights_RV.div_(settings.temperature).exp_()
    if settings.top_k is not None and settings.top_k < vocabulary:
        smallest_R1 = weights_RV.topk(settings.top_k).values[:, -1:]
        weights_RV.masked_fill_(weights_RV < smallest_R1, 0.0)
    if settings.top_p < 1.0:
        ordered_RV, order_RV = weights_RV.sort(descending=True)
        before_RV = ordered_RV.cumsum(-1) - ordered_RV
        is_outside_RV = before_RV >= settings.top_p * ordered_RV.sum(-1, keepdim=True)
        weights_RV.masked_fill_(is_outside_RV.scatter(1, order_RV, is_outside_RV), 0.0)
    if settings.min_p > 0.0:
        weights_RV.masked_fill_(weights_RV < settings.min_p, 0.0)
    return padded


def _invert(cumulative_RN: Tensor, uniform_R1: Tensor) -> tuple[Tensor, Tensor]:
    """Where each row's cumulative sum exceeds that fraction of its total, and how far into the entry that is, in [0, 1)."""
    threshold_R1 = uniform_R1 * cumulative_RN[:, -1:]
    index_R1 = torch.searchsorted(cumulative_RN, threshold_R1, right=True)
    index_R1.clamp_(max=cumulative_RN.shape[1] - 1)  # beyond it only where sums are NaN
    upto_R1 = cumulative_RN.gather(1, index_R1)
    before_R1 = torch.where(index_R1 > 0, cumulative_RN.gather(1, (index_R1 - 1).clamp(min=0)), 0.0)
    inside_R1 = ((threshold_R1 - before_R1) / (upto_R1 - before_R1)).clamp(0.0, _BELOW_ONE)
    return index_R1, inside_R1
