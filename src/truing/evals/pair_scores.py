"""What a reward ensemble says of comparisons that nobody has judged: written to disk, so that selecting needs no model in memory.

Legend: M members, N comparisons, D hidden width.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from truing.models.reward import RewardEnsemble, head_features, raw_scores
from truing.models.template import pair_tokens
from truing.records import Comparison
from truing.selection.pool import PairScores

MOST_FEATURES = 128
"""Wider heads' features are projected to so many (a Gaussian matrix, the same for every comparison): geometry nearly stays."""


def score_pairs(ensemble: RewardEnsemble, comparisons: Sequence[Comparison], *, features: bool = True) -> list[PairScores]:
    """Every member's margin, first minus second in log-odds, and what member 0's head reads of the difference.

    Raises TruingError where an answer does not fit the model's template.
    """
    texts = [(c.prompt.messages, text) for c in comparisons for text in (c.first, c.second)]
    sequences = [pair_tokens(ensemble.tokenizer, prompt, text).tokens for prompt, text in texts]
    groups = [row // 2 for row in range(len(sequences))]
    margins_MN = torch.stack([_difference(raw_scores(member, sequences, groups)) for member in ensemble.members])
    features_ND = _projected(_difference(head_features(ensemble.members[0], sequences, groups))) if features else None
    return [
        PairScores(
            comparison_id=comparison.comparison_id,
            margins=tuple(margins_MN[:, row].tolist()),
            features=() if features_ND is None else tuple(float(f"{value:.5g}") for value in features_ND[row].tolist()),
        )
        for row, comparison in enumerate(comparisons)
    ]


def _difference(sides: torch.Tensor) -> torch.Tensor:
    """First minus second, of rows that alternate."""
    return sides[0::2] - sides[1::2]


def _projected(features_ND: torch.Tensor) -> torch.Tensor:
    width = features_ND.shape[1]
    if width <= MOST_FEATURES:
        return features_ND
    matrix = np.random.default_rng(0).normal(scale=MOST_FEATURES**-0.5, size=(width, MOST_FEATURES))
    return features_ND @ torch.tensor(matrix, dtype=features_ND.dtype)
