"""Settings of a live chat: who answers, and for how long a conversation goes on."""

from __future__ import annotations

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
