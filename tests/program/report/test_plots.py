"""Plots: scales, smoothing, and where things are put."""

from __future__ import annotations

import pytest

from truing.program.report import plots
from truing.program.report.model import Trajectory, UpdatePoint
from truing.records import Alarm, Estimate


def test_a_scale_puts_its_ends_at_0_and_100_and_clips():
    scale = plots.Scale(-1.0, 3.0)
    assert [scale.percent(v) for v in (-1, 0, 3, 9, -9)] == [0, 25, 100, 100, 0]


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [
        (0, 1, [0, 0.25, 0.5, 0.75, 1]),
        (-0.3, 2.2, [0, 1, 2]),
        (0, 17, [0, 5, 10, 15]),
        (-0.004, 0.004, [-0.004, -0.002, 0, 0.002, 0.004]),
    ],
)
def test_ticks_are_round(low, high, ticks):
    assert plots.Scale(low, high).ticks() == pytest.approx(ticks)


def test_a_scale_over_one_value_or_none_is_usable():
    assert plots.Scale.covering([]) == plots.Scale(0, 1)
    one = plots.Scale.covering([2.0])
    assert one.low < 2 < one.high
    assert plots.Scale.covering([float("nan"), 1.0, 2.0]).low == pytest.approx(0.94)


def test_smoothing_by_hand():
    assert plots.smooth([0, 3, 6, 9], 3) == [1.5, 3, 6, 7.5]
    assert plots.smooth([5, 1], 1) == [5, 1]


def test_root_kl_takes_noise_below_zero_as_zero():
    assert plots.root_kl(-0.01) == 0
    assert plots.root_kl(9) == 3


def test_an_interval_is_drawn_from_low_to_high():
    strip = plots.interval_strip(Estimate(value=0.5, low=0.25, high=0.75, n=4), plots.RATES, "sft", reference=0.1)
    assert '<line class="interval p-sft" x1="25.0%" y1="50%" x2="75.0%" y2="50%"/>' in strip
    assert 'class="reference" x1="10.0%"' in strip
    assert "mark" not in plots.interval_strip(None, plots.RATES, "sft")


def test_goodhart_marks_the_peak_and_the_alarms():
    points = tuple(UpdatePoint(update=u, kl_nats=u, proxy=u / 4, gold=-abs(u - 2)) for u in range(1, 5))
    trajectory = Trajectory(points=points, smoothing_updates=1, gold_peak_update=2)
    alarm = Alarm(update=3, signal="kl_nats", value=1, threshold=1, message="<b>", action="stop")
    drawn = plots.goodhart(trajectory, [alarm], plots.reward_scale([trajectory]), "title")
    assert "gold peak" in drawn
    assert drawn.count("alarm-flag") == 1
    assert "gold peaked at update 2" in drawn
    assert "<b>" not in plots.timeline([alarm], 4, 2, "title")
