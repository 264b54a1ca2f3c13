"""The report's plots: pure functions from numbers to SVG, out of the pieces in `figures`."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from markupsafe import Markup, escape

from truing.figures import svg
from truing.figures.scale import Scale, number, smooth
from truing.program.report.model import Trajectory
from truing.records import Alarm, Estimate

Series = tuple[str, list[float], list[float]]
"""(name, a value an update, the same smoothed)."""

_DISC = Markup('<circle class="mark {}" r="4.8"/>')
_SHAPES = {
    "base": Markup('<circle class="mark {}" r="4"/>'),
    "sft": Markup('<rect class="mark {}" x="-4.2" y="-4.2" width="8.4" height="8.4"/>'),
    "dpo": Markup('<path class="mark {}" d="M0-5.6 5.6 0 0 5.6-5.6 0Z"/>'),
}


def dot(x: float, y: float, policy: str) -> Markup:
    """A policy's mark: told apart by shape as well as by colour (base ring, SFT square, PPO disc, DPO diamond)."""
    at = Markup('<svg x="{}%" y="{}%" class="at">{}</svg>')
    return at.format(x, y, _SHAPES.get(policy, _DISC).format(f"p-{policy}"))


def interval_strip(estimate: Estimate | None, scale: Scale, policy: str, reference: float | None = None) -> Markup:
    """One row of a dot plot: the interval as a bar, the value as the policy's mark. The row's table cells say the numbers."""
    marks = [svg.line(scale.percent(reference), 0, scale.percent(reference), 100, "reference")] if reference is not None else []
    if estimate is not None:
        low, high = scale.percent(estimate.low), scale.percent(estimate.high)
        marks.append(svg.line(low, 50, high, 50, f"interval p-{policy}"))
        marks.append(dot(scale.percent(estimate.value), 50, policy))
    return svg.strip(scale, marks)


def accuracy_strip(value: Estimate, marks: Sequence[tuple[float, str]], scale: Scale) -> Markup:
    """A value with its interval among named marks on the same scale (a baseline, a ceiling)."""
    drawn = [svg.line(scale.percent(at), 12, scale.percent(at), 88, f"marker m-{css}") for at, css in marks]
    drawn.append(svg.line(scale.percent(value.low), 50, scale.percent(value.high), 50, "interval p-ppo"))
    drawn.append(dot(scale.percent(value.value), 50, "ppo"))
    return svg.strip(scale, drawn)


def reward_scale(trajectories: Iterable[Trajectory]) -> Scale:
    """One vertical scale for all panels, so that rounds can be compared by eye."""
    points = [p for t in trajectories for p in t.points]
    return Scale.covering([p.proxy for p in points] + [p.gold for p in points if p.gold is not None])


def root_kl(kl_nats: float) -> float:
    """√KL, with the sampling noise of a KL near 0 cut off below 0."""
    return math.sqrt(max(0.0, kl_nats))


def goodhart(trajectory: Trajectory, alarms: Sequence[Alarm], y_scale: Scale, title: str) -> Markup:
    """Proxy and gold reward over √KL to the reference, one dot an update, a moving average as the line.

    The gold peak and every alarm stand where the policy was when they happened.
    """
    points = trajectory.points
    window = trajectory.smoothing_updates
    x_scale = Scale(0.0, 1.04 * max(root_kl(p.kl_nats) for p in points) or 1.0)
    roots = [x_scale.percent(x) for x in smooth([root_kl(p.kl_nats) for p in points], window)]
    raw_roots = [x_scale.percent(root_kl(p.kl_nats)) for p in points]
    body = svg.frame(x_scale, y_scale, "√KL to the reference, √nats")
    at_update = {p.update: x for p, x in zip(points, roots, strict=True)}
    body += _alarm_marks(alarms, at_update)
    proxy = smooth([p.proxy for p in points], window)
    series: list[Series] = [("proxy", [p.proxy for p in points], proxy)]
    gold_values = [p.gold for p in points if p.gold is not None]
    has_gold = len(gold_values) == len(points)
    if has_gold:
        series.append(("gold", gold_values, smooth(gold_values, window)))
    for css, raw, _ in series:
        body.append(svg.dots(raw_roots, [100 - y_scale.percent(v) for v in raw], css))
    for css, _, smoothed in series:
        body.append(svg.curve(roots, [100 - y_scale.percent(v) for v in smoothed], css))
    if has_gold and trajectory.gold_peak_update in at_update:
        body += _peak(trajectory, at_update[trajectory.gold_peak_update], series[-1][2], y_scale)
    for css, _, smoothed in series:
        body.append(svg.text(roots[-1], 100 - y_scale.percent(smoothed[-1]), 4, f"name right-of {css}", css))
    return svg.svg("plot tall", title, _goodhart_words(trajectory, alarms, series), body)


