from truing.monitor.alarms import RuleState, step
from truing.monitor.config import RuleConfig
from truing.records import Alarm, Estimate


def raised_at(rule: RuleConfig, lows: list[float | None]) -> list[int]:
    state, updates = RuleState(), []
    for update, low in enumerate(lows, start=1):
        estimate = None if low is None else Estimate(value=low + 0.1, low=low, high=low + 0.2, n=40)
        state, alarm = step(rule, state, "reward_length", update, estimate)
        if alarm is not None:
            updates.append(alarm.update)
    return updates


RULE = RuleConfig(threshold=0.2, consecutive=2, action="stop")


def test_it_takes_updates_in_a_row() -> None:
    assert raised_at(RULE, [0.3, 0.1, 0.3, 0.1, 0.3]) == []
    assert raised_at(RULE, [0.3, 0.3]) == [2]


def test_once_raised_it_stays_quiet_until_it_was_below_as_long() -> None:
    assert raised_at(RULE, [0.3] * 6) == [2]
    assert raised_at(RULE, [0.3, 0.3, 0.1, 0.3, 0.3]) == [2]
    assert raised_at(RULE, [0.3, 0.3, 0.1, 0.1, 0.3, 0.3]) == [2, 6]


def test_it_repeats_where_asked() -> None:
    assert raised_at(RULE.with_changes(repeat_every=3), [0.3] * 9) == [2, 5, 8]


def test_a_missing_measurement_neither_counts_nor_clears() -> None:
    assert raised_at(RULE, [0.3, None, 0.3]) == [3]


def test_without_a_threshold_it_is_context() -> None:
    assert raised_at(RuleConfig(), [9.0] * 9) == []


def test_the_alarm_carries_its_evidence() -> None:
    _, alarm = step(RULE.with_changes(consecutive=1), RuleState(), "kl_nats", 7, Estimate(value=1, low=0.5, high=2, n=9))
    assert alarm == Alarm(
        update=7,
        signal="kl_nats",
        value=1,
        threshold=0.2,
        message="kl_nats is 1.000 [0.500, 2.000] n=9: its low end is above 0.2 for 1 updates in a row",
        action="stop",
        evidence={"low": 0.5, "high": 2.0, "n": 9.0, "updates_above": 1.0},
    )
