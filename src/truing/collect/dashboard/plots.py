"""The dashboard's plots: numbers to SVG, each with its words for those who do not see it. Colours are CSS classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import groupby

from markupsafe import Markup

from truing.collect.dashboard.numbers import Bin, RatePoint
from truing.collect.words import DAY_S
from truing.figures import svg
from truing.figures.scale import RATES, Scale
from truing.records import Estimate

_HALF = Scale(0.5, 1.0)


@dataclass(frozen=True)
class Part:
    """One part of a whole: what it is called, its CSS class, and how many."""

    label: str
    css: str
    count: int


def throughput_bars(bins: Sequence[Bin], step_s: float, title: str) -> Markup:
    """Judgments a step of time, as bars."""
    scale = Scale.from_zero([float(b.count) for b in bins])
    width = 100 / len(bins)
    body = svg.y_axis(scale)
    for n, b in enumerate(bins):
        if b.count:
            height = scale.percent(b.count)
            tip = f"{moment(b.start, step_s)}: {b.count}"
            body.append(svg.rect(round(n * width + 0.1 * width, 3), 100 - height, round(0.8 * width, 3), height, "bar-mark", tip))
    body += _time_axis([b.start for b in bins], step_s)
    total, most = sum(b.count for b in bins), max(bins, key=lambda b: b.count)
    words = f"{total} judgments in all; most, {most.count}, from {moment(most.start, step_s)}" if total else "No judgment yet"
    return svg.svg("plot", title, words, body)


def rate_line(points: Sequence[RatePoint], step_s: float, title: str, *, mark: float | None = None) -> Markup:
    """A share over time: a dot a step, its 95% interval as a band, a break where nothing was measured; `mark` = what is asked."""
    known = [p.estimate for p in points if p.estimate is not None]
    scale = RATES if any(e.low < 0.5 for e in known) else _HALF
    middle = 50 / len(points)
    body = svg.y_axis(scale)
    if mark is not None:
        body.append(svg.line(0, 100 - scale.percent(mark), 100, 100 - scale.percent(mark), "reference"))
    numbered = [(round(n * 2 * middle + middle, 3), p.estimate) for n, p in enumerate(points)]
    for measured, run in groupby(numbered, key=lambda pair: pair[1] is not None):
        if measured:
            body += _run([(x, e) for x, e in run if e is not None], scale)
    body += _time_axis([p.start for p in points], step_s)
    return svg.svg("plot", title, _rate_words(points, step_s), body)


def parts_bar(parts: Sequence[Part], title: str) -> Markup:
    """Parts of a whole along one bar (the queue: done, being answered, waiting)."""
    total = sum(p.count for p in parts) or 1
    body: list[Markup] = [svg.rect(0, 0, 100, 100, "part p-empty")]
    start = 0.0
    for part in parts:
        width = round(100 * part.count / total, 3)
        body.append(svg.rect(start, 0, width, 100, f"part p-{part.css}", f"{part.label}: {part.count}"))
        start = round(start + width, 3)
    return svg.svg("parts", title, "; ".join(f"{p.label}: {p.count}" for p in parts), body)


def interval_strip(estimate: Estimate | None, scale: Scale = RATES, reference: float | None = None) -> Markup:
    """One row of a dot plot: a share with its interval. The row's table cells say the numbers."""
    marks = [svg.line(scale.percent(reference), 0, scale.percent(reference), 100, "reference")] if reference is not None else []
    if estimate is not None:
        marks.append(svg.line(scale.percent(estimate.low), 50, scale.percent(estimate.high), 50, "interval"))
        marks.append(Markup('<circle class="mark" r="4.5" cx="{}%" cy="50%"/>').format(scale.percent(estimate.value)))
    return svg.strip(scale, marks)


def moment(at: float, step_s: float) -> str:
    """A time as its axis names it: the day for days, the hour for less (UTC)."""
    when = datetime.fromtimestamp(at, UTC)
    return f"{when:%-d %b}" if step_s >= DAY_S else f"{when:%H:%M}"


def _run(run: Sequence[tuple[float, Estimate]], scale: Scale) -> list[Markup]:
    """Measured steps in a row, as one band and one line."""
    xs = [x for x, _ in run]
    lows = [100 - scale.percent(e.low) for _, e in run]
    highs = [100 - scale.percent(e.high) for _, e in run]
    values = [100 - scale.percent(e.value) for _, e in run]
    whiskers = [svg.line(x, low, x, high, "interval thin") for x, low, high in zip(xs, lows, highs, strict=True)]
    return [svg.area(xs, lows, highs, "rate"), *whiskers, svg.curve(xs, values, "rate"), svg.dots(xs, values, "rate")]


def _time_axis(starts: Sequence[float], step_s: float) -> list[Markup]:
    every = max(1, -(-len(starts) // 6))
    labels = [
        svg.text(round(100 * (n + 0.5) / len(starts), 3), 100, 18, "tick middle", moment(start, step_s))
        for n, start in enumerate(starts)
        if n % every == 0
    ]
    return [*labels, svg.line(0, 100, 100, 100, "axis")]


def _rate_words(points: Sequence[RatePoint], step_s: float) -> str:
    known = [(p.start, p.estimate) for p in points if p.estimate is not None]
    if not known:
        return "Nothing measured yet"
    return "; ".join(f"{moment(start, step_s)}: {estimate}" for start, estimate in known)
