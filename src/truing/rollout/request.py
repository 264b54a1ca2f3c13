"""One completion that is asked for, and one that is under way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from truing.errors import TruingError
from truing.models.prompted import PromptStates
from truing.records import Ending, SampledCompletion, seed_for
from truing.rollout.draw import Places
from truing.rollout.sampler import SamplingSettings
from truing.rollout.text import StopStrings


@dataclass(frozen=True)
class Request:
    """One completion of `prompt`. What is drawn depends on `seed`, the weights and the settings, on nothing else under way."""

    prompt: tuple[int, ...]
    seed: int
    max_new_tokens: int
    min_new_tokens: int = 0

    @property
    def columns(self) -> int:
        """Most tokens it can come to take in the cache (the last one drawn is never run)."""
        return len(self.prompt) + self.max_new_tokens - 1


def requests_for(
    prompts: Sequence[Sequence[int]], samples_per_prompt: int, settings: SamplingSettings, seed: int
) -> list[Request]:
    """Prompt after prompt, each request with a seed of its own: of its prompt's place and its sample's place."""
    return [
        Request(tuple(prompt), seed_for(seed, place, sample), settings.max_new_tokens, settings.min_new_tokens)
        for place, prompt in enumerate(prompts)
        for sample in range(samples_per_prompt)
    ]


def require_room(
    what: str, prompts: Sequence[Sequence[int]], max_new_tokens: Sequence[int], model: PreTrainedModel, first: int = 0
) -> None:
    """Raise TruingError where a prompt and its completion would not fit into the model's context; `what` they are, numbered
    from `first` on.
    """
    context = getattr(model.config, "max_position_embeddings", None)
    for number, (prompt, most) in enumerate(zip(prompts, max_new_tokens, strict=True), first):
        if context is not None and len(prompt) + most > context:
            raise TruingError(
                f"{what} {number} has {len(prompt)} tokens; with max_new_tokens = {most} it does not fit into the model's "
                f"context of {context}. Shorten it or lower max_new_tokens."
            )


def places(rows: Sequence[Row], device: torch.device) -> Places:
    """What these rows' next tokens are drawn by."""
    return Places.of([row.request.seed for row in rows], [len(row.tokens) for row in rows], device)


class Token(NamedTuple):
    """One token as it is drawn. `ending` is set on a request's last (and alone where it is cancelled: `token` is None)."""

    request: int
    token: int | None
    logprob: float
    ending: Ending | None


@dataclass
class Row:
    """A request under way: its place in the call and what it has drawn. `states`: its prompt's, unless they stand in its slot."""

    number: int
    request: Request
    stop: StopStrings | None
    states: PromptStates | None = None
    tokens: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)

    @classmethod
    def of(cls, number: int, request: Request, settings: SamplingSettings, tokenizer: PreTrainedTokenizerBase) -> Row:
        """A row that has drawn nothing yet."""
        return cls(number, request, StopStrings(tokenizer, settings.stop) if settings.stop else None)

    @property
    def position(self) -> int:
        """Place in its sequence of the last token drawn, which the next step runs."""
        return len(self.request.prompt) + len(self.tokens) - 1

    @property
    def column(self) -> int:
        """Where that token goes in its slot."""
        return self.position - (0 if self.states is None else self.states.length)

    @property
    def may_end(self) -> bool:
        """Whether the next token may be an end token."""
        return len(self.tokens) >= self.request.min_new_tokens

    def take(self, token: int, logprob: float, is_end: bool) -> Token:
        """Note a token; says whether and why it is the last."""
        self.tokens.append(token)
        self.logprobs.append(logprob)
        is_stopped = self.stop is not None and self.stop.found(token) and self.may_end
        ending = None
        if is_end:
            ending = Ending.END_OF_TURN
        elif is_stopped:
            ending = Ending.STOP_STRING
        elif len(self.tokens) == self.request.max_new_tokens:
            ending = Ending.LENGTH
        return Token(self.number, token, logprob, ending)

    def completion(self, ending: Ending, weights_version: int) -> SampledCompletion:
        """What is returned."""
        return SampledCompletion(
            tokens=tuple(self.tokens), logprobs=tuple(self.logprobs), ending=ending, weights_version=weights_version
        )
