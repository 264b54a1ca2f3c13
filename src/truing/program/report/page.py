"""The report as one HTML page that needs nothing else: no network, no script, no font but the reader's own."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from truing.collect.rendering.visible import visible
from truing.figures.scale import RATES, Scale, smooth
from truing.figures.svg import axis_strip
from truing.program.report import graph, plots
from truing.program.report.model import PolicyNumbers, Report, RewardNumbers, Round, RoundAlarm, Trajectory
from truing.records import Estimate

POLICY_NAMES = {"base": "base", "sft": "SFT", "ppo": "PPO", "grpo": "GRPO", "rloo": "RLOO", "dpo": "DPO"}
_ORDER = ("base", "sft", "dpo", "ppo", "grpo", "rloo")


@dataclass(frozen=True)
class Row:
    """One line of a dot plot: whose number, and the number."""

    label: str
    policy: str
    estimate: Estimate | None
    is_faint: bool = False


@dataclass(frozen=True)
class DotPlot:
    """A small table of rows on one scale, each with its interval drawn in it."""

    title: str
    rows: tuple[Row, ...]
    scale: Scale
    reference: float | None = None
    unit: str = ""

    def strip(self, row: Row) -> Markup:
        """The drawn cell of a row."""
        return plots.interval_strip(row.estimate, self.scale, row.policy, self.reference)

    @property
    def axis(self) -> Markup:
        """The tick labels under the rows."""
        return axis_strip(self.scale)


@dataclass(frozen=True)
class AccuracyRow:
    """One round's reward model on held-out pairs."""

    label: str
    reward: RewardNumbers
    accuracy: Estimate

    @property
    def marks(self) -> list[tuple[float, str]]:
        """Where the baseline and the ceiling stand."""
        reward = self.reward
        baseline = [(reward.longer_wins.value, "baseline")] if reward.longer_wins else []
        return baseline + ([(reward.noise_ceiling, "ceiling")] if reward.noise_ceiling is not None else [])


@dataclass(frozen=True)
class AccuracyPlot:
    """Every round's reward model on one scale."""

    rows: tuple[AccuracyRow, ...]
    scale: Scale

    @property
    def has_ceiling(self) -> bool:
        """Whether the raters' own noise is known for any round."""
        return any(row.reward.noise_ceiling is not None for row in self.rows)

    def strip(self, row: AccuracyRow) -> Markup:
        """The drawn cell of a row."""
        return plots.accuracy_strip(row.accuracy, row.marks, self.scale)

    @property
    def axis(self) -> Markup:
        """The tick labels under the rows."""
        return axis_strip(self.scale)


class Timeline(NamedTuple):
    """A round's alarms over the updates of one policy's training; without a policy, those before any. No plot, no alarm."""

    round: Round
    policy: str | None
    alarms: tuple[RoundAlarm, ...]
    plot: Markup | None


@dataclass(frozen=True)
class DiffLine:
    """A line of the guideline's diff and what it is."""

    kind: Literal["added", "removed", "place", "note", "same"]
    text: str


class Frame(NamedTuple):
    """What every page is made with: templates, the style, and the hash that alone allows it."""

    environment: Environment
    style: Markup
    style_hash: str


