"""Raters as one HTML page that needs nothing else: their reliability and biases drawn with intervals, flags, advice,
questions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from markupsafe import Markup

from truing.figures.scale import Scale
from truing.figures.svg import axis_strip
from truing.program.report import plots
from truing.program.report.page import frame
from truing.program.workforce import STYLES, UNITS, follow_nothing
from truing.raters.assessment import Assessment, RaterRow
from truing.records import Estimate

MOST_DRAWN = 30
"""Raters in each plot, those with most judgments; the table has all."""


@dataclass(frozen=True)
class RaterPlot:
    """One parameter of every drawn rater on one scale; the dotted line is no bias, or the mean reliability."""

    title: str
    unit: str
    rows: tuple[tuple[str, Estimate], ...]
    scale: Scale
    reference: float

    def strip(self, value: Estimate) -> Markup:
        """The drawn cell of a rater: filled where the interval leaves out the reference, hollow where it does not."""
        is_apart = value.low > self.reference or value.high < self.reference
        return plots.interval_strip(value, self.scale, "ppo" if is_apart else "base", self.reference)

    @property
    def axis(self) -> Markup:
        """The tick labels under the rows."""
        return axis_strip(self.scale)


def render_page(found: Assessment) -> str:
    """The page. Rater ids and messages are escaped, hidden characters shown."""
    environment, style, style_hash = frame()
    ordered = sorted(found.raters, key=lambda row: -row.checks.judgments)
    return environment.get_template("workforce.html.j2").render(
        found=found,
        raters=ordered,
        plots=rater_plots(found, ordered[:MOST_DRAWN]),
        follow_nothing=follow_nothing(found),
        units=UNITS,
        styles={name: STYLES.get(name, name) for name in found.quality_effects},
        style=style,
        style_hash=style_hash,
    )


def rater_plots(found: Assessment, rows: Sequence[RaterRow]) -> list[RaterPlot]:
    """Reliability, pull to the left, and each taste for style."""
    mean = sum(row.reliability.value for row in rows) / len(rows)
    units = {"length": "log-odds a doubling", "markdown": "log-odds a doubling of marks", "agreement": "log-odds"}
    drawn = [
        _plot("Reliability", "log-odds a standard deviation of quality", rows, lambda row: row.reliability, mean),
        _plot("Pull to the left", "log-odds", rows, lambda row: row.position, 0.0),
    ]
    return drawn + [
        _plot(f"Taste for {STYLES.get(name, name)}", units[name], rows, partial(_taste, name), 0.0)
        for name in found.quality_effects
    ]


def _taste(name: str, row: RaterRow) -> Estimate:
    return row.tastes[name]


def _plot(title: str, unit: str, rows: Sequence[RaterRow], value: Callable[[RaterRow], Estimate], reference: float) -> RaterPlot:
    values = tuple((row.rater_id, value(row)) for row in rows)
    ends = [end for _, v in values for end in (v.low, v.high)]
    return RaterPlot(title, unit, values, Scale.covering(ends, include=(reference,)), reference)
