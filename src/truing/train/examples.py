"""Demonstrations and preference pairs as tokens, and batches of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from truing.data.lengths import Fitted, TooLong, fit_demonstrations, fit_pairs
from truing.data.splits import group_of
from truing.errors import TruingError
from truing.models.ragged import Positions, RaggedBatch
from truing.records import Demonstration, PreferencePair, seed_for
from truing.store.files import read_records


class Example(NamedTuple):
    """A conversation as tokens, and which of them are trained on."""

    tokens: list[int]
    is_trained: list[bool]

    @property
    def n_trained(self) -> int:
        """How many tokens the loss is over."""
        return sum(self.is_trained)


class PairExample(NamedTuple):
    """Two conversations that share a prompt, and the judgment between them."""

    chosen: Example
    rejected: Example
    label: float
    weight: float
    cluster: str
    """What must be counted as one in intervals: the prompt, or the group it belongs to."""
    ranking: str = ""
    """What the pairs of one ranking of answers to one prompt share; empty = the pair stands alone."""


class Trained(NamedTuple):
    """A batch and where the tokens trained on are predicted."""

    batch: RaggedBatch
    where: Positions


class PreferenceSplit(NamedTuple):
    """A frozen preference set: no prompt is in both parts."""

    train: list[PreferencePair]
    heldout: list[PreferencePair]


def demonstration_examples(
    tokenizer: PreTrainedTokenizerBase, demonstrations: Sequence[Demonstration], max_tokens: int, too_long: TooLong
) -> Fitted[Example]:
    """Tokens of whole conversations, trained on the assistant's turns."""
    fitted = fit_demonstrations(tokenizer, demonstrations, max_tokens, too_long)
    return Fitted([Example(*turns) for turns in fitted.items], fitted.kept, fitted.n_truncated)


def pair_examples(
    tokenizer: PreTrainedTokenizerBase, pairs: Sequence[PreferencePair], max_tokens: int, too_long: TooLong
) -> Fitted[PairExample]:
    """Tokens of both answers of each pair, trained on the answers."""
    fitted = fit_pairs(tokenizer, pairs, max_tokens, too_long)
    items = [
        PairExample(
            Example(*choice.chosen), Example(*choice.rejected), pair.label, pair.weight, group_of(pair.prompt), _ranking(pair)
        )
        for choice, pair in zip(fitted.items, (pairs[index] for index in fitted.kept), strict=True)
    ]
    return Fitted(items, fitted.kept, fitted.n_truncated)


def _ranking(pair: PreferencePair) -> str:
    """A ranking is of one prompt, whatever else bears its name."""
    return f"{pair.prompt.prompt_id} {pair.ranking}" if pair.ranking else ""


def longest_allowed(max_tokens: int | None, *models: PreTrainedModel) -> int:
    """The longest sequence that all `models` can read, or `max_tokens` where that is less."""
    limits = [max_tokens, *(getattr(model.config, "max_position_embeddings", None) for model in models)]
    return min(limit for limit in (*limits, 2**31) if limit is not None)


def ragged(examples: Sequence[Example], device: torch.device | str, groups: Sequence[int] | None = None) -> Trained:
    """Lay examples end to end; those of one group share their beginning."""
    batch = RaggedBatch.from_sequences([example.tokens for example in examples], device, groups)
    return Trained(batch, batch.positions([example.is_trained for example in examples]))


def read_preferences(folder: Path) -> PreferenceSplit:
    """Read `train.jsonl` and `heldout.jsonl` of a preference artifact. Raises TruingError where one is missing or empty."""
    parts = [read_records(folder / name, PreferencePair) for name in ("train.jsonl", "heldout.jsonl")]
    for name, part in zip(("train.jsonl", "heldout.jsonl"), parts, strict=True):
        if not part:
            raise TruingError(f"{folder / name}: holds no pairs; collect more comparisons, or hold out another share of them")
    return PreferenceSplit(*parts)


def epoch_plan(n: int, batch: int, epochs: int, seed: int) -> list[list[int]]:
    """Row numbers of every step: `epochs` passes over `n` rows, each in an order of its own, `batch` rows a step."""
    return [
        order[start : start + batch]
        for epoch in range(epochs)
        for order in [shuffled(n, seed_for(seed, epoch))]
        for start in range(0, n, batch)
    ]


def shuffled(n: int, seed: int) -> list[int]:
    """0 to n-1 in an order determined by `seed`."""
    return [int(i) for i in torch.randperm(n, generator=torch.Generator().manual_seed(seed))]
