"""Draw one token a row from next-token logits, by numbers that belong to the row's request alone.

A token is the winner of a race: with w its weight and e exponentially distributed, the largest w / e wins with probability
w / sum(w) (the Gumbel-max trick, without its logarithm). The race is run twice, between blocks of the vocabulary and within the
winner, so a row needs few numbers. Rounding in the logits, which differs with what else is in the batch, changes the winner only
where two runners are that close; inverting the cumulative distribution instead goes wrong at any of V borders.

Shapes: R rows, V vocabulary, K blocks of B tokens, N numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from truing.rollout.sampler import SamplingSettings

_BLOCK = 128
_GAMMA, _MIX_1, _MIX_2 = -0x61C8864680B583EB, -0x40A7B892E31B1A47, -0x6B2FB644ECCEEE15
"""SplitMix64's constants (Steele, Lea and Flood 2014), as signed numbers."""


class Drawn(NamedTuple):
    """Token ids and their log-probabilities, one a row."""

    tokens_R: Tensor
    logprobs_R: Tensor


class Places(NamedTuple):
    """Which numbers each row is drawn by: its request's seed, and how many tokens it has drawn before."""

    seed_R: Tensor
    step_R: Tensor

    @classmethod
    def of(cls, seeds: Sequence[int], steps: Sequence[int], device: torch.device) -> Places:
        """From lists of them, one entry a row."""
        return cls(*torch.tensor([seeds, steps]).to(device))


def uniforms(places: Places, count: int) -> Tensor:
    """`count` numbers in (0, 1) for each row, [R, N]: SplitMix64 at the places from step * count on of the seed's stream."""
    place_RN = places.step_R[:, None] * count + torch.arange(1, count + 1, device=places.step_R.device)
    x_RN = places.seed_R[:, None] + place_RN * _GAMMA
    x_RN = (x_RN ^ _shifted(x_RN, 30)) * _MIX_1
    x_RN = (x_RN ^ _shifted(x_RN, 27)) * _MIX_2
    x_RN = x_RN ^ _shifted(x_RN, 31)
    # more bits than a float32 has near 1: small numbers keep them, and those are the ones that win races
    return _shifted(x_RN, 31).float().add_(0.5).mul_(2.0**-33).clamp_(max=1 - 2**-24)


def draw(logits_RV: Tensor, places: Places, settings: SamplingSettings) -> Drawn:
    """Draw one token a row. Logits are float32; from NaN come NaN log-probabilities. Only top_p sorts."""
    if settings.temperature == 0:
        best_R, tokens_R = logits_RV.max(-1)
        return Drawn(tokens_R, best_R - logits_RV.logsumexp(-1))
    best_R1 = logits_RV.amax(-1, keepdim=True)
    weights_RKB = _weights(logits_RV, best_R1, settings).unflatten(1, (-1, _BLOCK))
    block_RK = weights_RKB.sum(-1)
    race_RN = uniforms(places, block_RK.shape[1] + _BLOCK).neg_().log1p_().neg_()
    winner_R1 = (block_RK / race_RN[:, :-_BLOCK]).argmax(-1, keepdim=True)
    inside_RB = weights_RKB.gather(1, winner_R1[:, :, None].expand(-1, -1, _BLOCK))[:, 0]
    tokens_R1 = winner_R1 * _BLOCK + (inside_RB / race_RN[:, -_BLOCK:]).argmax(-1, keepdim=True)
    excess_R1 = (logits_RV.gather(1, tokens_R1) - best_R1) / settings.temperature
    return Drawn(tokens_R1[:, 0], excess_R1[:, 0] - block_RK.sum(-1).log())


def _shifted(x: Tensor, bits: int) -> Tensor:
    """Shifted right, zeros coming in from the left."""
    return (x >> bits) & ((1 << (64 - bits)) - 1)


def _weights(logits_RV: Tensor, best_R1: Tensor, settings: SamplingSettings) -> Tensor:
    """Probability of each token over that of the likeliest, zero where it is cut off, filled up with zeros to whole blocks."""
    rows, vocabulary = logits_RV.shape
    padded = logits_RV.new_zeros(rows, -(-vocabulary // _BLOCK) * _BLOCK)
    weights_RV = padded[:, :vocabulary]
    torch.sub(logits_RV, best_R1, out=weights_RV)
    weights_RV.div_(settings.temperature).exp_()
    if settings.min_p > 0.0:
        weights_RV.masked_fill_(weights_RV < settings.min_p, 0.0)
    if settings.top_k is not None and settings.top_k < vocabulary:
        smallest_R1 = weights_RV.topk(settings.top_k).values[:, -1:]
        weights_RV.masked_fill_(weights_RV < smallest_R1, 0.0)
    if settings.top_p < 1.0:
        ordered_RV, order_RV = weights_RV.sort(descending=True)
        before_RV = ordered_RV.cumsum(-1) - ordered_RV
        is_outside_RV = before_RV >= settings.top_p * ordered_RV.sum(-1, keepdim=True)
        weights_RV.masked_fill_(is_outside_RV.scatter(1, order_RV, is_outside_RV), 0.0)
    return padded
