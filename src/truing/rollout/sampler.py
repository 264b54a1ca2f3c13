"""What every sampling engine offers: prompts as tokens in, completions as tokens out, with the log-probabilities they had.

Torch-free, so that settings can be read without loading an engine.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from pydantic import Field

from truing.config import Config
from truing.errors import TruingError
from truing.records import SampledCompletion

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

OnProgress = Callable[[int, int], None]
"""Told (completions finished, completions asked for)."""


class SamplingSettings(Config):
    """How completions are drawn.

    Log-probabilities are those of the distribution that is drawn from: temperature first, then min-p, top-k and top-p, each
    applied to what the one before left, as in vLLM (transformers cuts by min-p last). Greedy choices carry their log-probability
    at temperature 1.
    """

    max_new_tokens: int = Field(default=64, ge=1)
    min_new_tokens: int = Field(
        default=0, ge=0, description="no end token and no stop string ends a completion before it has this many"
    )
    temperature: float = Field(default=0.7, ge=0.0, description="0 takes the likeliest token")
    top_p: float = Field(default=1.0, gt=0.0, le=1.0, description="smallest set of tokens with at least this probability")
    top_k: int | None = Field(default=None, ge=1, description="only this many likeliest tokens")
    min_p: float = Field(default=0.0, ge=0.0, le=1.0, description="only tokens at least this fraction as likely as the likeliest")
    stop: tuple[str, ...] = Field(default=(), description="strings that end a completion; serving only")

    def require_exact(self) -> None:
        """Raise TruingError where log-probabilities would not be those that training computes for the same tokens."""
        for name, is_exact in (
            ("temperature", self.temperature > 0),
            ("top_p", self.top_p == 1.0),
            ("top_k", self.top_k is None),
            ("min_p", self.min_p == 0.0),
            ("min_new_tokens", self.min_new_tokens == 0),
            ("stop", not self.stop),
        ):
            if not is_exact:
                raise TruingError(
                    f"{name} = {getattr(self, name)!r} cannot be used in RL: the policy gradient needs log-probabilities of the "
                    "whole distribution at the sampling temperature. Use temperature > 0, and leave out top_p, top_k, min_p, "
                    "min_new_tokens and stop."
                )


@dataclass(frozen=True)
class Speed:
    """How fast one call of `sample` was."""

    completion_tokens: int
    """Tokens drawn and returned, prompts not counted."""
    seconds: float
    floor_s: float | None = None
    """What its unavoidable arithmetic takes at the machine's peak rate (models/flops.py); None where it cannot be counted."""

    @property
    def tokens_per_s(self) -> float:
        """Completion tokens a second."""
        return self.completion_tokens / self.seconds

    @property
    def floor_fraction(self) -> float | None:
        """The part of the time that the floor accounts for."""
        return None if self.floor_s is None else self.floor_s / self.seconds


class Sampler(Protocol):
    """Draws completions from one policy. `load_weights` follows each change of its weights, `close` the last use."""

    @property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        """The policy's."""
        ...

    @property
    def weights_version(self) -> int:
        """Which weights are being sampled from: goes up with every update, and is written on each completion."""
        ...

    @property
    def last_speed(self) -> Speed | None:
        """How fast the last call of `sample` was; None before the first."""
        ...

    def sample(
        self,
        prompts: Sequence[Sequence[int]],
        *,
        samples_per_prompt: int,
        settings: SamplingSettings,
        seed: int,
        on_progress: OnProgress | None = None,
    ) -> list[list[SampledCompletion]]:
        """`samples_per_prompt` completions of each prompt, in the prompts' order, determined by `seed`.

        Raises TruingError where a prompt and its completion would not fit into the model's context.
        """
        ...

    def load_weights(self, model: PreTrainedModel, version: int) -> None:
        """Sample from these weights from now on, and write `version` on what is drawn."""
        ...

    def close(self) -> None:
        """Give back what the engine holds."""
        ...
