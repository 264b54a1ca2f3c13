"""Words and numbers on the page."""

from __future__ import annotations

import pytest

from truing.program.report import page
from truing.program.report.model import Round, RoundAlarm, Trajectory, UpdatePoint
from truing.records import Estimate


@pytest.mark.parametrize(("value", "shown"), [(None, "–"), (-1.234, "−1.23"), (-0.001, "0.00"), (0.5, "0.50")])
def test_numbers_carry_a_true_minus_sign_and_no_negative_zero(value, shown):
    assert page.fixed(value) == shown


def test_an_interval_is_never_left_out():
    assert page.interval(Estimate(value=0.5, low=-0.25, high=1.25, n=3)) == "0.50 [−0.25, 1.25]"
    assert page.interval(None) == "not measured"


def test_a_diff_is_read_line_by_line():
    lines = page.diff_lines("# why\n--- a\n+++ b\n@@ -1 +1 @@\n same\n-old\n+new\n")
    assert [line.kind for line in lines] == ["note", "place", "place", "place", "same", "removed", "added"]


def test_the_story_says_when_gold_peaked_and_when_the_first_alarm_came():
    points = tuple(UpdatePoint(update=u, kl_nats=u, proxy=u / 2, gold=1.0 if u == 2 else 0.0) for u in range(1, 5))
    alarm = RoundAlarm(update=2, signal="reward_length", value=0.4, threshold=0.1, message="", action="log", policy="ppo")
    told = page.story(
        Round(round=1, trajectories={"ppo": Trajectory(points=points, smoothing_updates=1, gold_peak_update=2)}, alarms=(alarm,))
    )
    assert told == [
        "PPO took the proxy reward from 0.50 to 2.00.",
        "Gold was at its highest, 1.00, at update 2, and 0.00 after update 4.",
        "The monitor raised one alarm, at update 2 (reward length).",
    ]


def test_a_round_without_measurements_tells_nothing():
    assert page.story(Round(round=1)) == []
