"""An update's episodes as batches, made once: every model scores them, and every epoch trains on them, as they are.

Legend: B episodes, N completion tokens of all episodes laid end to end, n those of one piece, b its episodes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from truing.models.ragged import Positions, RaggedBatch
from truing.records import SampledCompletion, seed_for
from truing.train.config import RLConfig
from truing.train.examples import Example, ragged, shuffled


@dataclass(frozen=True)
class Piece:
    """A micro-batch of episodes, and where its episodes and tokens lie among those of the update."""

    batch: RaggedBatch
    where: Positions
    episodes_b: Tensor
    tokens_n: Tensor
    lengths_b: Tensor


@dataclass(frozen=True)
class Minibatch:
    """Episodes of one optimiser step."""

    pieces: tuple[Piece, ...]
    episodes: int
    tokens: int


@dataclass(frozen=True)
class Episodes:
    """Prompts with their completions, and the number of each one's prompt. A prompt's episodes follow one another."""

    examples: list[Example]
    completions: list[SampledCompletion]
    group_B: list[int]

    @classmethod
    def of(cls, prompts: Sequence[list[int]], completions: Sequence[Sequence[SampledCompletion]]) -> Episodes:
        """From prompts as tokens and the completions drawn of each."""
        drawn = [(group, completion) for group, several in enumerate(completions) for completion in several]
        examples = [
            Example([*prompts[group], *one.tokens], [False] * len(prompts[group]) + [True] * len(one.tokens))
            for group, one in drawn
        ]
        return cls(examples, [one for _, one in drawn], [group for group, _ in drawn])


def deal(episodes: Episodes, config: RLConfig, update: int, device: torch.device) -> tuple[Minibatch, ...]:
    """Deal an update's episodes to minibatches of equal size (to within one), a prompt's together where the size allows."""
    group_B = episodes.group_B
    place = {group: place for place, group in enumerate(shuffled(max(group_B) + 1, seed_for(config.seed, "deal", update)))}
    order = sorted(range(len(group_B)), key=lambda row: place[group_B[row]])
    bounds = [len(order) * part // config.minibatches for part in range(config.minibatches + 1)]
    return tuple(_minibatch(episodes, order[a:b], config, device) for a, b in pairwise(bounds))


def _minibatch(episodes: Episodes, rows: Sequence[int], config: RLConfig, device: torch.device) -> Minibatch:
    lengths_B = [len(completion.tokens) for completion in episodes.completions]
    starts_B = torch.tensor([0, *lengths_B]).cumsum(0).tolist()
    pieces = []
    for run in _runs(episodes, rows, config):
        groups = [episodes.group_B[row] for row in run] if config.share_prompts else None
        batch, where = ragged([episodes.examples[row] for row in run], device, groups)
        tokens_n = torch.cat([torch.arange(starts_B[row], starts_B[row] + lengths_B[row]) for row in run])
        lengths_b = torch.tensor([lengths_B[row] for row in run])
        pieces.append(Piece(batch, where, torch.tensor(run).to(device), tokens_n.to(device), lengths_b.to(device)))
    return Minibatch(tuple(pieces), len(rows), sum(lengths_B[row] for row in rows))


def _runs(episodes: Episodes, rows: Sequence[int], config: RLConfig) -> Iterator[list[int]]:
    """Cut `rows` into runs of at most `micro_batch_tokens` tokens that are run: a prompt counts once for those that share it."""
    run: list[int] = []
    used = 0
    for row in rows:
        whole = len(episodes.examples[row].tokens)
        shares = config.share_prompts and bool(run) and episodes.group_B[run[-1]] == episodes.group_B[row]
        cost = len(episodes.completions[row].tokens) if shares else whole
        if run and used + cost > config.micro_batch_tokens:
            yield run
            run, used, cost = [], 0, whole
        run.append(row)
        used += cost
    yield run
