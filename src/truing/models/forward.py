"""What training reads from a model: log-probabilities, entropies, values and scores, only at the tokens asked for.

Shapes: B sequences, T tokens laid end to end, N selected positions, D hidden width, V vocabulary.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional
from torch.utils.checkpoint import checkpoint
from transformers import PreTrainedModel

from truing.errors import TruingError
from truing.models.attention import LAYOUT
from truing.models.ragged import RaggedBatch

_CHUNK_ELEMENTS = 2**25
"""Logits (N x V) held at once; beyond it they are made in chunks, and made again in the backward pass rather than kept."""


class TokenScores(NamedTuple):
    """Log-probability of each selected token in nats, and the entropy of the distribution it was drawn from where asked for."""

    logprobs_N: Tensor
    entropy_N: Tensor | None


def hidden_states(model: PreTrainedModel, batch: RaggedBatch, **kwargs: Any) -> Tensor:
    """Last hidden states of the whole batch, [T, D]. Sequences do not see each other."""
    output = model.base_model(
        input_ids=batch.tokens_T[None],
        position_ids=batch.position_ids_T[None],
        attention_mask=batch.tokens_T.new_ones((1, 1, 1, 1), dtype=torch.bool),  # a ready mask: keeps a T x T one from being made
        **{"use_cache": False, LAYOUT: batch.layout, **kwargs},
    )
    hidden_TD: Tensor = output.last_hidden_state[0]
    return hidden_TD


def head_logits(model: PreTrainedModel, hidden_ND: Tensor) -> Tensor:
    """Next-token logits [N, V] in float32, with the scaling or soft cap that the model's configuration names."""
    logits_NV: Tensor = model.get_output_embeddings()(hidden_ND)
    config = model.config
    if getattr(config, "logit_scale", None):
        logits_NV = logits_NV * config.logit_scale
    if getattr(config, "logits_scaling", None):
        logits_NV = logits_NV / config.logits_scaling
    cap = getattr(config, "final_logit_softcapping", None)
    if cap:
        logits_NV = torch.tanh(logits_NV / cap) * cap
    return logits_NV.float()


def token_logprobs(
    model: PreTrainedModel, batch: RaggedBatch, where_T: Tensor, *, temperature: float = 1.0, entropy: bool = False
) -> TokenScores:
    """Log p(token | tokens before it in its sequence) in nats at the tokens where `where_T` is True, at `temperature`.

    The head is applied only there. Raises ValueError where a sequence's first token is selected: nothing precedes it.
    """
    before_N = _positions_before(batch, where_T)
    hidden_ND = hidden_states(model, batch).index_select(0, before_N)
    targets_N = batch.tokens_T.index_select(0, before_N + 1)
    size = max(1, _CHUNK_ELEMENTS // vocabulary_size(model))
    if len(before_N) <= size:
        return _score_tokens(model, hidden_ND, targets_N, temperature, entropy)
    chunks = [
        TokenScores(*checkpoint(_score_tokens, model, hidden, targets, temperature, entropy, use_reentrant=False))
        for hidden, targets in zip(hidden_ND.split(size), targets_N.split(size), strict=True)
    ]
    entropies = [chunk.entropy_N for chunk in chunks if chunk.entropy_N is not None]
    return TokenScores(torch.cat([chunk.logprobs_N for chunk in chunks]), torch.cat(entropies) if entropy else None)


def _score_tokens(model: PreTrainedModel, hidden_ND: Tensor, targets_N: Tensor, temperature: float, entropy: bool) -> TokenScores:
    logits_NV = head_logits(model, hidden_ND)
    if temperature != 1.0:
        logits_NV = logits_NV / temperature
    if not entropy:
        return TokenScores(-functional.cross_entropy(logits_NV, targets_N, reduction="none"), None)
    logprobs_NV = functional.log_softmax(logits_NV, dim=-1)
    entropy_N = -(logprobs_NV.exp() * logprobs_NV).sum(-1)
    return TokenScores(logprobs_NV.gather(1, targets_N[:, None])[:, 0], entropy_N)


def token_values(model: PreTrainedModel, batch: RaggedBatch, where_T: Tensor) -> Tensor:
    """The scalar head's value [N] of the state before each token where `where_T` is True, in float32."""
    before_N = _positions_before(batch, where_T)
    return _scalar(model, hidden_states(model, batch).index_select(0, before_N))


def last_token_scores(model: PreTrainedModel, batch: RaggedBatch) -> Tensor:
    """The scalar head's score [B] of each sequence, read at its last token, in float32."""
    return _scalar(model, hidden_states(model, batch).index_select(0, batch.ends_B))


def _positions_before(batch: RaggedBatch, where_T: Tensor) -> Tensor:
    selected_N = where_T.nonzero()[:, 0]
    if (batch.position_ids_T.index_select(0, selected_N) == 0).any():
        raise ValueError("the first token of a sequence has nothing before it and cannot be scored")
    return selected_N - 1


def _scalar(model: PreTrainedModel, hidden_ND: Tensor) -> Tensor:
    head = getattr(model, "score", None)
    if head is None:
        raise TruingError(f"{type(model).__name__} has no scalar head: load it with load_scorer")
    values_N: Tensor = head(hidden_ND)[:, 0].float()
    return values_N


def vocabulary_size(model: PreTrainedModel) -> int:
    """Rows of the embedding: how many token ids the model knows."""
    embedding: Any = model.get_input_embeddings()
    return int(embedding.weight.shape[0])
