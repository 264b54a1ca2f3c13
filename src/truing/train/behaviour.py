"""Whose log-probabilities the ratio is taken to, and how far the sampler's are from the trainer's: measured, not assumed.

The trainer's are known from a scoring pass, or, where the sampler's were exact an update ago and the pass is left out, from the
first step's own forward pass: its weights are still those that sampled.

Legend: N completion tokens of an update, n those of one piece.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor

from truing.errors import TruingError
from truing.losses.policy import effective_sample_fraction
from truing.models.head import TokenScores
from truing.train.config import RLConfig


@dataclass
class TrainerView:
    """What the policy, as it was when it sampled, says of the tokens: NaN where it was not asked."""

    logprobs_N: Tensor
    entropy_N: Tensor
    is_wanted: bool = True
    """Whether a forward pass under way should tell: its weights are those that sampled, and it has not been known yet."""
    _told: list[Tensor] = field(default_factory=list)

    @classmethod
    def empty(cls, n_tokens: int, device: torch.device) -> TrainerView:
        """Nothing known yet."""
        return cls(torch.full((n_tokens,), math.nan, device=device), torch.full((n_tokens,), math.nan, device=device))

    def tell(self, tokens_n: Tensor, scores: TokenScores) -> None:
        """Take over log-probabilities, and entropies where they came along."""
        self.logprobs_N[tokens_n] = scores.logprobs_N.detach()
        if scores.entropy_N is not None:
            self.entropy_N[tokens_n] = scores.entropy_N.detach()
        self._told.append(tokens_n)

    @property
    def entropy_nats(self) -> float:
        """Mean over the tokens it was told of."""
        return float(self.entropy_N[self.known_n].mean())

    @property
    def known_n(self) -> Tensor:
        """The tokens that were told of."""
        return torch.cat(self._told)


@dataclass(frozen=True)
class Mismatch:
    """Sampler and trainer compared over the tokens that both know."""

    mismatch_nats: float
    """Mean |sampler - trainer| log-probability a token, and the largest."""
    mismatch_max_nats: float
    mismatch_ess: float
    """Effective sample size of the importance weights pi_trainer / pi_sampler, as a fraction of the tokens."""

    @classmethod
    def of(cls, view: TrainerView, sampler_logprobs_N: Tensor) -> Mismatch:
        """Measured on the tokens that `view` knows."""
        trainer_n, sampler_n = view.logprobs_N[view.known_n], sampler_logprobs_N[view.known_n]
        gap_n = (trainer_n - sampler_n).abs()
        return cls(float(gap_n.mean()), float(gap_n.max()), effective_sample_fraction(trainer_n, sampler_n))

    def is_exact(self, config: RLConfig) -> bool:
        """Whether the sampler's log-probabilities may stand in for the trainer's."""
        return self.mismatch_max_nats <= config.exact_nats

    def refuse(self, config: RLConfig) -> None:
        """Raise TruingError where the sampler is too far off to be rounding, and is not corrected for."""
        limit = math.inf if config.importance_cap is not None else config.max_mismatch_nats
        if not self.mismatch_nats <= limit:  # NaN is refused too
            raise TruingError(
                f"the sampler's log-probabilities differ from the trainer's by {self.mismatch_nats:.3g} nats a token "
                f"(max_mismatch_nats = {config.max_mismatch_nats:g}): the rollouts are not of the weights being trained. Load "
                "the model in float32 (load.dtype), correct for it (importance_cap = 2), or raise max_mismatch_nats if the "
                "difference is known to be rounding."
            )


def skips_scoring(config: RLConfig, *, was_exact: bool) -> bool:
    """Whether the sampler's log-probabilities are taken as they are. `was_exact`: what the update before measured."""
    return config.behaviour_logprobs == "sampler" or (config.behaviour_logprobs == "auto" and was_exact)
