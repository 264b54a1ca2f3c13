"""Where the report's plots put things."""

from __future__ import annotations

from truing.figures.scale import RATES
from truing.program.report import plots
from truing.program.report.model import Trajectory, UpdatePoint
from truing.records import Alarm, Estimate


def test_root_kl_takes_noise_below_zero_as_zero():
    assert plots.root_kl(-0.01) == 0
    assert plots.root_kl(9) == 3


def test_an_interval_is_drawn_from_low_to_high():
    strip = plots.interval_strip(Estimate(value=0.5, low=0.25, high=0.75, n=4), RATES, "sft", reference=0.1)
    assert '<line class="interval p-sft" x1="25.0%" y1="50%" x2="75.0%" y2="50%"/>' in strip
    assert 'class="reference" x1="10.0%"' in strip
    assert "mark" not in plots.interval_strip(None, RATES, "sft")


def test_goodhart_marks_the_peak_and_the_alarms():
    points = tuple(UpdatePoint(update=u, kl_nats=u, proxy=u / 4, gold=-abs(u - 2)) for u in range(1, 5))
    trajectory = Trajectory(points=points, smoothing_updates=1, gold_peak_update=2)
    alarm = Alarm(update=3, signal="kl_nats", value=1, threshold=1, message="<b>", action="stop")
    drawn = plots.goodhart(trajectory, [alarm], plots.reward_scale([trajectory]), "title")
    assert "gold peak" in drawn
    assert drawn.count("alarm-flag") == 1
    assert "gold peaked at update 2" in drawn
    assert "<b>" not in plots.timeline([alarm], 4, 2, "title")
