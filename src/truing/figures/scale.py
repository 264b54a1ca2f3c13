"""Linear scales with round ticks, and the smoothing of a series."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Scale:
    """A linear scale from [low, high] to 0-100 percent."""

    low: float
    high: float

    @classmethod
    def covering(cls, values: Iterable[float], *, include: Sequence[float] = (), margin: float = 0.06) -> Scale:
        """A scale over all values and a little more; [0, 1] where there are none."""
        found = [v for v in [*values, *include] if math.isfinite(v)]
        if not found:
            return cls(0.0, 1.0)
        low, high = min(found), max(found)
        room = (high - low) * margin or 0.5
        return cls(low - room, high + room)

    @classmethod
    def from_zero(cls, values: Iterable[float]) -> Scale:
        """A scale for counts: from 0 to a little over the largest; [0, 1] where there are none."""
        return cls(0.0, 1.08 * max([v for v in values if math.isfinite(v)], default=0.0) or 1.0)

    def percent(self, value: float) -> float:
        """Position of `value`, kept within the plot."""
        return round(100 * min(1.0, max(0.0, (value - self.low) / (self.high - self.low))), 3)

    def ticks(self, about: int = 4) -> list[float]:
        """Round numbers inside the scale, about that many."""
        step = _round_step((self.high - self.low) / max(1, about))
        first = math.ceil(self.low / step - 1e-9)
        last = math.floor(self.high / step + 1e-9)
        return [round(k * step, 10) for k in range(first, last + 1)]


RATES = Scale(0.0, 1.0)


def _round_step(raw: float) -> float:
    size = 10.0 ** math.floor(math.log10(raw))
    return next((m * size for m in (1, 2, 2.5, 5) if raw <= m * size * (1 + 1e-9)), 10 * size)


def number(value: float) -> str:
    """A tick's label: no trailing zeros, a true minus sign."""
    return f"{value:g}".replace("-", "−")


def smooth(values: Sequence[float], window: int) -> list[float]:
    """Centred moving average; shorter at both ends."""
    half = window // 2
    spans = (values[max(0, i - half) : i + half + 1] for i in range(len(values)))
    return [sum(span) / len(span) for span in spans]
