"""How a long stage tells whoever watches where it is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol


class Progress(Protocol):
    """Told after each unit of work: how many are done, of how many, and the numbers worth watching."""

    def update(self, done: int, total: int, headline: Mapping[str, float | str]) -> None:
        """Report progress. May raise to stop the stage (Ctrl-C); the stage's checkpoint stays."""


class NullProgress:
    """Watches nothing."""

    def update(self, done: int, total: int, headline: Mapping[str, float | str]) -> None:
        """Do nothing."""
