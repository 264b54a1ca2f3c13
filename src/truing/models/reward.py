"""A trained reward ensemble as others use it: tokens or texts in, centred scores out.

Legend: M members, B sequences.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import torch
from pydantic import Field
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from truing.errors import TruingError
from truing.models.config import LoadSettings
from truing.models.forward import last_token_scores, last_token_states, scalar_head
from truing.models.load import load_scorer, load_tokenizer
from truing.models.ragged import RaggedBatch, members_of, shared_length
from truing.models.runs import token_runs
from truing.models.template import pair_tokens
from truing.records import Message, Record
from truing.store.files import read_json, write_json

NORMALISATION = "normalisation.json"
_BATCH_TOKENS = 4096


class Normalisation(Record):
    """Mean and standard deviation of each member's raw scores over the completions it was trained on."""

    mean: tuple[float, ...]
    std: tuple[float, ...] = Field(min_length=1)


def member_directory(folder: Path, member: int) -> Path:
    """Where a member's model lies in a reward artifact."""
    return folder / f"member-{member}"


def write_normalisation(folder: Path, normalisation: Normalisation) -> None:
    """Put it where `RewardEnsemble.load` reads it."""
    write_json(folder / NORMALISATION, normalisation.model_dump(mode="json"))


@dataclass(frozen=True)
class RewardEnsemble:
    """Members in eval mode on one device. Scores are normalised: 0 is the mean training completion, 1 a standard deviation."""

    members: tuple[PreTrainedModel, ...]
    normalisation: Normalisation
    tokenizer: PreTrainedTokenizerBase

    @classmethod
    def load(cls, path: str | Path, settings: LoadSettings | None = None) -> Self:
        """Read a reward artifact. Raises TruingError where the folder is none, or a member is missing or corrupt."""
        folder = Path(path)
        if not (folder / NORMALISATION).exists():
            raise TruingError(f"{folder}: not a reward model: it holds no {NORMALISATION}. Train one with `truing reward`.")
        normalisation = Normalisation.model_validate(read_json(folder / NORMALISATION))
        folders = [member_directory(folder, member) for member in range(len(normalisation.mean))]
        members = tuple(load_scorer(member, settings).requires_grad_(False) for member in folders)
        return cls(members, normalisation, load_tokenizer(folders[0]))

    def score(self, sequences: Sequence[Sequence[int]], *, groups: Sequence[int] | None = None) -> Tensor:
        """Normalised scores [M, B] (float32, on the CPU) of whole conversations as tokens, read at each one's last token.

        A score does not depend on what else is in the batch. Sequences with one number in `groups` share their beginning.
        """
        return self._normalised([raw_scores(member, sequences, groups) for member in self.members])

    @torch.no_grad()
    def score_batch(self, batch: RaggedBatch) -> Tensor:
        """`score` of whole conversations that are laid out already."""
        return self._normalised([last_token_scores(member, batch).cpu() for member in self.members])

    def score_texts(self, answers: Sequence[tuple[Sequence[Message], str]]) -> Tensor:
        """Normalised scores [M, B] of (prompt messages, completion text) pairs."""
        return self.score([pair_tokens(self.tokenizer, prompt, text).tokens for prompt, text in answers])

    def _normalised(self, raw_MB: Sequence[Tensor]) -> Tensor:
        mean_M1 = torch.tensor(self.normalisation.mean)[:, None]
        std_M1 = torch.tensor(self.normalisation.std)[:, None]
        return (torch.stack(list(raw_MB)) - mean_M1) / std_M1


@torch.no_grad()
def raw_scores(model: PreTrainedModel, sequences: Sequence[Sequence[int]], groups: Sequence[int] | None = None) -> Tensor:
    """Raw scores [B] (float32, on the CPU), in batches of like lengths. Groups share their beginning and stay together."""
    scores_B = torch.empty(len(sequences))
    for rows, batch in _batches(model, sequences, groups):
        scores_B[rows] = last_token_scores(model, batch).cpu()
    return scores_B


@torch.no_grad()
def head_features(model: PreTrainedModel, sequences: Sequence[Sequence[int]], groups: Sequence[int] | None = None) -> Tensor:
    """What the head reads of each sequence: [B, D] (float32, on the CPU), batched as `raw_scores`."""
    features_BD = torch.empty(len(sequences), scalar_head(model).get_parameter("weight").shape[1])
    for rows, batch in _batches(model, sequences, groups):
        features_BD[rows] = last_token_states(model, batch).float().cpu()
    return features_BD


def _batches(
    model: PreTrainedModel, sequences: Sequence[Sequence[int]], groups: Sequence[int] | None
) -> Iterator[tuple[list[int], RaggedBatch]]:
    """Row numbers and the batch of them, until every row has had its turn."""
    members = members_of(groups, len(sequences))
    costs = [shared_length([sequences[row] for row in rows]) for rows in members]
    order = sorted(range(len(members)), key=costs.__getitem__)
    for run in token_runs(order, costs, _BATCH_TOKENS):
        rows = [row for group in run for row in members[group]]
        shared = None if groups is None else [groups[row] for row in rows]
        yield rows, RaggedBatch.from_sequences([sequences[row] for row in rows], model.device, shared)
