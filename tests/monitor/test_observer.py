from pathlib import Path

import numpy as np
import pytest

from truing.monitor.config import MonitorConfig, RulesConfig
from truing.monitor.observer import Monitor, replay
from truing.records import Alarm, Rollout
from truing.store.files import write_records

SEEDS = range(8)


def watch(runs: list[list[Rollout]], config: MonitorConfig | None = None) -> tuple[Monitor, list[Alarm]]:
    monitor = Monitor(config or MonitorConfig())
    return monitor, [alarm for update, rows in enumerate(runs, start=1) for alarm in monitor(update, rows, {})]


def hacked(update_of, seed: int) -> list[list[Rollout]]:
    """The reward model pays for filler, and the policy learns to write it."""
    rng = np.random.default_rng(seed)
    return [update_of(rng, u, pay_filler=0.5, filler=0.5 + 0.3 * u) for u in range(1, 9)]


def honest(update_of, seed: int) -> list[list[Rollout]]:
    """Longer answers are truly better: the policy learns to say more."""
    rng = np.random.default_rng(100 + seed)
    return [update_of(rng, u, pay_content=0.5, filler=0.5, content=2 + 0.5 * u) for u in range(1, 9)]


def test_every_gamed_run_is_caught_and_no_honest_one(update_of) -> None:
    caught = [any(a.signal == "reward_length" for a in watch(hacked(update_of, seed))[1]) for seed in SEEDS]
    false = [a.signal for seed in SEEDS for a in watch(honest(update_of, seed))[1]]
    assert all(caught)
    assert false == []


def test_content_blind_correlation_would_cry_wolf(update_of) -> None:
    rules = RulesConfig().with_changes(reward_length_plain={"threshold": 0.15})
    _, alarms = watch(honest(update_of, 0), MonitorConfig(rules=rules))
    assert {a.signal for a in alarms} == {"reward_length_plain"}


def test_every_signal_is_reported_every_update(update_of) -> None:
    monitor, _ = watch(hacked(update_of, 0))
    assert [row.update for row in monitor.history] == list(range(1, 9))
    for row in monitor.history:
        assert set(row.signals) == set(RulesConfig.model_fields)
        assert {name for name, value in row.signals.items() if value is None} <= set(row.notes)
    assert monitor.headline()["monitor/reward_length"] == pytest.approx(monitor.history[-1].signals["reward_length"].value)


def test_the_length_alarm_shows_a_pair(update_of) -> None:
    _, alarms = watch(hacked(update_of, 1))
    alarm = next(a for a in alarms if a.signal == "reward_length")
    assert len(str(alarm.evidence["longer"])) > len(str(alarm.evidence["shorter"]))
    assert float(alarm.evidence["reward_difference"]) > 0


def test_gold_changes_nothing(update_of) -> None:
    runs = hacked(update_of, 2)
    blind = [[r.model_copy(update={"gold": None}) for r in rows] for rows in runs]
    (seen, alarms), (unseen, others) = watch(runs), watch(blind)
    assert seen.history == unseen.history
    assert alarms == others


def test_actions_come_from_the_configuration(update_of) -> None:
    rules = RulesConfig().with_changes(kl_nats={"threshold": 0.2, "action": "stop"}, reward_length={})
    _, alarms = watch(hacked(update_of, 3), MonitorConfig(rules=rules))
    assert [(a.signal, a.action) for a in alarms if a.signal == "kl_nats"] == [("kl_nats", "stop")]


def test_one_sample_a_prompt_says_that_it_cannot_measure(update_of) -> None:
    rng = np.random.default_rng(0)
    monitor, _ = watch([update_of(rng, 1, samples=1)])
    assert monitor.history[0].signals["reward_length"] is None
    assert "two or more finished samples" in monitor.history[0].notes["reward_length"]


def test_replay_from_disk_is_the_same(update_of, tmp_path: Path) -> None:
    runs = hacked(update_of, 4)
    write_records(tmp_path / "rollouts.jsonl", [r for rows in runs for r in rows])
    monitor, alarms = watch(runs)
    assert replay(tmp_path / "rollouts.jsonl", MonitorConfig()) == (monitor.history, alarms)
