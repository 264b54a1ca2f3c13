"""How comparisons are selected from a pool. Torch-free."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from truing.config import Config

Strategy = Literal["uniform", "ensemble_variance", "large_gap", "fisher_information", "judge_disagreement", "findings_first"]
"""What raters' time is spent on (`strategies.py`)."""


class DrawConfig(Config):
    """How comparisons are drawn from a pool."""

    strategy: Strategy = "uniform"
    """What is preferred (the guide on selection)."""
    uniform_share: float = Field(default=0.15, gt=0, le=1)
    """Share of the probability that goes to all comparisons alike: no comparison is ever out of reach, no weight unbounded."""


class SelectionConfig(DrawConfig):
    """Which comparisons of a pool are to be judged."""

    budget: int = Field(ge=1)
    """Comparisons to select."""
    seed: int = 0
