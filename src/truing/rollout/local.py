"""Sampling in this process with a key/value cache: each prompt is run once, its cache repeated for its samples."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from truing.errors import TruingError
from truing.models.forward import vocabulary_size
from truing.models.template import completion_text, end_token_ids
from truing.records import Ending, SampledCompletion
from truing.rollout.draw import draw, uniforms
from truing.rollout.sampler import OnProgress, SamplingSettings
from truing.rollout.wave import Wave


class LocalSampler:
    """A `Sampler` over a model held in this process, at most `max_batch` completions at once."""

    def __init__(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, *, max_batch: int = 128) -> None:
        self.model = model
        self.tokenizer = tokenizer
        self.max_batch = max_batch
        self.weights_version = 0
        vocabulary = vocabulary_size(model)
        ends = [end for end in end_token_ids(tokenizer, model.config, model.generation_config) if end < vocabulary]
        self._is_end_V = torch.zeros(vocabulary, dtype=torch.bool, device=model.device)
        self._is_end_V[ends] = True

    def load_weights(self, model: PreTrainedModel, version: int) -> None:
        """See `Sampler.load_weights`. The model is the very one that is trained: nothing is copied."""
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
        """See `Sampler.sample`. Prompts of similar length run together; what is drawn depends on `seed` and place alone."""
        self._require_room(prompts, settings.max_new_tokens)
        order = sorted(range(len(prompts)), key=lambda index: len(prompts[index]))
        rows = [index * samples_per_prompt + sample for index in order for sample in range(samples_per_prompt)]
        draws = uniforms(seed, len(rows), settings.max_new_tokens)
        done: dict[int, SampledCompletion] = {}
        was_training = self.model.training
        self.model.eval()
        try:
            for start in range(0, len(rows), self.max_batch):
                wave = rows[start : start + self.max_batch]
                completions = self._run(prompts, [row // samples_per_prompt for row in wave], draws[wave], settings)
                done.update(zip(wave, completions, strict=True))
                if on_progress is not None:
                    on_progress(len(done), len(rows))
        finally:
            self.model.train(was_training)
        in_order = [done[row] for row in range(len(rows))]
        return [in_order[i : i + samples_per_prompt] for i in range(0, len(rows), samples_per_prompt)]

    def _require_room(self, prompts: Sequence[Sequence[int]], max_new_tokens: int) -> None:
        context = getattr(self.model.config, "max_position_embeddings", None)
        for index, prompt in enumerate(prompts):
            if context is not None and len(prompt) + max_new_tokens > context:
                raise TruingError(
                    f"prompt {index} has {len(prompt)} tokens; with max_new_tokens = {max_new_tokens} it does not fit into the "
                    f"model's context of {context}. Shorten it or lower max_new_tokens. It begins: "
                    f"{self.tokenizer.decode(list(prompt[:24]))!r}"
                )

    @torch.no_grad()
    def _run(
        self, prompts: Sequence[Sequence[int]], prompt_of_row: Sequence[int], draws_WN: Tensor, settings: SamplingSettings
    ) -> list[SampledCompletion]:
        used = sorted(set(prompt_of_row))
        wave = Wave(self.model, [prompts[i] for i in used], [used.index(i) for i in prompt_of_row], settings.max_new_tokens)
        stopped: set[int] = set()
        for draws_W in draws_WN.T.contiguous().to(self.model.device):
            drawn = draw(wave.logits_RV, draws_W[wave.row_R], settings)
            wave.write(drawn, self._is_end_V)
            if settings.stop:
                stopped |= self._stop(wave, settings.stop)
            if not wave.advance(drawn.tokens_R):
                break
        return self._completions(wave, stopped)

    def _stop(self, wave: Wave, stop: tuple[str, ...]) -> set[int]:
        """End the live rows whose text holds a stop string; returns which."""
        stopped = set()
        for index in wave.is_live_R.nonzero()[:, 0].tolist():
            row = int(wave.row_R[index])
            text = completion_text(self.tokenizer, wave.tokens_WN[row, : wave.length_W[row]].tolist())
            if any(string in text for string in stop):
                wave.is_live_R[index] = False
                stopped.add(row)
        return stopped

    def _completions(self, wave: Wave, stopped: set[int]) -> list[SampledCompletion]:
        is_end = self._is_end_V.tolist()
        columns = zip(wave.tokens_WN.tolist(), wave.logprobs_WN.tolist(), wave.length_W.tolist(), strict=True)
        completions = []
        for row, (tokens, logprobs, length) in enumerate(columns):
            ended = Ending.END_OF_TURN if is_end[tokens[length - 1]] else Ending.LENGTH
            completions.append(
                SampledCompletion(
                    tokens=tuple(tokens[:length]),
                    logprobs=tuple(logprobs[:length]),
                    ending=Ending.STOP_STRING if row in stopped else ended,
                    weights_version=self.weights_version,
                )
            )
        return completions
