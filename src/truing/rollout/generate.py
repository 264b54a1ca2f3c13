"""The engine for models that cannot run unpadded batches (recurrent layers, capped scores, ...): transformers' own `generate`.

Slow and right: one prompt at a time, its samples side by side, so nothing is padded. `generate` runs the model and keeps its
cache; which token follows is drawn here, as in every other engine, so seeds, log-probabilities and endings mean the same.

Shapes: R samples of one prompt, L tokens so far, V vocabulary.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import (
    GenerationConfig,
    LogitsProcessor,
    LogitsProcessorList,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    StoppingCriteria,
    StoppingCriteriaList,
)

from truing.models.forward import vocabulary_size
from truing.models.template import end_token_ids
from truing.records import Ending, SampledCompletion
from truing.rollout.draw import draw
from truing.rollout.request import Request, Row, places, requests_for, require_room
from truing.rollout.sampler import OnProgress, SamplingSettings, Speed


class GenerateSampler:
    """A `Sampler` for any causal language model of transformers, at most `max_batch` samples of one prompt at once."""

    def __init__(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, *, max_batch: int = 128) -> None:
        self.model = model
        self.tokenizer = tokenizer
        self.max_batch = max_batch
        self.weights_version = 0
        self.last_speed: Speed | None = None
        ends = end_token_ids(tokenizer, model.config, model.generation_config)
        self.end_tokens = frozenset(end for end in ends if end < vocabulary_size(model))

    def load_weights(self, model: PreTrainedModel, version: int) -> None:
        """See `Sampler.load_weights`. Nothing is copied."""
        self.model = model
        self.weights_version = version

    def close(self) -> None:
        """Nothing is held beyond a call of `sample`."""

    def sample(
        self,
        prompts: Sequence[Sequence[int]],
        *,
        samples_per_prompt: int,
        settings: SamplingSettings,
        seed: int,
        on_progress: OnProgress | None = None,
    ) -> list[list[SampledCompletion]]:
        """See `Sampler.sample`. What is drawn depends on seed and place alone, as in `LocalSampler`."""
        require_room("prompt", prompts, [settings.max_new_tokens] * len(prompts), self.model)
        requests = requests_for(prompts, samples_per_prompt, settings, seed)
        started = time.perf_counter()
        done: list[SampledCompletion] = []
        was_training = self.model.training
        self.model.eval()
        try:
            for start in range(0, len(requests), samples_per_prompt):
                group = requests[start : start + samples_per_prompt]
                for first in range(0, len(group), self.max_batch):
                    done += self._run(group[first : first + self.max_batch], settings)
                    if on_progress is not None:
                        on_progress(len(done), len(requests))
        finally:
            self.model.train(was_training)
        self.last_speed = Speed(sum(len(one.tokens) for one in done), time.perf_counter() - started)
        return [done[i : i + samples_per_prompt] for i in range(0, len(done), samples_per_prompt)]

    @torch.no_grad()
    def _run(self, requests: Sequence[Request], settings: SamplingSettings) -> list[SampledCompletion]:
        rows = [Row.of(number, request, settings, self.tokenizer) for number, request in enumerate(requests)]
        drawer = _Drawer(rows, settings, self.end_tokens)
        prompt_RL = torch.tensor([requests[0].prompt] * len(rows), device=self.model.device)
        config = GenerationConfig(max_new_tokens=settings.max_new_tokens, do_sample=False, pad_token_id=0, use_cache=True)
        generate: Any = self.model.generate
        with _without_own_settings(self.model):
            generate(
                prompt_RL,
                attention_mask=torch.ones_like(prompt_RL),
                generation_config=config,
                logits_processor=LogitsProcessorList([drawer]),
                stopping_criteria=StoppingCriteriaList([_Ended(drawer)]),
            )
        return [
            row.completion(ending or Ending.LENGTH, self.weights_version)
            for row, ending in zip(rows, drawer.endings, strict=True)
        ]


@contextlib.contextmanager
def _without_own_settings(model: PreTrainedModel) -> Iterator[None]:
    """Generation settings that came with the model (a repetition penalty, say) would change what is drawn."""
    own: Any = model.generation_config
    model.generation_config = GenerationConfig()
    try:
        yield
    finally:
        model.generation_config = own


class _Drawer(LogitsProcessor):
    """Draws each row's next token and leaves `generate` no other choice."""

    def __init__(self, rows: Sequence[Row], settings: SamplingSettings, end_tokens: frozenset[int]) -> None:
        self._rows, self._settings, self._end_tokens = rows, settings, end_tokens
        self.endings: list[Ending | None] = [None] * len(rows)

    def __call__(self, _input_ids: Tensor, scores: Tensor) -> Tensor:
        """Called at each step with the tokens so far [R, L] and the logits of the next [R, V]."""
        live = [number for number, ending in enumerate(self.endings) if ending is None]
        logits_RV = scores[live].float()
        for index, number in enumerate(live):
            if not self._rows[number].may_end:
                logits_RV[index, list(self._end_tokens)] = -torch.inf
        drawn = draw(logits_RV, places([self._rows[number] for number in live], scores.device), self._settings)
        only_RV = torch.full_like(scores, -torch.inf)
        only_RV[:, 0] = 0.0
        only_RV[live, 0] = -torch.inf
        only_RV[live, drawn.tokens_R] = 0.0
        for number, token, logprob in zip(live, drawn.tokens_R.tolist(), drawn.logprobs_R.tolist(), strict=True):
            self.endings[number] = self._rows[number].take(token, logprob, token in self._end_tokens).ending
        return only_RV


class _Ended(StoppingCriteria):
    """Rows that are done, so that `generate` stops when all are."""

    def __init__(self, drawer: _Drawer) -> None:
        self._drawer = drawer

    def __call__(self, input_ids: Tensor, _scores: Tensor, **_: object) -> Tensor:
        """True for each row that has ended, [R]."""
        return torch.tensor([ending is not None for ending in self._drawer.endings], device=input_ids.device)
