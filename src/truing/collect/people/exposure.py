"""Harmful content: nobody sees it who has not asked to, it opens blurred, and a day's share is capped."""

from __future__ import annotations

from dataclasses import dataclass

from truing.collect.people.config import ExposureConfig
from truing.collect.words import DAY_S


@dataclass(frozen=True)
class Exposure:
    """What a person agreed to and has seen today. `own_cap` is a lower cap they set themselves; None = the campaign's."""

    opted_in: bool
    seen_today: int
    own_cap: int | None = None


def harm_left(config: ExposureConfig, exposure: Exposure) -> int:
    """How many more harmful items this person may be given today."""
    if not exposure.opted_in:
        return 0
    cap = config.harm_per_day if exposure.own_cap is None else min(config.harm_per_day, exposure.own_cap)
    return max(0, cap - exposure.seen_today)


def day_start(now: float) -> float:
    """When the day began that caps count in: 00:00 UTC, in seconds since 1970."""
    return now - now % DAY_S
