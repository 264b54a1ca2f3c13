"""What runs the model for the rollout engine: prompts in one ragged batch, then one token a row over slots of a cache.

Shapes: N prompts, T prompt tokens laid end to end, R rows, C columns, D hidden width, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from transformers import PreTrainedModel

from truing.models.attention import LAYOUT, StepLayout
from truing.models.flops import Work, count_head, count_trunk
from truing.models.forward import hidden_states
from truing.models.head import head_logits
from truing.models.prompted import PromptRows, PromptStates
from truing.models.ragged import RaggedBatch
from truing.models.segments import has_kernel
from truing.rollout.cache import LayerShape, PrefillCache, SlotCache

_COLUMN_STEP = 64
"""A captured step reads a multiple of this many columns, so that few have to be captured."""


class Prompt(NamedTuple):
    """One prompt that has been run: its keys and values, and the logits of what follows it."""

    states: PromptStates
    logits_V: Tensor


@dataclass(frozen=True)
class _Captured:
    graph: torch.cuda.CUDAGraph
    tokens_R: Tensor
    position_R: Tensor
    logits_RV: Tensor


class Decoder:
    """Runs one model. On CUDA, with `graphs`, a step is captured once for each (rows, columns) size and replayed after.

    Capturing has not been run on hardware yet: leave `graphs` off where it misbehaves.

    `can_share`: whether prompts may stand outside the cache, once for all rows that go on from them (`models/prompted.py`).
    """

    def __init__(self, model: PreTrainedModel, *, graphs: bool) -> None:
        self.model = model
        self.graphs = graphs and model.device.type == "cuda"
        self.layers = self._layer_shapes()
        is_windowed = getattr(model.config, "sliding_window", None) is not None
        is_even = all(layer.keys == layer.values for layer in self.layers)
        self.can_share = model.device.type == "cpu" and has_kernel() and is_even and not is_windowed
        self._rows: PromptRows | None = None
        self._cache: SlotCache | None = None
        self._captured: dict[tuple[int, int], _Captured] = {}

    @property
    def cache_dtype(self) -> torch.dtype:
        """A CPU's attention kernel is three to six times slower in bfloat16 than in float32 (measured): it gets float32."""
        return torch.float32 if self.model.device.type == "cpu" else self.model.dtype

    @property
    def bytes_per_token(self) -> int:
        """What one token takes in the cache."""
        return sum(layer.elements for layer in self.layers) * self.cache_dtype.itemsize

    @torch.no_grad()
    def _layer_shapes(self) -> list[LayerShape]:
        """Seen by running one token."""
        prefill = PrefillCache()
        batch = RaggedBatch.from_sequences([[0]], self.model.device)
        hidden_states(self.model, batch, past_key_values=prefill, use_cache=True)
        return prefill.shapes

    def has_room(self, slots: int, columns: int) -> bool:
        """Whether the cache is as large as this."""
        return self._cache is not None and self._cache.slots >= slots and self._cache.columns >= columns

    def reserve(self, slots: int, columns: int, kept: int = 0) -> None:
        """Make the cache as large as this; the first `kept` slots keep what they hold."""
        if kept:
            self._captured.clear()
            self.cache.resize(slots, columns, kept)
        else:
            self.release()
            self._cache = SlotCache(self.layers, slots, columns, self.cache_dtype, self.model.device)

    def rest(self) -> None:
        """Nothing is drawn for a while: the memory is given back, unless captured steps would have to be captured again."""
        if not self._captured:
            self.release()

    def release(self) -> None:
        """Give the cache back."""
        self._captured.clear()
        self._cache = self._rows = None

    @property
    def cache(self) -> SlotCache:
        """Room made by `reserve`."""
        if self._cache is None:
            raise ValueError("no cache: call reserve first")
        return self._cache

    def prefill(self, prompts: Sequence[Sequence[int]]) -> list[Prompt]:
        """Run prompts laid end to end."""
        batch = RaggedBatch.from_sequences(prompts, self.model.device)
        cache = PrefillCache()
        hidden_TD = hidden_states(self.model, batch, batch.last_tokens(), past_key_values=cache, use_cache=True)
        hidden_ND = hidden_TD[batch.ends_B]
        count_head(self.model.get_output_embeddings(), hidden_ND)
        logits_NV = head_logits(self.model, hidden_ND)
        places = zip(batch.starts_B.tolist(), batch.lengths_B.tolist(), logits_NV, strict=True)
        return [Prompt(cache.part(start, length), logits_V) for start, length, logits_V in places]

    def step(self, tokens: Sequence[int], positions: Sequence[int], prompts: Sequence[PromptStates] | None = None) -> Tensor:
        """Run one token in each of the slots 0 to R, at these places of their sequences; returns what follows, [R, V].

        `prompts` are those that the rows go on from, where they do not stand in the slots themselves.
        """
        state_2R = torch.tensor([tokens, positions]).to(self.model.device)
        tokens_R, position_R = state_2R
        if prompts is not None:
            columns = [position - prompt.length for position, prompt in zip(positions, prompts, strict=True)]
            return self._forward(tokens_R, position_R, torch.tensor(columns), max(columns) + 1, self._prompt_rows(prompts))
        seen = max(positions) + 1
        return self._replayed(state_2R, seen) if self.graphs else self._forward(tokens_R, position_R, position_R, seen)

    def _prompt_rows(self, prompts: Sequence[PromptStates]) -> PromptRows:
        """`PromptRows.of`, made anew only when rows have come, gone or moved."""
        if self._rows is None or not self._rows.is_of(prompts):
            self._rows = PromptRows.of(prompts)
        return self._rows

    def count(self, tokens: int, attention_pairs: int) -> None:
        """Tell active floor counters of `tokens` run one by one: at once, since counting costs as much as a small step."""
        count_trunk(self.model, Work(tokens, attention_pairs))
        hidden_ND = torch.empty(tokens, 0, dtype=self.model.dtype, device=self.model.device)  # only its length is read
        count_head(self.model.get_output_embeddings(), hidden_ND)

    def _forward(
        self, tokens_R: Tensor, position_R: Tensor, column_R: Tensor, seen: int, prompts: PromptRows | None = None
    ) -> Tensor:
        self.cache.begin_step(column_R, seen)
        hidden_R1D = self.model.base_model(
            input_ids=tokens_R[:, None],
            position_ids=position_R[:, None],
            # a ready mask, which nobody looks at: the layout says what is seen
            attention_mask=tokens_R.new_ones((1, 1, 1, 1), dtype=torch.bool),
            past_key_values=self.cache,
            use_cache=True,
            **{LAYOUT: StepLayout(column_R, seen, prompts)},
        ).last_hidden_state
        return head_logits(self.model, hidden_R1D[:, 0])

    def _replayed(self, state_2R: Tensor, seen: int) -> Tensor:
        """The same from a captured graph. Slots beyond R write into their first column, which a new sequence overwrites."""
        count = state_2R.shape[1]
        rows = min(1 << (count - 1).bit_length(), self.cache.slots)
        columns = min(-(-seen // _COLUMN_STEP) * _COLUMN_STEP, self.cache.columns)
        if (rows, columns) not in self._captured:
            self._captured[rows, columns] = self._capture(rows, columns)
        captured = self._captured[rows, columns]
        captured.tokens_R.zero_()[:count] = state_2R[0]
        captured.position_R.zero_()[:count] = state_2R[1]
        captured.graph.replay()
        return captured.logits_RV[:count]

    def _capture(self, rows: int, columns: int) -> _Captured:
        tokens_R, position_R = torch.zeros(2, rows, dtype=torch.long, device=self.model.device)
        # what is written while capturing goes to a column that no live row has reached
        position_R += columns - 1
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):  # libraries allocate their workspaces in a first run, which may not be captured
            self._forward(tokens_R, position_R, position_R, columns)
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            logits_RV = self._forward(tokens_R, position_R, position_R, columns)
        return _Captured(graph, tokens_R, position_R, logits_RV)
