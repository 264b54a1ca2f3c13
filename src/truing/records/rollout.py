"""What a sampler returns and what a policy update leaves on disk."""

from __future__ import annotations

from enum import StrEnum

from pydantic import Field

from truing.records.base import Record
from truing.records.conversation import Prompt


class Ending(StrEnum):
    """Why a completion stopped, and what training does with it."""

    END_OF_TURN = "end_of_turn"
    """The model emitted an end token: it is part of the completion and inside the loss mask."""
    LENGTH = "length"
    """The token limit was reached: RL gives the fixed missing-end penalty in place of the reward."""
    STOP_STRING = "stop_string"
    """A stop string appeared: tokens up to and with it are kept; serving only, refused in RL."""
    CANCELLED = "cancelled"
    """The caller gave up: never trained on."""


class SampledCompletion(Record):
    """One completion as tokens. `logprobs` are at the sampling temperature, one per token; a final end token is included."""

    tokens: tuple[int, ...]
    logprobs: tuple[float, ...]
    ending: Ending
    weights_version: int


class Rollout(Record):
    """One scored sample of one policy update, as written to rollouts.jsonl (`group` = index of the prompt in the update)."""

    update: int
    group: int
    prompt: Prompt
    text: str
    length_tokens: int
    ending: Ending
    proxy: float
    """Mean reward of the ensemble, before the KL penalty."""
    proxy_members: tuple[float, ...]
    kl_nats: float | None = None
    """Sum over tokens of log policy - log reference on this sample (k1); None where there was no reference."""
    gold: float | None = None
    """The gold rule's score where one is known. Never seen by training or by the monitor."""


class Alarm(Record):
    """A reward-hacking alarm: which signal crossed which threshold when, on what evidence, and what was done about it."""

    update: int
    """Policy update at which it was raised; 0 = before the first one."""
    signal: str
    value: float
    threshold: float
    message: str
    action: str
    """"log", "raise_beta" or "stop"."""
    evidence: dict[str, float | str] = Field(default_factory=dict)
