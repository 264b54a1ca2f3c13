"""Bradley–Terry loss of a reward model.

Legend: B pairs.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from truing.losses.masked import LossOutput


def bradley_terry(
    chosen_B: Tensor,
    rejected_B: Tensor,
    label_B: Tensor,
    weight_B: Tensor,
    center_coefficient: float = 0.0,
    total_weight: float | None = None,
) -> LossOutput:
    """Cross-entropy between the label and sigma(chosen - rejected), weighted (Stiennon et al. 2020, eq. in section 3.4).

    `label_B`: probability that `chosen` is preferred (1 = hard label, 0.5 = tie); `weight_B`: each pair's weight;
    `center_coefficient`: weight of (chosen + rejected)^2, which keeps scores near 0 (Eisenstein et al. 2023, eq. 5);
    `total_weight`: sum of the weights of the whole batch, where this is a micro-batch of it.
    """
    total = weight_B.sum() if total_weight is None else total_weight
    margin_B = chosen_B - rejected_B
    nll_B = -(label_B * logsigmoid(margin_B) + (1 - label_B) * logsigmoid(-margin_B))
    centring_B = (chosen_B + rejected_B) ** 2
    loss = (weight_B * (nll_B + center_coefficient * centring_B)).sum() / total
    with torch.no_grad():
        is_right_B = torch.where(label_B >= 0.5, margin_B > 0, margin_B < 0)
        metrics = {
            "nll": (weight_B * nll_B).sum() / total,
            "accuracy": (weight_B * is_right_B).sum() / total,
            "margin": (weight_B * margin_B).sum() / total,
        }
    return LossOutput(loss, metrics)
