"""What an episode, or each of its tokens, was worth: rewards a token, GAE, and baselines from the other samples of a prompt.

Legend: B episodes, N completion tokens of all episodes (episode after episode), L tokens of the longest episode, P prompts with
G episodes each (a prompt's episodes follow one another: B = P G).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor

_STD_EPS = 1e-4
"""Added to a standard deviation that is divided by, as TRL does."""
RewardScale = Literal["group", "batch", "none"]


@dataclass(frozen=True)
class Advantages:
    """Advantages and the returns that the value model is fitted to."""

    advantages_N: Tensor
    returns_N: Tensor


class GroupAdvantages(NamedTuple):
    """An advantage an episode, and the share of prompts whose episodes all got the same reward: nothing is learned from those."""

    advantages_B: Tensor
    equal_groups: float


def group_relative(reward_B: Tensor, group_size: int, scale: RewardScale) -> GroupAdvantages:
    """r - mean over the prompt's G episodes, divided by a standard deviation (Shao et al. 2024, section 4.1.2).

    `scale`: "group" divides by the group's own (unbiased), "batch" by that of all rewards, "none" by nothing (Liu et al. 2025,
    "Dr. GRPO": dividing favours prompts that are nearly always or nearly never answered well).
    """
    reward_PG = reward_B.view(-1, group_size)
    centred_PG = reward_PG - reward_PG.mean(1, keepdim=True)
    if scale == "group":
        centred_PG = centred_PG / (reward_PG.std(1, keepdim=True) + _STD_EPS)
    elif scale == "batch":
        centred_PG = centred_PG / (reward_B.std() + _STD_EPS)
    return _without_equal_groups(centred_PG, reward_PG)


def leave_one_out(reward_B: Tensor, group_size: int) -> GroupAdvantages:
    """r - mean of the prompt's other episodes = G/(G-1) (r - mean of all) (Ahmadian et al. 2024, RLOO)."""
    reward_PG = reward_B.view(-1, group_size)
    centred_PG = reward_PG - reward_PG.mean(1, keepdim=True)
    return _without_equal_groups(centred_PG * (group_size / (group_size - 1)), reward_PG)


def _without_equal_groups(advantages_PG: Tensor, reward_PG: Tensor) -> GroupAdvantages:
    """Exactly zero where a prompt's rewards are equal: what rounding leaves there must not be divided by a tiny deviation."""
    is_equal_P = (reward_PG == reward_PG[:, :1]).all(1)
    return GroupAdvantages(advantages_PG.masked_fill(is_equal_P[:, None], 0.0).flatten(), float(is_equal_P.float().mean()))


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
