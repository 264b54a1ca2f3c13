"""Small plots as inline SVG: pure functions from numbers to markup.

Every coordinate is a percentage of the plot area, which is the SVG element itself (margins are its CSS margins), so that a
plot reflows to any width while its text and dots keep their size. Colour comes from CSS classes only, so that one markup
serves light, dark and paper, and a page may forbid inline styles.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

from truing.program.report.model import Trajectory
from truing.records import Alarm, Estimate


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

    def percent(self, value: float) -> float:
        """Position of `value`, kept within the plot."""
        return round(100 * min(1.0, max(0.0, (value - self.low) / (self.high - self.low))), 3)

    def ticks(self, about: int = 4) -> list[float]:
        """Round numbers inside the scale, about that many."""
        step = _round_step((self.high - self.low) / max(1, about))
        first = math.ceil(self.low / step - 1e-9)
        last = math.floor(self.high / step + 1e-9)
        return [round(k * step, 10) for k in range(first, last + 1)]


Series = tuple[str, list[float], list[float]]
"""(name, a value an update, the same smoothed)."""
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


def _svg(css: str, title: str, description: str, body: Iterable[Markup]) -> Markup:
    """The frame that screen readers announce by its title and description."""
    key = "plot-" + hashlib.sha256(f"{title}/{description}".encode()).hexdigest()[:8]
    return Markup(
        '<svg class="{css}" role="img" aria-labelledby="{key}-t {key}-d"><title id="{key}-t">{title}</title>'
        '<desc id="{key}-d">{description}</desc>{body}</svg>'
    ).format(css=css, key=key, title=title, description=description, body=Markup("").join(body))


def _line(x1: float, y1: float, x2: float, y2: float, css: str) -> Markup:
    return Markup('<line class="{}" x1="{}%" y1="{}%" x2="{}%" y2="{}%"/>').format(css, x1, y1, x2, y2)


def _text(x: float, y: float, dy: float, css: str, text: str) -> Markup:
    return Markup('<text class="{}" x="{}%" y="{}%" dy="{}">{}</text>').format(css, x, y, dy, text)


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
    body = [_line(scale.percent(tick), 0, scale.percent(tick), 100, "grid") for tick in scale.ticks()]
    if reference is not None:
        body.append(_line(scale.percent(reference), 0, scale.percent(reference), 100, "reference"))
    if estimate is not None:
        low, high = scale.percent(estimate.low), scale.percent(estimate.high)
        body.append(_line(low, 50, high, 50, f"interval p-{policy}"))
        body.append(dot(scale.percent(estimate.value), 50, policy))
    return Markup('<svg class="strip" aria-hidden="true">{}</svg>').format(Markup("").join(body))


def axis_strip(scale: Scale) -> Markup:
    """The tick labels under a column of strips."""
    labels = [_text(scale.percent(tick), 0, 12, "tick middle", number(tick)) for tick in scale.ticks()]
    return Markup('<svg class="strip axis" aria-hidden="true">{}</svg>').format(Markup("").join(labels))


def accuracy_strip(value: Estimate, marks: Sequence[tuple[float, str]], scale: Scale) -> Markup:
    """A value with its interval among named marks on the same scale (a baseline, a ceiling)."""
    body = [_line(scale.percent(tick), 0, scale.percent(tick), 100, "grid") for tick in scale.ticks()]
    body += [_line(scale.percent(at), 12, scale.percent(at), 88, f"marker m-{css}") for at, css in marks]
    body.append(_line(scale.percent(value.low), 50, scale.percent(value.high), 50, "interval p-ppo"))
    body.append(dot(scale.percent(value.value), 50, "ppo"))
    return Markup('<svg class="strip" aria-hidden="true">{}</svg>').format(Markup("").join(body))


def _curve(xs: Sequence[float], ys: Sequence[float], css: str) -> Markup:
    points = " ".join(f"{x},{y}" for x, y in zip(xs, ys, strict=True))
    return Markup(
        '<svg viewBox="0 0 100 100" preserveAspectRatio="none" class="fill">'
        '<polyline class="curve {}" vector-effect="non-scaling-stroke" points="{}"/></svg>'
    ).format(css, points)


def _dots(xs: Sequence[float], ys: Sequence[float], css: str) -> Markup:
    circles = (Markup('<circle class="raw {}" r="2" cx="{}%" cy="{}%"/>').format(css, x, y) for x, y in zip(xs, ys, strict=True))
    return Markup("").join(circles)


def _frame(x_scale: Scale, y_scale: Scale, x_label: str) -> list[Markup]:
    lines = [_line(0, 100 - y_scale.percent(t), 100, 100 - y_scale.percent(t), "grid") for t in y_scale.ticks()]
    lines += [_text(0, 100 - y_scale.percent(t), 4, "tick end left-of", number(t)) for t in y_scale.ticks()]
    lines += [_text(x_scale.percent(t), 100, 18, "tick middle", number(t)) for t in x_scale.ticks(5)]
    lines += [_line(0, 100, 100, 100, "axis"), _text(50, 100, 38, "label middle", x_label)]
    return lines


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
    body = _frame(x_scale, y_scale, "√KL to the reference, √nats")
    at_update = {p.update: x for p, x in zip(points, roots, strict=True)}
    body += _alarm_marks(alarms, at_update)
    proxy = smooth([p.proxy for p in points], window)
    series: list[Series] = [("proxy", [p.proxy for p in points], proxy)]
    gold_values = [p.gold for p in points if p.gold is not None]
    has_gold = len(gold_values) == len(points)
    if has_gold:
        series.append(("gold", gold_values, smooth(gold_values, window)))
    for css, raw, _ in series:
        body.append(_dots(raw_roots, [100 - y_scale.percent(v) for v in raw], css))
    for css, _, smoothed in series:
        body.append(_curve(roots, [100 - y_scale.percent(v) for v in smoothed], css))
    if has_gold and trajectory.gold_peak_update in at_update:
        body += _peak(trajectory, at_update[trajectory.gold_peak_update], series[-1][2], y_scale)
    for css, _, smoothed in series:
        body.append(_text(roots[-1], 100 - y_scale.percent(smoothed[-1]), 4, f"name right-of {css}", css))
    return _svg("plot tall", title, _goodhart_words(trajectory, alarms, series), body)


def _peak(trajectory: Trajectory, x: float, gold: Sequence[float], y_scale: Scale) -> list[Markup]:
    index = next(i for i, p in enumerate(trajectory.points) if p.update == trajectory.gold_peak_update)
    y = 100 - y_scale.percent(gold[index])
    ring = Markup('<circle class="peak" r="6.5" cx="{}%" cy="{}%"/>').format(x, y)
    return [ring, _text(x, y, -13, "name gold middle", "gold peak")]


def _alarm_marks(alarms: Sequence[Alarm], at_update: dict[int, float]) -> list[Markup]:
    """A dashed line for each update that raised alarms, with a flag on top of the first."""
    updates = sorted({a.update for a in alarms})
    marks = []
    for order, update in enumerate(updates):
        x = at_update.get(update, 0.0)
        marks.append(_line(x, 0, x, 100, "alarm-line first" if order == 0 else "alarm-line"))
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
        body += [_line(x, 0, x, 100, "peak-line"), _text(x, 0, -8, "name gold middle", "gold peak")]
    for lane, signal in enumerate(signals):
        y = round(100 * (lane + 0.5) / lanes, 3)
        body.append(_line(0, y, 100, y, "lane"))
        body.append(_text(0, y, -8, "label", f"{signal} ({sum(_lane(a) == signal for a in alarms)})"))
        for alarm in (a for a in alarms if _lane(a) == signal):
            tip = escape(f"update {alarm.update}: {alarm.message}")
            body.append(
                Markup('<circle class="alarm a-{}" r="5" cx="{}%" cy="{}%"><title>{}</title></circle>').format(
                    alarm.action.replace("_", "-"), scale.percent(alarm.update), y, tip
                )
            )
    body += [_text(scale.percent(t), 100, 18, "tick middle", number(t)) for t in scale.ticks(6)]
    body += [_line(0, 100, 100, 100, "axis"), _text(50, 100, 38, "label middle", "policy update")]
    words = "; ".join(f"{signal}: {sum(_lane(a) == signal for a in alarms)}" for signal in signals)
    return _svg(f"plot lanes lanes-{min(lanes, 12)}", title, f"Alarms raised by signal: {words or 'none'}", body)
