"""The engine in this process: continuous batching over a key/value cache with slots."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from truing.errors import TruingError
from truing.models.flops import FloorCounter
from truing.models.forward import vocabulary_size
from truing.models.products import packed_weights
from truing.models.template import end_token_ids
from truing.records import SampledCompletion
from truing.rollout.config import LocalConfig
from truing.rollout.decode import Decoder
from truing.rollout.request import Request, Token, requests_for, require_room
from truing.rollout.sampler import OnProgress, SamplingSettings, Speed
from truing.rollout.schedule import Rules, Schedule


class LocalSampler:
    """A `Sampler` over a model held in this process.

    Memory: `slots` completions are under way at once, the most that `max_batch` and `config.cache_gib` allow where each
    takes the columns of the call's longest request. Beside them there is one prefill, and, where `pack_weights` applies,
    the linear layers' weights once more (in float32 where bfloat16 is multiplied so). What waits takes nothing. All is
    given back when all is drawn, but for a cache that CUDA graphs were captured in.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        *,
        max_batch: int = 128,
        config: LocalConfig | None = None,
    ) -> None:
        self.tokenizer = tokenizer
        self.max_batch = max_batch
        self.weights_version = 0
        self.last_speed: Speed | None = None
        self._is_reading = False
        self._config = config or LocalConfig()
        self._set_model(model)

    def load_weights(self, model: PreTrainedModel, version: int) -> None:
        """See `Sampler.load_weights`. The model is the very one that is trained: nothing is copied."""
        if model is not self.model:
            self._set_model(model)
        self.weights_version = version

    def close(self) -> None:
        """Give back what captured steps have kept."""
        self._decoder.release()

    def sample(
        self,
        prompts: Sequence[Sequence[int]],
        *,
        samples_per_prompt: int,
        settings: SamplingSettings,
        seed: int,
        on_progress: OnProgress | None = None,
    ) -> list[list[SampledCompletion]]:
        """See `Sampler.sample`. What is drawn for a sample depends on `seed`, its prompt's place and its own, on nothing else."""
        require_room("prompt", prompts, [settings.max_new_tokens] * len(prompts), self.model)
        requests = requests_for(prompts, samples_per_prompt, settings, seed)
        done = self.complete(requests, settings, on_progress)
        return [done[i : i + samples_per_prompt] for i in range(0, len(done), samples_per_prompt)]

    def complete(
        self, requests: Sequence[Request], settings: SamplingSettings, on_progress: OnProgress | None = None
    ) -> list[SampledCompletion]:
        """One completion a request, each within its own limits."""
        stream = self.stream(requests, settings)
        finished = 0
        for token in stream:
            if token.ending is not None:
                finished += 1
                if on_progress is not None:
                    on_progress(finished, len(requests))
        return stream.completions()

    def stream(self, requests: Sequence[Request], settings: SamplingSettings) -> Stream:
        """The tokens of several requests as they are drawn. Sampling goes on as the stream is read, one stream at a time: they
        share the cache. What comes while one is read joins it (`Stream.add`).
        """
        require_room(
            "the prompt of request",
            [request.prompt for request in requests],
            [request.max_new_tokens for request in requests],
            self.model,
        )
        return Stream(self, requests, settings)

    def _set_model(self, model: PreTrainedModel) -> None:
        self.model = model
        self._decoder = Decoder(model, graphs=self._config.cuda_graphs)
        vocabulary = vocabulary_size(model)
        ends = end_token_ids(self.tokenizer, model.config, model.generation_config)
        self.end_tokens = frozenset(end for end in ends if end < vocabulary)

    def _packed(self) -> AbstractContextManager[None]:
        return packed_weights(self.model) if self._config.pack_weights else nullcontext()

    def _schedule(self, requests: Sequence[Request], settings: SamplingSettings) -> Schedule:
        share = self._config.share_prompts
        rules = Rules(settings, self.tokenizer, self.end_tokens, self.slots, self.weights_version, share)
        return Schedule(self._decoder, requests, rules)

    def slots(self, columns: int) -> int:
        """How many completions may be under way at once where each may take `columns` tokens of cache.

        Raises TruingError where not even one fits.
        """
        bytes_per_token = self._decoder.bytes_per_token
        budget = int(self._config.cache_gib * 2**30)
        slots = min(self.max_batch, budget // (bytes_per_token * columns))
        if slots < 1:
            raise TruingError(
                f"a prompt and its completion take up to {columns} tokens of {bytes_per_token} bytes each in the cache: "
                f"{columns * bytes_per_token / 2**30:.2f} GiB, more than engine.local.cache_gib = {self._config.cache_gib:g}. "
                "Raise it, lower max_new_tokens, or shorten the prompt."
            )
        return slots


class Stream:
    """Tokens of several requests, as they are drawn. While it is read, `add` asks for more and `cancel` ends one early."""

    def __init__(self, sampler: LocalSampler, requests: Sequence[Request], settings: SamplingSettings) -> None:
        self._sampler = sampler
        self._count = len(requests)
        self._is_over = False
        self._schedule = sampler._schedule(requests, settings)

    def add(self, request: Request) -> int:
        """One more request, behind those that wait; returns its number. What others draw does not change, nor what it would
        draw alone. Not possible once the stream has been read to its end.

        Raises TruingError where it does not fit into the model's context, or not even alone into the cache.
        """
        if self._is_over:
            raise ValueError("the stream has been read to its end: open another")
        require_room("the prompt of request", [request.prompt], [request.max_new_tokens], self._sampler.model, self._count)
        self._schedule.add(request)
        self._count += 1
        return self._count - 1

    def cancel(self, request: int) -> None:
        """End a request, by its number, with what it has drawn so far. Its slot is free at the next step."""
        self._schedule.cancel(request)

    def completions(self) -> list[SampledCompletion]:
        """One a request, in their order, once the stream has been read to its end."""
        return [self._schedule.done[number] for number in range(self._count)]

    def __iter__(self) -> Iterator[Token]:
        if self._sampler._is_reading:
            raise ValueError("another stream of this sampler is being read, and they share its cache: read it to its end first")
        self._sampler._is_reading = True
        model = self._sampler.model
        was_training = model.training
        model.eval()
        started = time.perf_counter()
        try:
            with FloorCounter() as floor, self._sampler._packed():
                while not self._schedule.is_finished:
                    yield from self._schedule.step()
                self._is_over = True
                self._sampler._decoder.count(*self._schedule.decoded)
            drawn = sum(len(one.tokens) for one in self._schedule.done.values())
            self._sampler.last_speed = Speed(drawn, time.perf_counter() - started, floor.seconds())
        finally:
            model.train(was_training)
            self._sampler._decoder.rest()
            self._sampler._is_reading = False
