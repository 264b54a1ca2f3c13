"""Pairs of answers to one prompt that were ranked together: one example, in which every answer is run once.

A ranking of K answers is C(K, 2) pairs, and each answer is in K - 1 of them. Which tokens a pair has does not change by this: an
answer is recognised by its tokens, prompt included, and by which of them are trained on.

Legend: A answers of all rankings, B their pairs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from transformers import PreTrainedModel

from truing.losses.reward import ComparedScores
from truing.models.forward import last_token_scores
from truing.models.ragged import RaggedBatch, shared_length
from truing.models.reward import raw_scores
from truing.models.runs import token_runs
from truing.train.examples import Example, PairExample


class RankedPair(NamedTuple):
    """A judgment between two answers of a ranking, by their numbers in it. `row`: the pair's number among those given."""

    row: int
    chosen: int
    rejected: int
    label: float
    weight: float


class Ranking(NamedTuple):
    """Answers to one prompt as whole conversations, and the judgments between them. A pair alone is a ranking of two."""

    answers: list[Example]
    pairs: list[RankedPair]

    @property
    def weight(self) -> float:
        """The mean of its pairs' weights: a ranking counts as one comparison."""
        return sum(pair.weight for pair in self.pairs) / len(self.pairs)

    def n_tokens(self, *, share_prompts: bool) -> int:
        """Tokens that are run for all answers."""
        sequences = [answer.tokens for answer in self.answers]
        return shared_length(sequences) if share_prompts else sum(map(len, sequences))


def rankings_of(pairs: Sequence[PairExample], *, together: bool = True) -> list[Ranking]:
    """Pairs by ranking, in the order that rankings first appear; each alone where it names none, or not `together`."""
    by_ranking: dict[str | int, list[int]] = {}
    for row, pair in enumerate(pairs):
        by_ranking.setdefault((together and pair.ranking) or row, []).append(row)
    return [_ranking(pairs, rows) for rows in by_ranking.values()]


def _ranking(pairs: Sequence[PairExample], rows: Sequence[int]) -> Ranking:
    number: dict[tuple[tuple[int, ...], tuple[bool, ...]], int] = {}
    ranked = []
    for row in rows:
        pair = pairs[row]
        keys = [(tuple(side.tokens), tuple(side.is_trained)) for side in (pair.chosen, pair.rejected)]
        chosen, rejected = (number.setdefault(key, len(number)) for key in keys)
        ranked.append(RankedPair(row, chosen, rejected, pair.label, pair.weight))
    return Ranking([Example(list(tokens), list(is_trained)) for tokens, is_trained in number], ranked)


def ranking_runs(rankings: Sequence[Ranking], budget: int, *, share_prompts: bool) -> list[list[int]]:
    """Numbers of the rankings of each micro-batch, of at most `budget` tokens that are run (or one ranking)."""
    costs = [ranking.n_tokens(share_prompts=share_prompts) for ranking in rankings]
    return token_runs(range(len(rankings)), costs, budget)


class LaidOut(NamedTuple):
    """Answers of several rankings one after the other, and their pairs by where in A they stand."""

    answers: list[Example]
    groups: list[int] | None
    """Numbers of the rankings that answers are of, where they share prompts."""
    chosen_at: list[int]
    rejected_at: list[int]
    ranking: list[int]
    """Number of the ranking that a pair is of."""
    pairs: list[RankedPair]


def laid_out(rankings: Sequence[Ranking], *, share_prompts: bool) -> LaidOut:
    """Lay rankings out for one micro-batch."""
    laid = LaidOut([], [] if share_prompts else None, [], [], [], [])
    for number, (answers, pairs) in enumerate(rankings):
        before = len(laid.answers)
        laid.answers.extend(answers)
        if laid.groups is not None:
            laid.groups.extend([number] * len(answers))
        laid.chosen_at.extend(before + pair.chosen for pair in pairs)
        laid.rejected_at.extend(before + pair.rejected for pair in pairs)
        laid.ranking.extend([number] * len(pairs))
        laid.pairs.extend(pairs)
    return laid


def compared_scores(
    model: PreTrainedModel, rankings: Sequence[Ranking], total_weight: float, *, share_prompts: bool
) -> ComparedScores:
    """Score every answer of `rankings` once. `total_weight`: of the batch that this is a micro-batch of."""
    laid = laid_out(rankings, share_prompts=share_prompts)
    batch = RaggedBatch.from_sequences([answer.tokens for answer in laid.answers], model.device, laid.groups)

    def on_device(values: Sequence[float]) -> Tensor:
        return torch.tensor(values, device=model.device)

    return ComparedScores(
        score_A=last_token_scores(model, batch),
        chosen_at_B=on_device(laid.chosen_at),
        rejected_at_B=on_device(laid.rejected_at),
        ranking_B=on_device(laid.ranking),
        label_B=on_device([pair.label for pair in laid.pairs]),
        weight_B=on_device([pair.weight for pair in laid.pairs]),
        total_weight=total_weight,
    )


def pair_scores(model: PreTrainedModel, rankings: Sequence[Ranking], *, share_prompts: bool) -> Tensor:
    """Raw scores [2, B], without gradients: of the chosen and of the rejected, in the order of the pairs' rows."""
    laid = laid_out(rankings, share_prompts=share_prompts)
    score_A = raw_scores(model, [answer.tokens for answer in laid.answers], laid.groups)
    order_B = torch.tensor([pair.row for pair in laid.pairs]).argsort()
    return torch.stack([score_A[laid.chosen_at], score_A[laid.rejected_at]])[:, order_B]
