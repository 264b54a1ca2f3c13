"""One batch of completions under way: the cache, what has been written, which rows still go.

Shapes: R rows still in the cache, W rows the wave began with, N tokens a row may get, V vocabulary, C cache columns.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from transformers import PreTrainedModel

from truing.models.attention import LAYOUT, StepLayout
from truing.models.forward import hidden_states
from truing.models.head import head_logits
from truing.models.ragged import RaggedBatch
from truing.rollout.cache import PrefillCache, RowCache, right_aligned
from truing.rollout.draw import Drawn

_RETIRE_AT = 0.75
"""Rows leave the cache when at most this fraction of them still goes: the copy must pay for itself."""


class Wave:
    """Completions of `prompts[i]` for each i in `prompt_of_row`, each prompt run once and its cache repeated.

    After each `advance`, `logits_RV` holds the next-token logits of the rows named by `row_R`.
    """

    def __init__(
        self, model: PreTrainedModel, prompts: Sequence[Sequence[int]], prompt_of_row: Sequence[int], max_new: int
    ) -> None:
        device = model.device
        rows = len(prompt_of_row)
        self._model = model
        self.tokens_WN = torch.zeros((rows, max_new), dtype=torch.long, device=device)
        self.logprobs_WN = torch.zeros((rows, max_new), device=device)
        self.length_W = torch.zeros(rows, dtype=torch.long, device=device)
        self.row_R = torch.arange(rows, device=device)
        self.is_live_R = torch.ones(rows, dtype=torch.bool, device=device)
        self._step = 0
        self._prefill(prompts, torch.tensor(prompt_of_row, device=device), max_new)

    def _prefill(self, prompts: Sequence[Sequence[int]], prompt_R: Tensor, max_new: int) -> None:
        batch = RaggedBatch.from_sequences(prompts, self._model.device)
        prefill = PrefillCache()
        hidden_TD = hidden_states(self._model, batch, past_key_values=prefill, use_cache=True)
        lengths_R = batch.lengths_B[prompt_R]
        token_of_column_RP, is_padding_RP = right_aligned(batch.starts_B[prompt_R], lengths_R)
        columns = token_of_column_RP.shape[1]
        self._cache = RowCache(prefill, token_of_column_RP, columns + max_new)
        self._mask_R11C = hidden_TD.new_zeros((len(prompt_R), 1, 1, columns + max_new))
        self._mask_R11C[:, 0, 0, :columns].masked_fill_(is_padding_RP, -torch.inf)
        self._position_R1 = lengths_R[:, None]
        self.logits_RV = head_logits(self._model, hidden_TD[batch.ends_B])[prompt_R]

    def write(self, drawn: Drawn, is_end_V: Tensor) -> None:
        """Note one token a row; rows that drew an end token stop being live."""
        self.tokens_WN[self.row_R, self._step] = drawn.tokens_R
        self.logprobs_WN[self.row_R, self._step] = drawn.logprobs_R
        self.length_W[self.row_R] += self.is_live_R
        self.is_live_R &= ~is_end_V[drawn.tokens_R]
        self._step += 1

    def advance(self, tokens_R: Tensor) -> bool:
        """Run the tokens just drawn through the model. False where no row goes on."""
        live = int(self.is_live_R.sum())
        if live == 0 or self._step == self.tokens_WN.shape[1]:
            return False
        if live <= _RETIRE_AT * len(self.is_live_R):
            tokens_R = self._retire(tokens_R)
        self._cache.begin_step()
        hidden_R1D = self._model.base_model(
            input_ids=tokens_R[:, None],
            position_ids=self._position_R1,
            attention_mask=self._mask_R11C[:, :, :1, :1],  # a ready mask, unread: the layout carries the real one
            past_key_values=self._cache,
            use_cache=True,
            **{LAYOUT: StepLayout(self._mask_R11C[..., : self._cache.columns])},
        ).last_hidden_state
        self._position_R1 = self._position_R1 + 1
        self.logits_RV = head_logits(self._model, hidden_R1D[:, 0])
        return True

    def _retire(self, tokens_R: Tensor) -> Tensor:
        kept = self.is_live_R.nonzero()[:, 0]
        self._cache.keep_rows(kept)
        self._mask_R11C, self._position_R1 = self._mask_R11C[kept], self._position_R1[kept]
        self.row_R, self.is_live_R = self.row_R[kept], self.is_live_R[kept]
        return tokens_R[kept]
