"""Comparisons (the question put to raters), judgments (one rater's answer) and preference pairs (what training reads)."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from truing.records.base import Record
from truing.records.conversation import Prompt

Side = Literal["first", "second"]
Choice = Literal["first", "second", "tie"]


class Comparison(Record):
    """Two completions of one prompt, to be judged. `first` and `second` are stored order, not screen order.

    `policies` names who wrote each (an artifact hash or a label); `source` says why the pair exists ("sampled",
    "finding:<id>", "file:<name>"). `group` joins the pairs of one ranking. `strategy` and `propensity` say how the pair was
    selected, and with what probability; None = not drawn from a pool. `gold` is the answer known beforehand, where there is one.
    """

    comparison_id: str
    prompt: Prompt
    first: str
    second: str
    policies: tuple[str, str] = ("unknown", "unknown")
    source: str = "sampled"
    group: str = ""
    strategy: str = ""
    propensity: float | None = Field(default=None, gt=0.0, le=1.0)
    gold: Choice | None = None


class Judgment(Record):
    """One rater's answer to one comparison. `choice` is in stored order; `left` says which completion was shown at left, None =
    nobody recorded it.

    `confidence` is the rater's probability (0.5 to 1) that the choice is right; 0.5 for a tie. `simulated` marks judgments
    that no person made. What a task did not ask for is None or empty: `margin` (0 for a tie, 1 slightly, 2 better, 3 much
    better; 4 on nine-point scales), `clause` (the id of the guideline's clause it leaned on), `flags`, `active_s` (seconds with
    the page in view and input) and `judged_at` (ISO 8601, UTC). `both_bad` goes with a tie. `repeat` marks a rater's second
    answer to a comparison, asked blind; `surplus` one beyond what was needed, from a lease that had run out.
    """

    comparison_id: str
    rater_id: str
    guideline_hash: str
    left: Side | None
    choice: Choice
    confidence: float = Field(ge=0.5, le=1.0)
    simulated: bool
    judgment_id: str = ""
    margin: int | None = Field(default=None, ge=0, le=4)
    both_bad: bool = False
    clause: str = ""
    flags: tuple[str, ...] = ()
    active_s: float | None = Field(default=None, ge=0.0)
    judged_at: str = ""
    repeat: bool = False
    surplus: bool = False


class PreferencePair(Record):
    """A judged pair as training reads it.

    `label` is the probability that `chosen` is preferred (1.0 = hard label, 0.5 = tie), `weight` scales its loss. `ranking` is
    what the pairs of one ranking share (the comparison's `group`); empty = the pair stands alone. `propensity` is the
    comparison's.
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
    ranking: str = ""
    propensity: float | None = Field(default=None, gt=0.0, le=1.0)
