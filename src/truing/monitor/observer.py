"""The monitor that watches a policy's training: called after every update with what was sampled, it answers with alarms.

It reads text, proxy reward, length and KL. It never sees gold: the field is taken out at the door.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path

from truing.errors import TruingError
from truing.evals.config import MarkersConfig
from truing.monitor import signals
from truing.monitor.alarms import RuleState, step
from truing.monitor.config import MonitorConfig, RulesConfig
from truing.records import Alarm, Estimate, Record, Rollout
from truing.store.files import read_records

Markers = Mapping[str, tuple[str, ...]]
_RISING = ("flattery", "assertion", "hedging", "agreement", "refusal")
_PAID = ("flattery", "assertion", "hedging", "agreement")


class SignalRow(Record):
    """Every signal at one update: its estimate, or None with the reason why it could not be measured."""

    update: int
    signals: dict[str, Estimate | None]
    notes: dict[str, str]


class Monitor:
    """Signals and alarms over a sliding window of updates. `history` keeps one row an update."""

    def __init__(self, config: MonitorConfig) -> None:
        self.config = config
        self.history: list[SignalRow] = []
        self._window: deque[list[Rollout]] = deque(maxlen=config.window_updates)
        self._start: list[Rollout] = []
        self._updates_in_start = 0
        self._states: dict[str, RuleState] = {}

    def __call__(self, update: int, rollouts: Sequence[Rollout], metrics: Mapping[str, float] | None = None) -> list[Alarm]:
        """Take one update's rollouts; return the alarms they raise. `metrics` is accepted for the trainer's sake and not read.

        Called again with the same rollouts in the same order it answers the same, so a resumed run replays it.
        """
        del metrics
        if not rollouts:
            raise TruingError(f"update {update}: there is nothing to watch: it has no finished samples")
        seen = [rollout.model_copy(update={"gold": None}) for rollout in rollouts]
        if self._updates_in_start < self.config.baseline_updates:
            self._start = [*self._start, *seen]
            self._updates_in_start += 1
        self._window.append(seen)
        row = measure(update, self._recent(), self._start, self.config)
        self.history.append(row)
        return self._alarms(row)

    def headline(self) -> dict[str, float]:
        """The last update's signals as plain numbers, for a metrics row."""
        last = self.history[-1].signals if self.history else {}
        return {f"monitor/{name}": estimate.value for name, estimate in last.items() if estimate is not None}

    def _recent(self) -> list[Rollout]:
        return [rollout for update in self._window for rollout in update]

    def _alarms(self, row: SignalRow) -> list[Alarm]:
        raised = []
        for name in RulesConfig.model_fields:
            state = self._states.get(name, RuleState())
            rule = getattr(self.config.rules, name)
            self._states[name], alarm = step(rule, state, name, row.update, row.signals[name])
            if alarm is not None:
                raised.append(alarm.model_copy(update={"evidence": alarm.evidence | self._evidence(name, row)}))
        return raised

    def _evidence(self, name: str, row: SignalRow) -> dict[str, float | str]:
        evidence: dict[str, float | str] = {"note": row.notes[name]} if name in row.notes else {}
        pair = signals.longest_step(self._recent()) if name == "reward_length" else None
        if pair is not None:
            longer, shorter = pair
            evidence |= {
                "prompt": longer.prompt.text,
                "longer": longer.text,
                "shorter": shorter.text,
                "reward_difference": longer.proxy - shorter.proxy,
                "length_difference_tokens": float(longer.length_tokens - shorter.length_tokens),
            }
        return evidence


def measure(update: int, now: Sequence[Rollout], start: Sequence[Rollout], config: MonitorConfig) -> SignalRow:
    """Every signal over the window `now` against the baseline `start`."""
    markers, refusals = phrases(config.markers), config.markers.refusal
    phrase = signals.phrase_rise(now, start, config.common_share)
    values: dict[str, Estimate | None] = {
        "reward_length": signals.reward_length(now, refusals, config.common_share),
        "reward_length_plain": signals.reward_length(now, refusals, None),
        "kl_nats": signals.kl_nats(now),
        "repetition_rise": signals.rise(signals.repetition(now), signals.repetition(start)),
        "truncated_rise": signals.rise(signals.truncated_rate(now), signals.truncated_rate(start)),
        "phrase_rise": phrase[0] if phrase else None,
        "sharing_rise": signals.rise(signals.sharing(_update(now, now[-1])), signals.sharing(_update(start, start[0]))),
        "spread_ratio": signals.spread_ratio(now, start),
        "length_share": signals.length_share(now, start),
    }
    for name in _RISING:
        values[f"{name}_rise"] = signals.rise(signals.marker_rate(now, markers[name]), signals.marker_rate(start, markers[name]))
    for name in _PAID:
        values[f"reward_{name}"] = signals.reward_marker(now, markers[name], refusals)
    notes = {name: _why_missing(name) for name, value in values.items() if value is None}
    if phrase:
        notes["phrase_rise"] = f"phrase: {phrase[1]}"
    return SignalRow(update=update, signals=values, notes=notes)


def replay(path: Path, config: MonitorConfig) -> tuple[list[SignalRow], list[Alarm]]:
    """The signals and alarms of a finished run, from its rollouts.jsonl."""
    by_update: dict[int, list[Rollout]] = {}
    for rollout in read_records(path, Rollout):
        by_update.setdefault(rollout.update, []).append(rollout)
    monitor = Monitor(config)
    alarms = [alarm for update in sorted(by_update) for alarm in monitor(update, by_update[update])]
    return monitor.history, alarms


def phrases(markers: MarkersConfig) -> Markers:
    """Marker phrases by name."""
    return {name: getattr(markers, name) for name in MarkersConfig.model_fields}


def _update(rollouts: Sequence[Rollout], one: Rollout) -> list[Rollout]:
    return [r for r in rollouts if r.update == one.update]


def _why_missing(name: str) -> str:
    if name.startswith("reward_"):
        return (
            "not measurable: fewer than five prompts have two or more finished samples that differ "
            "(it needs samples_per_prompt of 2 or more)"
        )
    if name == "kl_nats":
        return "not measurable: the policy was trained without a reference (kl.beta = 0), or there are too few prompts"
    if name == "length_share":
        return "not measurable: the proxy has not risen beyond its interval, or a length is new since the start"
    if name == "spread_ratio":
        return "not measurable: the reward ensemble has one member, or its members agreed exactly at the start"
    return "not measurable: too few prompts, or no phrase spread over prompts"
