"""Scales, ticks and smoothing."""

from __future__ import annotations

import pytest

from truing.figures.scale import Scale, smooth


def test_a_scale_puts_its_ends_at_0_and_100_and_clips():
    scale = Scale(-1.0, 3.0)
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
    assert Scale(low, high).ticks() == pytest.approx(ticks)


def test_a_scale_over_one_value_or_none_is_usable():
    assert Scale.covering([]) == Scale(0, 1)
    one = Scale.covering([2.0])
    assert one.low < 2 < one.high
    assert Scale.covering([float("nan"), 1.0, 2.0]).low == pytest.approx(0.94)


def test_smoothing_by_hand():
    assert smooth([0, 3, 6, 9], 3) == [1.5, 3, 6, 7.5]
    assert smooth([5, 1], 1) == [5, 1]


def test_a_scale_for_counts_starts_at_zero():
    assert Scale.from_zero([4, 10]) == Scale(0, 10.8)
    assert Scale.from_zero([]) == Scale(0, 1)
    assert Scale.from_zero([0, 0]) == Scale(0, 1)
