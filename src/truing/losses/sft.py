"""Supervised fine-tuning: negative log-likelihood of the demonstrated tokens."""

from __future__ import annotations

from torch import Tensor

from truing.losses.masked import LossOutput


def sft(logprobs_N: Tensor, token_count: float) -> LossOutput:
    """Mean negative log-likelihood in nats a token.

    `logprobs_N`: log p(token | what came before) at assistant tokens; `token_count`: such tokens in the whole batch.
    """
    return LossOutput(-logprobs_N.sum() / token_count)
