"""Bradley–Terry loss of a reward model, over pairs or over all pairs of rankings.

Legend: A answers, B pairs of them that were compared.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from truing.losses.masked import LossOutput


@dataclass(frozen=True)
class ComparedScores:
    """Scores of answers, and which of them were compared. A pair alone is a ranking of two answers."""

    score_A: Tensor
    chosen_at_B: Tensor
    """Indices into A."""
    rejected_at_B: Tensor
    ranking_B: Tensor
    """Number of the ranking that a pair is of, from 0."""
    label_B: Tensor
    """Probability that `chosen` is preferred: 1 = hard label, 0.5 = tie."""
    weight_B: Tensor
    total_weight: float | None = None
    """Where this is a micro-batch (which holds rankings whole): the sum, over rankings of the whole batch, of their pairs' mean
    weight."""


def bradley_terry(inputs: ComparedScores, center_coefficient: float = 0.0) -> LossOutput:
    """Cross-entropy between the label and sigma(chosen - rejected), weighted (Stiennon et al. 2020, eq. in section 3.4).

    A ranking's pairs share the weight of one comparison: each counts 1 / C(K, 2) where all pairs of K answers are there (Ouyang
    et al. 2022, eq. 1). `center_coefficient`: weight of (chosen + rejected)^2, which keeps scores near 0 (Eisenstein et al. 2023,
    eq. 5).
    """
    weight_B = inputs.weight_B / inputs.ranking_B.bincount()[inputs.ranking_B]
    total = weight_B.sum() if inputs.total_weight is None else inputs.total_weight
    chosen_B, rejected_B, label_B = inputs.score_A[inputs.chosen_at_B], inputs.score_A[inputs.rejected_at_B], inputs.label_B
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
