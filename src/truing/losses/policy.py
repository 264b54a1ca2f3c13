"""Clipped policy losses (PPO, GRPO, RLOO), PPO's value loss, estimates of the KL divergence, and the adaptive KL coefficient.

`behaviour_logprobs` are of the weights that sampled the tokens: what the ratio is taken to.

Legend: B episodes, N completion tokens of all episodes, episode after episode.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from truing.losses.masked import LossOutput, sequence_sums

LossType = Literal["dapo", "grpo", "dr_grpo"]
KLLoss = Literal["k2", "k3_weighted", "k3"]


def clipped_policy(
    logprobs_N: Tensor,
    behaviour_logprobs_N: Tensor,
    advantages_N: Tensor,
    clip: float,
    token_count: float,
    weight_N: Tensor | None = None,
) -> LossOutput:
    """Clipped surrogate (Schulman et al. 2017, eq. 7), as a loss: a mean over the minibatch's `token_count` tokens, or a sum
    weighted by `weight_N`. The metrics are means over tokens.
    """
    logratio_N = logprobs_N - behaviour_logprobs_N
    ratio_N = logratio_N.exp()
    loss_N, is_clipped_N = _pessimistic(ratio_N, advantages_N, clip)
    metrics = _ratio_metrics(logratio_N, ratio_N, is_clipped_N, token_count)
    return LossOutput(loss_N.sum() / token_count if weight_N is None else (weight_N * loss_N).sum(), metrics)


def sequence_policy(
    logprobs_N: Tensor,
    behaviour_logprobs_N: Tensor,
    advantages_B: Tensor,
    lengths_B: Tensor,
    clip: float,
    sequence_count: float,
) -> LossOutput:
    """The clipped surrogate with a whole completion as one action, as RLOO has it (Ahmadian et al. 2024): the ratio is the
    product of its tokens' ratios, the loss a mean over the minibatch's `sequence_count` completions, and so are the metrics.
    """
    logratio_B = sequence_sums(logprobs_N - behaviour_logprobs_N, lengths_B)
    ratio_B = logratio_B.exp()
    loss_B, is_clipped_B = _pessimistic(ratio_B, advantages_B, clip)
    return LossOutput(loss_B.sum() / sequence_count, _ratio_metrics(logratio_B, ratio_B, is_clipped_B, sequence_count))


def _pessimistic(ratio: Tensor, advantages: Tensor, clip: float) -> tuple[Tensor, Tensor]:
    """The larger of both losses, and where that is the clipped one."""
    unclipped = -advantages * ratio
    clipped = -advantages * ratio.clamp(1 - clip, 1 + clip)
    return torch.maximum(unclipped, clipped), (clipped > unclipped).detach()


@torch.no_grad()
def _ratio_metrics(logratio: Tensor, ratio: Tensor, is_clipped: Tensor, count: float) -> dict[str, Tensor]:
    rows = {"clip_fraction": is_clipped.float(), "approx_kl": ratio - 1 - logratio, "ratio": ratio}
    return {name: row.sum() / count for name, row in rows.items()}


def token_weights(loss_type: LossType, lengths_B: Tensor, tokens: int, episodes: int, max_new_tokens: int) -> Tensor:
    """weight_N of each token's loss, by TRL's names; `tokens` and `episodes` are of the whole minibatch.

    dapo: every token alike (Yu et al. 2025, eq. 8); grpo: every episode alike, a mean over its tokens (Shao et al. 2024, eq. 3);
    dr_grpo: a sum over an episode's tokens by a constant, the longest length allowed (Liu et al. 2025).
    """
    if loss_type == "grpo":
        weight_B = 1 / (episodes * lengths_B)
    else:
        weight_B = torch.full_like(lengths_B, 1, dtype=torch.float32) / (
            tokens if loss_type == "dapo" else episodes * max_new_tokens
        )
    return torch.repeat_interleave(weight_B, lengths_B)


def kl_loss(
    kind: KLLoss, logprobs_N: Tensor, behaviour_logprobs_N: Tensor, reference_logprobs_N: Tensor, beta: float, weight_N: Tensor
) -> LossOutput:
    """beta times an estimate of KL(policy || reference) that is differentiated, summed with `weight_N`.

    k2 and k3_weighted (k3 times the ratio to the behaviour policy; TRL's default) have the gradient of the divergence in
    expectation. k3 is Shao et al. (2024, eq. 4) as written: its gradient is another divergence's, offered to compare with.
    """
    kl_N = k2(logprobs_N, reference_logprobs_N) if kind == "k2" else k3(logprobs_N, reference_logprobs_N)
    if kind == "k3_weighted":
        kl_N = kl_N * (logprobs_N - behaviour_logprobs_N).exp()
    loss = beta * (weight_N * kl_N).sum()
    return LossOutput(loss, {"kl_loss": loss.detach()})


def truncated_importance(trainer_logprobs: Tensor, sampler_logprobs: Tensor, cap: float) -> Tensor:
    """min(pi_trainer / pi_sampler, cap): what a loss is multiplied with where the sampler's distribution is not quite the
    trainer's (truncated importance sampling, Ionides 2008; for RL with another engine, Yao et al. 2025). Of tokens or sums.
    """
    return (trainer_logprobs - sampler_logprobs).exp().clamp(max=cap)


def effective_sample_fraction(trainer_logprobs_N: Tensor, sampler_logprobs_N: Tensor) -> float:
    """(sum w)^2 / (N sum w^2) with w = pi_trainer / pi_sampler a token: 1 where both agree, 1/N where one has all weight."""
    weight_N = (trainer_logprobs_N - sampler_logprobs_N).double().exp()
    return float(weight_N.sum() ** 2 / (len(weight_N) * (weight_N**2).sum()))


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
    numbers: list[float] = []
    for estimator in (k1, k2, k3):
        sums_B = sequence_sums(estimator(logprobs_N, reference_logprobs_N).double(), lengths_B)
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
