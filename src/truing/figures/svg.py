"""The pieces that plots are made of, as inline SVG: pure functions from numbers to markup.

Every coordinate is a percentage of the plot area, which is the SVG element itself (margins are its CSS margins), so that a
plot reflows to any width while its text and dots keep their size. Colour comes from CSS classes only, so that one markup
serves light, dark and paper, and a page may forbid inline styles.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence

from markupsafe import Markup

from truing.figures.scale import Scale, number


def svg(css: str, title: str, description: str, body: Iterable[Markup]) -> Markup:
    """The frame that screen readers announce by its title and description."""
    key = "plot-" + hashlib.sha256(f"{title}/{description}".encode()).hexdigest()[:8]
    return Markup(
        '<svg class="{css}" role="img" aria-labelledby="{key}-t {key}-d"><title id="{key}-t">{title}</title>'
        '<desc id="{key}-d">{description}</desc>{body}</svg>'
    ).format(css=css, key=key, title=title, description=description, body=Markup("").join(body))


def line(x1: float, y1: float, x2: float, y2: float, css: str) -> Markup:
    """A straight line between two points, in percent."""
    return Markup('<line class="{}" x1="{}%" y1="{}%" x2="{}%" y2="{}%"/>').format(css, x1, y1, x2, y2)


def text(x: float, y: float, dy: float, css: str, words: str) -> Markup:
    """Words at a point in percent, `dy` pixels below it."""
    return Markup('<text class="{}" x="{}%" y="{}%" dy="{}">{}</text>').format(css, x, y, dy, words)


def rect(x: float, y: float, width: float, height: float, css: str, tip: str = "") -> Markup:
    """A rectangle in percent, with a tip that a pointer brings up."""
    return Markup('<rect class="{}" x="{}%" y="{}%" width="{}%" height="{}%">{}</rect>').format(
        css, x, y, width, height, Markup("<title>{}</title>").format(tip) if tip else ""
    )


def curve(xs: Sequence[float], ys: Sequence[float], css: str) -> Markup:
    """A line through points in percent."""
    points = " ".join(f"{x},{y}" for x, y in zip(xs, ys, strict=True))
    return Markup(
        '<svg viewBox="0 0 100 100" preserveAspectRatio="none" class="fill">'
        '<polyline class="curve {}" vector-effect="non-scaling-stroke" points="{}"/></svg>'
    ).format(css, points)


def area(xs: Sequence[float], lows: Sequence[float], highs: Sequence[float], css: str) -> Markup:
    """The room between two lines through the same xs (an interval over time)."""
    edge = [*zip(xs, highs, strict=True), *reversed(list(zip(xs, lows, strict=True)))]
    points = " ".join(f"{x},{y}" for x, y in edge)
    return Markup(
        '<svg viewBox="0 0 100 100" preserveAspectRatio="none" class="fill"><polygon class="area {}" points="{}"/></svg>'
    ).format(css, points)


def dots(xs: Sequence[float], ys: Sequence[float], css: str) -> Markup:
    """Small dots at points in percent."""
    circles = (Markup('<circle class="raw {}" r="2" cx="{}%" cy="{}%"/>').format(css, x, y) for x, y in zip(xs, ys, strict=True))
    return Markup("").join(circles)


def y_axis(scale: Scale, about: int = 4) -> list[Markup]:
    """Grid lines with their labels at left."""
    lines = [line(0, 100 - scale.percent(t), 100, 100 - scale.percent(t), "grid") for t in scale.ticks(about)]
    return lines + [text(0, 100 - scale.percent(t), 4, "tick end left-of", number(t)) for t in scale.ticks(about)]


def frame(x_scale: Scale, y_scale: Scale, x_label: str) -> list[Markup]:
    """Both axes: grid lines, ticks, and the name of the horizontal one."""
    lines = y_axis(y_scale)
    lines += [text(x_scale.percent(t), 100, 18, "tick middle", number(t)) for t in x_scale.ticks(5)]
    lines += [line(0, 100, 100, 100, "axis"), text(50, 100, 38, "label middle", x_label)]
    return lines


def axis_strip(scale: Scale) -> Markup:
    """The tick labels under a column of strips."""
    labels = [text(scale.percent(tick), 0, 12, "tick middle", number(tick)) for tick in scale.ticks()]
    return Markup('<svg class="strip axis" aria-hidden="true">{}</svg>').format(Markup("").join(labels))


def strip(scale: Scale, marks: Iterable[Markup]) -> Markup:
    """One row of a dot plot: marks over the scale's grid. The row's table cells say the numbers, so it is hidden from readers."""
    grid = [line(scale.percent(tick), 0, scale.percent(tick), 100, "grid") for tick in scale.ticks()]
    return Markup('<svg class="strip" aria-hidden="true">{}</svg>').format(Markup("").join([*grid, *marks]))