def _peak(trajectory: Trajectory, x: float, gold: Sequence[float], y_scale: Scale) -> list[Markup]:
    index = next(i for i, p in enumerate(trajectory.points) if p.update == trajectory.gold_peak_update)
    y = 100 - y_scale.percent(gold[index])
    ring = Markup('<circle class="peak" r="6.5" cx="{}%" cy="{}%"/>').format(x, y)
    return [ring, svg.text(x, y, -13, "name gold middle", "gold peak")]


def _alarm_marks(alarms: Sequence[Alarm], at_update: dict[int, float]) -> list[Markup]:
    """A dashed line for each update that raised alarms, with a flag on top of the first."""
    updates = sorted({a.update for a in alarms})
    marks = []
    for order, update in enumerate(updates):
        x = at_update.get(update, 0.0)
        marks.append(svg.line(x, 0, x, 100, "alarm-line first" if order == 0 else "alarm-line"))
        marks.append(Markup('<svg x="{}%" y="0" class="at"><path class="alarm-flag" d="M0-5 4.5 3h-9Z"/></svg>').format(x))
    return marks


def _goodhart_words(trajectory: Trajectory, alarms: Sequence[Alarm], series: Sequence[Series]) -> str:
    words = [f"{name} reward from {values[0]:.2f} to {values[-1]:.2f}" for name, _, values in series]
    last = trajectory.points[-1]
    words.append(f"over {len(trajectory.points)} updates, KL at the end {last.kl_nats:.1f} nats")
    if trajectory.gold_peak_update is not None:
        words.append(f"gold peaked at update {trajectory.gold_peak_update}")
    words.append(f"{len(alarms)} alarms" if alarms else "no alarm")
    return "; ".join(words)


def _lane(alarm: Alarm) -> str:
    """The family of a signal, as words: all reward-model tests share a lane."""
    return alarm.signal.partition(":")[0].replace("_", " ")


def timeline(alarms: Sequence[Alarm], updates: int, peak: int | None, title: str) -> Markup:
    """Alarms over updates, one lane a signal, the gold peak as a line through all of them. Lanes are 36 px high."""
    signals = list(dict.fromkeys(_lane(a) for a in sorted(alarms, key=lambda a: a.update)))
    scale = Scale(0, max(1, updates))
    lanes = len(signals)
    body: list[Markup] = []
    if peak is not None:
        x = scale.percent(peak)
        body += [svg.line(x, 0, x, 100, "peak-line"), svg.text(x, 0, -8, "name gold middle", "gold peak")]
    for lane, signal in enumerate(signals):
        y = round(100 * (lane + 0.5) / lanes, 3)
        body.append(svg.line(0, y, 100, y, "lane"))
        body.append(svg.text(0, y, -8, "label", f"{signal} ({sum(_lane(a) == signal for a in alarms)})"))
        for alarm in (a for a in alarms if _lane(a) == signal):
            tip = escape(f"update {alarm.update}: {alarm.message}")
            body.append(
                Markup('<circle class="alarm a-{}" r="5" cx="{}%" cy="{}%"><title>{}</title></circle>').format(
                    alarm.action.replace("_", "-"), scale.percent(alarm.update), y, tip
                )
            )
    body += [svg.text(scale.percent(t), 100, 18, "tick middle", number(t)) for t in scale.ticks(6)]
    body += [svg.line(0, 100, 100, 100, "axis"), svg.text(50, 100, 38, "label middle", "policy update")]
    words = "; ".join(f"{signal}: {sum(_lane(a) == signal for a in alarms)}" for signal in signals)
    return svg.svg(f"plot lanes lanes-{min(lanes, 12)}", title, f"Alarms raised by signal: {words or 'none'}", body)
