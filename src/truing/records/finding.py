"""Findings: failures seen by the red team, the monitor or the reward-model tests, waiting to become something better."""

from __future__ import annotations

from typing import Literal

from truing.records.base import Record
from truing.records.conversation import Prompt
from truing.records.estimate import Estimate


class Attempt(Record):
    """One adversarial prompt put to a policy. `success` = the attack worked; None = it could not be judged."""

    prompt: Prompt
    mode: str
    technique: str
    completion: str
    success: bool | None
    reason: str = ""


class Finding(Record):
    """A failure mode with its measured rate and examples. It becomes comparisons, an amendment and regression cases."""

    finding_id: str
    round: int
    source: Literal["redteam", "monitor", "reward_tests"]
    mode: str
    summary: str
    rate: Estimate
    examples: tuple[Attempt, ...] = ()
