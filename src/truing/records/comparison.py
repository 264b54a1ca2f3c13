"""Comparisons (the question put to raters), judgments (one rater's answer) and preference pairs (what training reads)."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from truing.records.base import Record
from truing.records.conversation import Prompt

Choice = Literal["first", "second", "tie"]


class Comparison(Record):
    """Two completions of one prompt, to be judged. `first` and `second` are stored order, not screen order.

    `policies` names who wrote each (an artifact hash or a label); `source` says why the pair exists ("sampled",
    "finding:<id>", "file:<name>").
    """

    comparison_id: str
    prompt: Prompt
    first: str
    second: str
    policies: tuple[str, str] = ("unknown", "unknown")
    source: str = "sampled"


class Judgment(Record):
    """One rater's answer to one comparison. `choice` is in stored order; `left` says which completion was shown at left.

    `confidence` is the rater's probability (0.5 to 1) that the choice is right; 0.5 for a tie. `simulated` marks judgments
    that no person made.
    """

    comparison_id: str
    rater_id: str
    guideline_hash: str
    left: Literal["first", "second"]
    choice: Choice
    confidence: float = Field(ge=0.5, le=1.0)
    simulated: bool


class PreferencePair(Record):
    """A judged pair as training reads it.

    `label` is the probability that `chosen` is preferred (1.0 = hard label, 0.5 = tie), `weight` scales its loss.
    """

    comparison_id: str
    prompt: Prompt
    chosen: str
    rejected: str
    label: float = Field(default=1.0, ge=0.0, le=1.0)
    weight: float = Field(default=1.0, gt=0.0)
    judgments: int = 1
    guideline_hash: str = ""
    simulated: bool = False
