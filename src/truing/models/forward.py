"""What training reads from a model: log-probabilities, entropies, values and scores, only at the tokens asked for.

Shapes: B sequences, T tokens laid end to end, N selected positions, D hidden width.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from truing.errors import TruingError
from truing.models.attention import LAYOUT
from truing.models.flops import Work, count_head, count_trunk
from truing.models.head import TokenScores, score_tokens
from truing.models.ragged import Positions, RaggedBatch, Reading
from truing.models.unread import READING


def hidden_states(model: PreTrainedModel, batch: RaggedBatch, reading: Reading | None = None, **kwargs: Any) -> Tensor:
    """Last hidden states of the batch, [T, D]. Sequences do not see each other.

    `reading`: which of them are read. The others may then come out as anything, which spares work in the last layer.
    """
    whole = Work(batch.n_tokens, batch.layout.attention_pairs)
    count_trunk(model, whole, None if reading is None else Work(len(reading.rows_U), reading.attention_pairs))
    output = model.base_model(
        input_ids=batch.tokens_T[None],
        position_ids=batch.position_ids_T[None],
        attention_mask=batch.tokens_T.new_ones((1, 1, 1, 1), dtype=torch.bool),  # a ready mask: keeps a T x T one from being made
        **{"use_cache": False, LAYOUT: batch.layout, READING: reading, **kwargs},
    )
    hidden_TD: Tensor = output.last_hidden_state[0]
    return hidden_TD


def token_logprobs(
    model: PreTrainedModel,
    batch: RaggedBatch,
    where: Positions,
    *,
    temperature: float = 1.0,
    entropy: bool = False,
    summed: bool = False,
) -> TokenScores:
    """Log p(token | tokens before it in its sequence) in nats at the places `where`, at `temperature`.

    `summed` says that only their sum is trained on, which is cheaper (`score_tokens`).
    """
    hidden_TD = hidden_states(model, batch, where.reading)
    return logprobs_at(model, hidden_TD, where, temperature=temperature, entropy=entropy, summed=summed)


def logprobs_at(
    model: PreTrainedModel,
    hidden_TD: Tensor,
    where: Positions,
    *,
    temperature: float = 1.0,
    entropy: bool = False,
    summed: bool = False,
) -> TokenScores:
    """`token_logprobs` from hidden states at hand."""
    hidden_ND = hidden_TD.index_select(0, where.before_N)
    count_head(model.get_output_embeddings(), hidden_ND)
    return score_tokens(model, hidden_ND, where.targets_N, temperature=temperature, entropy=entropy, summed=summed)


def token_values(model: PreTrainedModel, batch: RaggedBatch, where: Positions) -> Tensor:
    """The scalar head's value [N] of the state before each token of `where`, in float32."""
    return values_at(scalar_head(model), hidden_states(model, batch, where.reading), where)


def values_at(head: torch.nn.Module, hidden_TD: Tensor, where: Positions) -> Tensor:
    """`token_values` from hidden states at hand and a head of one output."""
    return _scalar(head, hidden_TD.index_select(0, where.before_N))


def last_token_scores(model: PreTrainedModel, batch: RaggedBatch) -> Tensor:
    """The scalar head's score [B] of each sequence, read at its last token, in float32."""
    return _scalar(scalar_head(model), last_token_states(model, batch))


def last_token_states(model: PreTrainedModel, batch: RaggedBatch) -> Tensor:
    """The last hidden state [B, D] at each sequence's last token: what the scalar head reads."""
    return hidden_states(model, batch, batch.last_tokens()).index_select(0, batch.ends_B)


def scalar_head(model: PreTrainedModel) -> torch.nn.Module:
    """The head of a reward or value model. Raises TruingError where there is none."""
    head = getattr(model, "score", None)
    if head is None:
        raise TruingError(f"{type(model).__name__} has no scalar head: load it with load_scorer")
    scorer: torch.nn.Module = head
    return scorer


def _scalar(head: torch.nn.Module, hidden_ND: Tensor) -> Tensor:
    count_head(head, hidden_ND)
    values_N: Tensor = head(hidden_ND)[:, 0].float()
    return values_N


def vocabulary_size(model: PreTrainedModel) -> int:
    """Rows of the embedding: how many token ids the model knows."""
    embedding: Any = model.get_input_embeddings()
    return int(embedding.weight.shape[0])
