"""How numbers, times and amounts are said on pages."""

from __future__ import annotations

from datetime import UTC, datetime

from markupsafe import Markup

from truing.records import Estimate

MINUTE_S, HOUR_S, DAY_S = 60.0, 3_600.0, 86_400.0


def when(at: float | None) -> Markup:
    """A time (epoch seconds) as `<time>`, to the minute, UTC; a dash where there is none."""
    if at is None:
        return Markup("—")
    moment = datetime.fromtimestamp(at, UTC)
    return Markup('<time datetime="{}">{}</time>').format(moment.isoformat(timespec="seconds"), f"{moment:%-d %b %Y, %H:%M} UTC")


def percent(value: float | None, digits: int = 0) -> str:
    """A share in percent; a dash where it is not known."""
    return "—" if value is None else f"{100 * value:.{digits}f}%"


def interval(estimate: Estimate | None) -> str:
    """The interval and n of a share: "72–89%, n = 40"; what is missing where there is none."""
    if estimate is None:
        return "not measured yet"
    return f"{100 * estimate.low:.0f}–{100 * estimate.high:.0f}%, n = {estimate.n}"


def duration(seconds: float | None) -> str:
    """Seconds as people say them: "41 s", "6 min", "3 h 20 min", "4 days"."""
    if seconds is None:
        return "—"
    if seconds < 1.5 * MINUTE_S:
        return f"{seconds:.0f} s"
    if seconds < HOUR_S:
        return f"{seconds / MINUTE_S:.0f} min"
    if seconds < 2 * DAY_S:
        hours, minutes = divmod(round(seconds / MINUTE_S), 60)
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    return f"{seconds / DAY_S:.0f} days"


def count(number: int, one: str, many: str = "") -> str:
    """A count with its noun: "1 item", "2 items"."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"
