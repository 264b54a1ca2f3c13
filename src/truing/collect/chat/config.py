"""Settings of answers that a worker writes while raters work: a live chat's, and those to prompts that came without."""

from __future__ import annotations

import random
from typing import Annotated

from pydantic import Field, model_validator

from truing.config import Config

PolicyName = Annotated[str, Field(min_length=1, max_length=200)]


class LiveConfig(Config):
    """Raters talk with two policies at once: both answer each turn, the better answer goes on (Bai et al. 2022, HH)."""

    policies: tuple[PolicyName, ...] = Field(min_length=2, max_length=20)
    """Two of them, drawn anew for each turn, answer. A worker samples from them under these names."""
    system: str = Field(default="", max_length=20_000)
    """What the policies are told before the conversation; empty = nothing."""
    max_turns: int = Field(default=6, ge=1, le=50)
    """A conversation ends after so many comparisons."""
    reply_minutes: float = Field(default=3.0, gt=0)
    """Without both answers in this time, the rater may ask again."""

    @model_validator(mode="after")
    def _are_different(self) -> LiveConfig:
        if len(set(self.policies)) != len(self.policies):
            raise ValueError("live.policies: each policy once")
        return self


class SampledConfig(Config):
    """Items are added as prompts alone; a worker samples their responses from these policies."""

    policies: tuple[PolicyName, ...] = Field(min_length=1, max_length=20)
    """Each writes as many responses of an item as any other, or one more; which ones write more is drawn for each item."""
    responses: int = Field(default=2, ge=1, le=9)
    """Responses to each prompt."""

    def draw(self, rng: random.Random) -> list[str]:
        """Who writes each response of one item, by place."""
        rounds, rest = divmod(self.responses, len(self.policies))
        drawn = [*self.policies * rounds, *rng.sample(self.policies, rest)]
        rng.shuffle(drawn)
        return drawn
