"""Per-token rewards and generalised advantage estimation over episodes laid end to end.

Legend: B episodes, N completion tokens of all episodes (episode after episode), L tokens of the longest episode.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Advantages:
    """Advantages and the returns that the value model is fitted to."""

    advantages_N: Tensor
    returns_N: Tensor


def token_rewards(score_B: Tensor, k1_N: Tensor, lengths_B: Tensor, beta: float) -> Tensor:
    """-beta k1 at every token, and the episode's score at its last one (Ziegler et al. 2019, eq. 2). Returns rewards_N."""
    rewards_N = -beta * k1_N
    rewards_N[lengths_B.cumsum(0) - 1] += score_B
    return rewards_N


def gae(rewards_N: Tensor, values_N: Tensor, lengths_B: Tensor, gamma: float, lam: float) -> Advantages:
    """Generalised advantage estimation (Schulman et al. 2016, eq. 16).

    `values_N`: value of the state before each token. The state after an episode's last token is worth 0, whatever ended it.
    """
    position_N, episode_N = _positions(lengths_B)
    shape = (len(lengths_B), int(lengths_B.max()))
    rewards_BL, values_BL = values_N.new_zeros(shape), values_N.new_zeros(shape)
    rewards_BL[episode_N, position_N] = rewards_N
    values_BL[episode_N, position_N] = values_N

    # Right of an episode's end all is zero, so the recursion starts from zero at its last token.
    advantages_LB = values_N.new_zeros(shape).T.contiguous()
    next_value_B = next_advantage_B = values_N.new_zeros(shape[0])
    for step in range(shape[1] - 1, -1, -1):
        error_B = rewards_BL[:, step] + gamma * next_value_B - values_BL[:, step]
        next_advantage_B = error_B + gamma * lam * next_advantage_B
        next_value_B = values_BL[:, step]
        advantages_LB[step] = next_advantage_B
    advantages_N = advantages_LB[position_N, episode_N]
    return Advantages(advantages_N, advantages_N + values_N)


def _positions(lengths_B: Tensor) -> tuple[Tensor, Tensor]:
    """For each token, its place in its episode and the number of that episode."""
    episode_N = torch.repeat_interleave(torch.arange(len(lengths_B), device=lengths_B.device), lengths_B)
    starts_B = lengths_B.cumsum(0) - lengths_B
    position_N = torch.arange(len(episode_N), device=lengths_B.device) - starts_B[episode_N]
    return position_N, episode_N