def frame() -> Frame:
    """Templates and style of this room. A page's content security policy allows the style by its hash and refuses all else."""
    environment = Environment(
        loader=PackageLoader("truing.program.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(visible=visible, fixed=fixed, policy=policy_name, words=words, interval=interval)
    style = environment.loader.get_source(environment, "style.css")[0] if environment.loader else ""
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    return Frame(environment, Markup(style), digest)  # noqa: S704 - ours, not a run's


def render(report: Report) -> str:
    """The whole page."""
    environment, style, style_hash = frame()
    return environment.get_template("template.html.j2").render(
        report=report,
        style=style,
        style_hash=style_hash,
        has_gold=any(p.gold is not None for r in report.rounds for t in r.trajectories.values() for p in t.points),
        headline=headline_plots(report),
        panels=goodhart_panels(report),
        attributes=attribute_plots(report, first=True),
        others=attribute_plots(report, first=False),
        attacks=attack_plots(report),
        reward_tests=reward_test_plots(report),
        accuracy=accuracy_plot(report),
        timelines=timelines(report),
        diffs=[(r, diff_lines(r.amendment)) for r in report.rounds if r.amendment],
        graph=graph.lineage_graph(report.lineage),
        story=[(r, story(r)) for r in report.rounds],
    )


def fixed(value: float | None, digits: int = 2) -> str:
    """A number with a true minus sign; a dash where it was not measured."""
    if value is None:
        return "–"
    rounded = round(value, digits) + 0.0  # no minus sign before a zero
    return f"{rounded:.{digits}f}".replace("-", "−")


def interval(estimate: Estimate | None, digits: int = 2) -> str:
    """value [low, high]."""
    if estimate is None:
        return "not measured"
    return f"{fixed(estimate.value, digits)} [{fixed(estimate.low, digits)}, {fixed(estimate.high, digits)}]"


def policy_name(policy: str) -> str:
    """How a policy is called on the page."""
    return POLICY_NAMES.get(policy, policy)


def words(name: str) -> str:
    """An identifier as words."""
    return name.replace("redteam", "red team").replace(":", ": ").replace("_", " ").replace("-", " ")


def policies(report: Report) -> list[tuple[str, PolicyNumbers]]:
    """Every policy once, in the order of the story, labelled with its round. Base and SFT stand for the last round's numbers."""
    shared: dict[str, PolicyNumbers] = {}
    own: list[tuple[str, PolicyNumbers]] = []
    for turn in report.rounds:
        for name in sorted(turn.policies, key=_place):
            if name in {"base", "sft"}:
                shared.setdefault(name, turn.policies[name])
            else:
                own.append((f"Round {turn.round} {policy_name(name)}", turn.policies[name]))
    return [(policy_name(name), shared[name]) for name in sorted(shared, key=_place)] + own


def _place(policy: str) -> tuple[int, str]:
    return (_ORDER.index(policy) if policy in _ORDER else len(_ORDER), policy)


def headline_plots(report: Report) -> list[DotPlot]:
    """Gold (where known), KL and length of every policy; proxy in a run of one round: two reward models share no scale."""
    found = policies(report)
    proxy = [("Proxy reward", "proxy", "sd")] if len(report.rounds) == 1 else []
    plans = [
        ("Gold reward", "gold", ""),
        *proxy,
        ("KL to the reference", "kl_nats", "nats"),
        ("Length", "length_tokens", "tokens"),
    ]
    drawn = []
    for title, name, unit in plans:
        rows = tuple(Row(label, p.policy, getattr(p, name)) for label, p in found)
        if any(row.estimate for row in rows):
            sft = next((row.estimate for row in rows if row.policy == "sft"), None) if name == "gold" else None
            scale = Scale.covering(_ends(rows), include=() if name in {"gold", "proxy"} else (0.0,))
            drawn.append(DotPlot(title, rows, scale, sft.value if sft else None, unit))
    return drawn


def _ends(rows: Iterable[Row]) -> list[float]:
    return [end for row in rows if row.estimate for end in (row.estimate.low, row.estimate.high)]


def attribute_plots(report: Report, *, first: bool) -> list[DotPlot]:
    """One dot plot an attribute: those shown at once, or the others."""
    names = {name for _, p in policies(report) for name in p.attributes if (name in _FIRST) == first}
    return _rate_plots(report, "attributes", sorted(names, key=_importance))


def attack_plots(report: Report) -> list[DotPlot]:
    """One dot plot a red-team mode."""
    return _rate_plots(report, "attacks", sorted({name for _, p in policies(report) for name in p.attacks}))


def _rate_plots(report: Report, table: Literal["attributes", "attacks"], names: Sequence[str]) -> list[DotPlot]:
    """Every policy on each plot. What is no rate (numbers well outside [0, 1]) gets a scale of its own."""
    found = policies(report)
    drawn = []
    for name in names:
        rows = tuple(Row(label, p.policy, getattr(p, table).get(name)) for label, p in found)
        ends = _ends(rows)
        scale = RATES if all(-0.05 <= end <= 1.05 for end in ends) else Scale.covering(ends)
        drawn.append(DotPlot(words(name).capitalize(), rows, scale))
    return drawn


_FIRST = ("correct", "concise", "calibrated", "not_sycophantic", "refuses_right", "refused_unsafe", "refused_benign")
"""What is shown at once, in this order; everything else that was measured stands behind a click."""


def _importance(name: str) -> tuple[int, str]:
    return (_FIRST.index(name) if name in _FIRST else len(_FIRST), name)


def goodhart_panels(report: Report) -> list[tuple[Round, str, Markup]]:
    """One panel a trained policy and round. All share the vertical scale; each spans its own way from the reference."""
    shown = [(r, name, t) for r in report.rounds for name, t in r.trajectories.items() if len(t.points) > 1]
    y_scale = plots.reward_scale([t for _, _, t in shown])
    return [
        (r, name, plots.goodhart(t, r.alarms_of(name), y_scale, f"Round {r.round}: proxy and gold over √KL, {policy_name(name)}"))
        for r, name, t in shown
    ]


def reward_test_plots(report: Report) -> list[DotPlot]:
    """One dot plot a test, one row a round, earlier rounds hollow."""
    rounds = [(r.round, r.reward) for r in report.rounds if r.reward and r.reward.tests]
    names = list(dict.fromkeys(t.test for _, reward in rounds for t in reward.tests))
    drawn = []
    for name in names:
        rows = tuple(
            Row(f"Round {number}", f"round-{index + 1}", test.skew, is_faint=index < len(rounds) - 1)
            for index, (number, reward) in enumerate(rounds)
            for test in reward.tests
            if test.test == name
        )
        drawn.append(DotPlot(words(name).capitalize(), rows, RATES, 0.5))
    return drawn


def accuracy_plot(report: Report) -> AccuracyPlot | None:
    """Held-out accuracy of each round's reward model, among its ceiling and its baseline."""
    measured = [(r, r.reward) for r in report.rounds if r.reward and r.reward.accuracy]
    rows = [AccuracyRow(f"Round {r.round}", reward, reward.accuracy) for r, reward in measured if reward.accuracy]
    if not rows:
        return None
    marks = [at for row in rows for at, _ in row.marks]
    ends = [end for row in rows for end in (row.accuracy.low, row.accuracy.high)]
    return AccuracyPlot(tuple(rows), Scale.covering([*marks, *ends], margin=0.12))


def timelines(report: Report) -> list[Timeline]:
    """Alarms of each round in which there were any, over the updates of each policy that RL trained in it."""
    return [_timeline(turn, policy) for turn in report.rounds if turn.alarms for policy in turn.trajectories or [None]]


def _timeline(turn: Round, policy: str | None) -> Timeline:
    alarms = turn.alarms_of(policy)
    trajectory = turn.trajectories[policy] if policy else None
    updates = max([trajectory.points[-1].update if trajectory else 0, *(a.update for a in alarms)])
    peak = trajectory.gold_peak_update if trajectory else None
    title = f"Alarms in round {turn.round}{f', {policy_name(policy)}' if policy else ''}"
    return Timeline(turn, policy, alarms, plots.timeline(alarms, updates, peak, title) if alarms else None)


def diff_lines(amendment: str | None) -> list[DiffLine]:
    """A unified diff, line by line."""
    return [DiffLine(_kind(line), line) for line in (amendment or "").splitlines()]


def _kind(line: str) -> Literal["added", "removed", "place", "note", "same"]:
    if line.startswith(("+++", "---", "@@")):
        return "place"
    if line.startswith("#"):
        return "note"
    return "added" if line.startswith("+") else "removed" if line.startswith("-") else "same"


def story(turn: Round) -> list[str]:
    """What happened in a round, in sentences made of its numbers only."""
    sentences: list[str] = []
    for name, trajectory in turn.trajectories.items():
        window = trajectory.smoothing_updates
        proxy = smooth([p.proxy for p in trajectory.points], window)
        sentences.append(f"{policy_name(name)} took the proxy reward from {fixed(proxy[0])} to {fixed(proxy[-1])}.")
        sentences += _gold_sentence(trajectory.points[-1].update, trajectory.gold_peak_update, _smoothed_gold(trajectory))
    sentences += _alarm_sentences(turn)
    if turn.policy and turn.policy.gold and turn.sft and turn.sft.gold:
        sentences.append(
            f"On held-out prompts the round's policy scores {interval(turn.policy.gold)} by the gold rule; "
            f"SFT scored {interval(turn.sft.gold)}."
        )
    return sentences


def _smoothed_gold(trajectory: Trajectory) -> dict[int, float]:
    values = [p.gold for p in trajectory.points if p.gold is not None]
    if len(values) != len(trajectory.points):
        return {}
    smoothed = smooth(values, trajectory.smoothing_updates)
    return {p.update: v for p, v in zip(trajectory.points, smoothed, strict=True)}


def _gold_sentence(last: int, peak: int | None, gold: dict[int, float]) -> list[str]:
    if peak is None or not gold:
        return []
    if peak == last:
        return [f"Gold was at its highest, {fixed(gold[last])}, when training ended."]
    return [f"Gold was at its highest, {fixed(gold[peak])}, at update {peak}, and {fixed(gold[last])} after update {last}."]


def _alarm_sentences(turn: Round) -> list[str]:
    """One sentence a policy that RL trained; one in all where none was trained but the tests raised something."""
    names: list[str | None] = [*turn.trajectories] or ([None] if turn.alarms else [])
    return [
        _alarm_sentence(turn.alarms_of(name), f" on {policy_name(name)}" if name and len(names) > 1 else "") for name in names
    ]


def _alarm_sentence(alarms: Sequence[RoundAlarm], where: str) -> str:
    if not alarms:
        return f"The monitor raised no alarm{where}."
    first = min(alarms, key=lambda a: a.update)
    when = "before training began" if first.update == 0 else f"at update {first.update}"
    told = f"{when} ({words(first.signal)})"
    if len(alarms) == 1:
        return f"The monitor raised one alarm{where}, {told}."
    return f"The monitor raised {len(alarms)} alarms{where}, the first {told}."
