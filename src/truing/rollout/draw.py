"""Draw one token a row from next-token logits. Shapes: R rows, V vocabulary."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from truing.rollout.sampler import SamplingSettings

_BELOW_ONE = 1 - 2**-23
"""Largest number used to draw: times the total probability, it stays below it in float32."""


class Drawn(NamedTuple):
    """Token ids and their log-probabilities, one a row."""

    tokens_R: Tensor
    logprobs_R: Tensor


def uniforms(seed: int, rows: int, steps: int) -> Tensor:
    """One number in [0, 1) for each row and step, [rows, steps], on the CPU: however rows are batched, each keeps its own."""
    generator = np.random.Generator(np.random.Philox(seed))
    return torch.from_numpy(generator.random((rows, steps), dtype=np.float32)).clamp_(max=_BELOW_ONE)


def draw(logits_RV: Tensor, uniform_R: Tensor, settings: SamplingSettings) -> Drawn:
    """Draw by inverting the cumulative distribution at `uniform_R`. Logits are float32."""
    if settings.temperature == 0:
        logprobs_RV = logits_RV.log_softmax(-1)
        tokens_R = logits_RV.argmax(-1)
        return Drawn(tokens_R, logprobs_RV.gather(1, tokens_R[:, None])[:, 0])
    if settings.temperature != 1.0:
        logits_RV = logits_RV / settings.temperature
    logprobs_RV = _truncate(logits_RV, settings).log_softmax(-1)
    cumulative_RV = logprobs_RV.exp().cumsum(-1)
    threshold_R1 = uniform_R[:, None] * cumulative_RV[:, -1:]
    tokens_R1 = torch.searchsorted(cumulative_RV, threshold_R1, right=True)
    return Drawn(tokens_R1[:, 0], logprobs_RV.gather(1, tokens_R1)[:, 0])


def _truncate(logits_RV: Tensor, settings: SamplingSettings) -> Tensor:
    """Minus infinity outside the top k, then outside the smallest set of probability top_p."""
    if settings.top_k is not None and settings.top_k < logits_RV.shape[1]:
        smallest_R1 = logits_RV.topk(settings.top_k).values[:, -1:]
        logits_RV = logits_RV.masked_fill(logits_RV < smallest_R1, -torch.inf)
    if settings.top_p < 1.0:
        ordered_RV, order_RV = logits_RV.sort(descending=True)
        probability_RV = ordered_RV.softmax(-1)
        is_outside_RV = probability_RV.cumsum(-1) - probability_RV >= settings.top_p
        logits_RV = logits_RV.masked_fill(is_outside_RV.scatter(1, order_RV, is_outside_RV), -torch.inf)
    return logits_RV
