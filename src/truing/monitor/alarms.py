"""From signals to alarms: thresholds with hysteresis. Pure: a state and a value in, the next state and perhaps an alarm out."""

from __future__ import annotations

from dataclasses import dataclass, replace

from truing.monitor.config import RuleConfig
from truing.records import Alarm, Estimate


@dataclass(frozen=True)
class RuleState:
    """Where one signal stands: updates in a row above and below its threshold, and updates since it was last raised."""

    above: int = 0
    below: int = 0
    since_raised: int | None = None
    """None = armed."""


def step(
    rule: RuleConfig, state: RuleState, signal: str, update: int, estimate: Estimate | None
) -> tuple[RuleState, Alarm | None]:
    """Advance one rule by one update. An update without a measurement leaves the counts as they are."""
    if rule.threshold is None or estimate is None:
        return state, None
    if estimate.low <= rule.threshold:
        below = state.below + 1
        armed = state.since_raised is None or below >= rule.consecutive
        return RuleState(above=0, below=below, since_raised=None if armed else state.since_raised), None
    since = None if state.since_raised is None else state.since_raised + 1
    state = RuleState(above=state.above + 1, below=0, since_raised=since)
    if not _due(rule, state):
        return state, None
    alarm = Alarm(
        update=update,
        signal=signal,
        value=estimate.value,
        threshold=rule.threshold,
        message=f"{signal} is {estimate}: its low end is above {rule.threshold:g} for {state.above} updates in a row",
        action=rule.action,
        evidence={"low": estimate.low, "high": estimate.high, "n": float(estimate.n), "updates_above": float(state.above)},
    )
    return replace(state, since_raised=0), alarm


def _due(rule: RuleConfig, state: RuleState) -> bool:
    if state.since_raised is None:
        return state.above >= rule.consecutive
    return rule.repeat_every is not None and state.since_raised >= rule.repeat_every
