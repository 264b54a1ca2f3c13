"""Losses that train a policy on preference pairs directly: DPO and its kin.

Legend: B pairs. With m = (log pi(chosen) - log ref(chosen)) - (log pi(rejected) - log ref(rejected)) and t the probability
that `chosen` is truly preferred, every loss is  t f(m) + (1 - t) f(-m):  its expectation over which answer was better.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid, relu

from truing.losses.masked import LossOutput


@dataclass(frozen=True)
class PreferenceInputs:
    """Log-probabilities of whole completions (sums over tokens, the end token with them), in nats, and the labels."""

    policy_chosen_B: Tensor
    policy_rejected_B: Tensor
    reference_chosen_B: Tensor
    reference_rejected_B: Tensor
    chosen_tokens_B: Tensor
    """Completion length in tokens: what IPO divides by."""
    rejected_tokens_B: Tensor
    label_B: Tensor
    """Probability that `chosen` is preferred, as judged."""
    weight_B: Tensor
    total_weight: float
    """Sum of the weights over the whole batch, of which this may be a micro-batch."""

    @property
    def chosen_logratio_B(self) -> Tensor:
        """log pi - log ref of the chosen completions."""
        return self.policy_chosen_B - self.reference_chosen_B

    @property
    def rejected_logratio_B(self) -> Tensor:
        """log pi - log ref of the rejected completions."""
        return self.policy_rejected_B - self.reference_rejected_B


def dpo(inputs: PreferenceInputs, beta: float, label_smoothing: float) -> LossOutput:
    """-log sigma(beta m) (Rafailov et al. 2023, eq. 7); with soft labels or smoothing it is cDPO (Mitchell 2023)."""
    target_B = _smoothed(inputs.label_B, label_smoothing)
    scaled_B = beta * (inputs.chosen_logratio_B - inputs.rejected_logratio_B)
    return _output(inputs, beta, -(target_B * logsigmoid(scaled_B) + (1 - target_B) * logsigmoid(-scaled_B)))


def robust(inputs: PreferenceInputs, beta: float, label_smoothing: float) -> LossOutput:
    """DPO made unbiased under labels flipped at rate `label_smoothing` (Chowdhury et al. 2024, eq. 12).

    The flips are undone by t = (label - e) / (1 - 2e), which leaves [0, 1]. `label_smoothing` must be below 0.5.
    """
    target_B = (inputs.label_B - label_smoothing) / (1 - 2 * label_smoothing)
    scaled_B = beta * (inputs.chosen_logratio_B - inputs.rejected_logratio_B)
    return _output(inputs, beta, -(target_B * logsigmoid(scaled_B) + (1 - target_B) * logsigmoid(-scaled_B)))


def hinge(inputs: PreferenceInputs, beta: float, label_smoothing: float) -> LossOutput:
    """max(0, 1 - beta m) (SLiC-HF, Zhao et al. 2023, eq. 1, on log-ratios as RSO, Liu et al. 2023)."""
    target_B = _smoothed(inputs.label_B, label_smoothing)
    scaled_B = beta * (inputs.chosen_logratio_B - inputs.rejected_logratio_B)
    return _output(inputs, beta, target_B * relu(1 - scaled_B) + (1 - target_B) * relu(1 + scaled_B))


def ipo(inputs: PreferenceInputs, beta: float, label_smoothing: float) -> LossOutput:
    """(m - 1/(2 beta))^2 on log-ratios a token (Azar et al. 2023, eq. 17; length-normalised, as its authors confirmed)."""
    target_B = _smoothed(inputs.label_B, label_smoothing)
    margin_B = inputs.chosen_logratio_B / inputs.chosen_tokens_B - inputs.rejected_logratio_B / inputs.rejected_tokens_B
    goal = 1 / (2 * beta)
    return _output(inputs, beta, target_B * (margin_B - goal) ** 2 + (1 - target_B) * (margin_B + goal) ** 2)


PREFERENCE_LOSSES: dict[str, Callable[[PreferenceInputs, float, float], LossOutput]] = {
    "dpo": dpo,
    "robust": robust,
    "hinge": hinge,
    "ipo": ipo,
}
"""Every preference loss by the name a recipe gives it."""


def _smoothed(label_B: Tensor, label_smoothing: float) -> Tensor:
    """The label if judgments were flipped at rate `label_smoothing`."""
    return label_B * (1 - label_smoothing) + (1 - label_B) * label_smoothing


def _output(inputs: PreferenceInputs, beta: float, loss_B: Tensor) -> LossOutput:
    """Weighted mean loss, with the implied rewards beta log(pi / ref) in the log."""
    with torch.no_grad():
        chosen_B = beta * inputs.chosen_logratio_B
        rejected_B = beta * inputs.rejected_logratio_B
        rows = {
            "accuracy": torch.where(inputs.label_B >= 0.5, chosen_B > rejected_B, chosen_B < rejected_B),
            "margin": chosen_B - rejected_B,
            "chosen_reward": chosen_B,
            "rejected_reward": rejected_B,
        }
        metrics = {name: (inputs.weight_B * row_B).sum() / inputs.total_weight for name, row_B in rows.items()}
    return LossOutput((inputs.weight_B * loss_B).sum() / inputs.total_weight, metrics)
