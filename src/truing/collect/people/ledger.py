"""What a rater has earned: so much an hour of active time, plus so much an item. Computed from the judgments themselves.

Nothing here reads what was chosen: pay cannot depend on agreement, on gold or on how a judgment is used later. Time is the
active time of every submission, undone and surplus ones too: it was worked. An item is paid once, however often
its answer is revised; a skip is paid as time.
Amounts are whole millionths of the currency, so that sums are exact.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from decimal import ROUND_CEILING, ROUND_HALF_UP, Decimal

from truing.collect.people.config import PayConfig

MICROS = 1_000_000
_HOUR_S = Decimal(3600)


@dataclass(frozen=True)
class Rates:
    """What a campaign pays, in millionths of `currency`."""

    hourly_micros: int
    per_item_micros: int
    currency: str

    @classmethod
    def of(cls, pay: PayConfig) -> Rates:
        """A campaign's rates as whole millionths."""
        return cls(int(pay.hourly * MICROS), int(pay.per_item * MICROS), pay.currency)


@dataclass(frozen=True)
class Submission:
    """One submission as pay sees it: how long it took, and whether it answers (a skip does not).

    `active_s` is what the browser counted, `elapsed_s` the wall time from lease to submission by the server's clock (None = not
    known). `occasion` tells the blind repeat of an item from its first answer.
    """

    campaign_id: int
    item_id: int
    occasion: int
    day: date
    is_answer: bool
    active_s: float
    elapsed_s: float | None


@dataclass(frozen=True)
class WorkDay:
    """One day's work in one campaign, and what it earned."""

    day: date
    campaign_id: int
    items: int
    paid_s: float
    time_micros: int
    items_micros: int
    currency: str

    @property
    def micros(self) -> int:
        """What the day earned."""
        return self.time_micros + self.items_micros


def paid_seconds(active_s: float, elapsed_s: float | None) -> float:
    """The active seconds a browser reported, at most the time that passed between lease and submission."""
    return active_s if elapsed_s is None else max(0.0, min(active_s, elapsed_s))


def time_pay(seconds: float, rates: Rates) -> int:
    """Millionths earned by `seconds` of active time, rounded to the nearest one."""
    exact = Decimal(rates.hourly_micros) * Decimal(str(seconds)) / _HOUR_S
    return int(exact.quantize(Decimal(1), rounding=ROUND_HALF_UP))


def work_days(submissions: Iterable[Submission], rates: Mapping[int, Rates]) -> tuple[WorkDay, ...]:
    """A line for each day and campaign, newest first. An item counts on the day it was first submitted."""
    seconds: dict[tuple[date, int], float] = defaultdict(float)
    items: dict[tuple[date, int], int] = defaultdict(int)
    paid: set[tuple[int, int, int]] = set()
    for work in sorted(submissions, key=lambda s: s.day):
        key = (work.day, work.campaign_id)
        seconds[key] += paid_seconds(work.active_s, work.elapsed_s)
        piece = (work.campaign_id, work.item_id, work.occasion)
        if work.is_answer and piece not in paid:
            paid.add(piece)
            items[key] += 1
    return tuple(_day(key, items[key], seconds[key], rates[key[1]]) for key in sorted(seconds, reverse=True))


def totals(days: Iterable[WorkDay]) -> dict[str, int]:
    """Millionths earned, by currency."""
    sums: dict[str, int] = defaultdict(int)
    for day in days:
        sums[day.currency] += day.micros
    return dict(sums)


def money(micros: int, currency: str) -> str:
    """An amount as people read it, to the cent; a part of a cent is rounded up, for the rater."""
    cents = (Decimal(micros) / MICROS).quantize(Decimal("0.01"), rounding=ROUND_CEILING)
    return f"{cents} {currency}"


def _day(key: tuple[date, int], items: int, seconds: float, rates: Rates) -> WorkDay:
    day, campaign_id = key
    return WorkDay(
        day=day,
        campaign_id=campaign_id,
        items=items,
        paid_s=seconds,
        time_micros=time_pay(seconds, rates),
        items_micros=items * rates.per_item_micros,
        currency=rates.currency,
    )
