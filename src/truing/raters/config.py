"""Settings of what is made of judgments, and of the checks of raters. Torch-free."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from truing.config import Config

How = Literal["majority", "dawid_skene", "rater_model"]
"""How judgments become labels (`labels.py`)."""


class ChecksConfig(Config):
    """When a rater is flagged. A flag is a reason to look; nobody is rejected by one."""

    gold_pass_mark: float = Field(default=0.7, gt=0, lt=1)
    """Share of gold that is to be answered right. Flagged once a sequential test says that a rater's is lower."""
    gold_alpha: float = Field(default=0.005, gt=0, lt=1)
    repeat_consistency: float = Field(default=0.6, gt=0, lt=1)
    """Share of blind repeats answered as before; flagged where the interval's high end lies below."""
    fast_s: float = Field(default=3.0, ge=0)
    fast_share: float = Field(default=0.2, ge=0)
    """An answer is fast below `fast_s` seconds, or below this share of the rater's own usual time for as much text."""
    fast_answers: float = Field(default=0.05, gt=0, lt=1)
    """Flagged once a sequential test says that a larger share of a rater's answers is fast."""
    fast_alpha: float = Field(default=0.005, gt=0, lt=1)
    left_bet: float = Field(default=0.62, gt=0.5, lt=1)
    """Share of one side that the left-right test bets on; departures below about 0.56 are not reported."""
    left_alpha: float = Field(default=0.008, gt=0, lt=1)
    pattern_bet: float = Field(default=0.75, gt=0.5, lt=1)
    """Share of answers on the same side as the one before, or on the other, that the test for patterns bets on."""
    pattern_alpha: float = Field(default=0.001, gt=0, lt=1)
    most_ties: float = Field(default=0.6, gt=0, lt=1)
    """Flagged once a sequential test says that a rater calls a larger share a tie."""
    ties_alpha: float = Field(default=0.001, gt=0, lt=1)
    duplicate_overlap: int = Field(default=20, ge=2)
    """Comparisons that two raters must share before they are held against each other."""
    duplicate_alpha: float = Field(default=0.01, gt=0, lt=1)
    """Probability of flagging any pair of independent raters, over all pairs."""
    drift_alpha: float = Field(default=0.001, gt=0, lt=1)
    """Probability that a constant stream of a constant rater is called a drift."""
    drift_time_factor: float = Field(default=2.0, gt=1)
    """Everybody gets faster with practice: a change in time is reported from this factor on."""
    drift_ties_change: float = Field(default=0.15, gt=0, lt=1)
    """A change in the share of ties is reported from this on."""
    drift_least: int = Field(default=20, ge=8)
    """Judgments before and after a change for it to be looked at."""
