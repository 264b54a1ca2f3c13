"""PPO's clipped losses, estimates of the KL divergence to the reference, and the adaptive KL coefficient.

Legend: B episodes, N completion tokens of all episodes, episode after episode.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from truing.losses.masked import LossOutput


def ppo_policy(
    logprobs_N: Tensor, rollout_logprobs_N: Tensor, advantages_N: Tensor, clip: float, token_count: float
) -> LossOutput:
    """Clipped surrogate (Schulman et al. 2017, eq. 7), as a loss.

    `rollout_logprobs_N`: of the weights that sampled the rollouts, computed by the trainer; `token_count`: of the minibatch.
    """
    logratio_N = logprobs_N - rollout_logprobs_N
    ratio_N = logratio_N.exp()
    unclipped_N = -advantages_N * ratio_N
    clipped_N = -advantages_N * ratio_N.clamp(1 - clip, 1 + clip)
    with torch.no_grad():
        rows = {
            "clip_fraction": (clipped_N > unclipped_N).float(),
            "approx_kl": ratio_N - 1 - logratio_N,
            "ratio": ratio_N,
        }
        metrics = {name: row_N.sum() / token_count for name, row_N in rows.items()}
    return LossOutput(torch.maximum(unclipped_N, clipped_N).sum() / token_count, metrics)


def ppo_value(values_N: Tensor, rollout_values_N: Tensor, returns_N: Tensor, clip: float, token_count: float) -> LossOutput:
    """Half the squared error to the returns, pessimistic over values clipped to within `clip` of the rollout's."""
    nearby_N = rollout_values_N + (values_N - rollout_values_N).clamp(-clip, clip)
    error_N = (values_N - returns_N) ** 2
    nearby_error_N = (nearby_N - returns_N) ** 2
    with torch.no_grad():
        metrics = {"value_clip_fraction": (nearby_error_N > error_N).float().sum() / token_count}
    return LossOutput(0.5 * torch.maximum(error_N, nearby_error_N).sum() / token_count, metrics)


@dataclass(frozen=True)
class KLEstimates:
    """KL(policy || reference) a completion, in nats: three estimators (Schulman 2020) and their standard errors.

    k1 is unbiased and may be negative by chance; k2 is biased with low variance; k3 is unbiased and never negative.
    """

    k1: float
    k1_se: float
    k2: float
    k2_se: float
    k3: float
    k3_se: float


def k1(logprobs_N: Tensor, reference_logprobs_N: Tensor) -> Tensor:
    """log pi - log ref, for tokens sampled from pi."""
    return logprobs_N - reference_logprobs_N


def k2(logprobs_N: Tensor, reference_logprobs_N: Tensor) -> Tensor:
    """(log pi - log ref)^2 / 2: as a loss, its gradient is that of the KL divergence in expectation."""
    return 0.5 * (logprobs_N - reference_logprobs_N) ** 2


def k3(logprobs_N: Tensor, reference_logprobs_N: Tensor) -> Tensor:
    """ref/pi - 1 - log(ref/pi): good for a log line, biased as a loss."""
    return torch.expm1(reference_logprobs_N - logprobs_N) + logprobs_N - reference_logprobs_N


def kl_estimates(logprobs_N: Tensor, reference_logprobs_N: Tensor, lengths_B: Tensor) -> KLEstimates:
    """Sum each estimator over an episode's tokens, then mean and standard error over episodes."""
    episode_N = torch.repeat_interleave(torch.arange(len(lengths_B), device=lengths_B.device), lengths_B)
    numbers: list[float] = []
    for estimator in (k1, k2, k3):
        per_token_N = estimator(logprobs_N, reference_logprobs_N).double()
        sums_B = per_token_N.new_zeros(len(lengths_B)).index_add_(0, episode_N, per_token_N)
        spread = float(sums_B.std()) / len(sums_B) ** 0.5 if len(sums_B) > 1 else 0.0
        numbers += [float(sums_B.mean()), spread]
    return KLEstimates(*numbers)


@dataclass(frozen=True)
class AdaptiveKL:
    """Controller of the KL coefficient (Ziegler et al. 2019, section 2.2), its error clipped to 0.2 and `horizon` in episodes."""

    target_nats: float
    horizon: int

    def next_beta(self, beta: float, kl_nats: float, episodes: int) -> float:
        """beta (1 + clip(kl/target - 1, +-0.2) episodes / horizon)."""
        error = min(0.2, max(-0.2, kl_nats / self.target_nats - 1))
        return beta * (1 + error * episodes / self.horizon)
