"""A number that is never shown without its interval and its n."""

from __future__ import annotations

from truing.records.base import Record


class Estimate(Record):
    """A value with its 95% interval [low, high] and the number of independent units (prompts, pairs) behind it."""

    value: float
    low: float
    high: float
    n: int

    def __str__(self) -> str:
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}] n={self.n}"
