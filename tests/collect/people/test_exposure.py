"""Caps on harmful content."""

from __future__ import annotations

from truing.collect.people.config import ExposureConfig
from truing.collect.people.exposure import Exposure, day_start, harm_left

CONFIG = ExposureConfig(harm_per_day=5)


def test_nobody_is_given_harmful_items_unasked():
    assert harm_left(CONFIG, Exposure(opted_in=False, seen_today=0)) == 0


def test_a_day_has_its_cap_and_a_rater_may_lower_it_but_not_raise_it():
    assert harm_left(CONFIG, Exposure(opted_in=True, seen_today=2)) == 3
    assert harm_left(CONFIG, Exposure(opted_in=True, seen_today=2, own_cap=2)) == 0
    assert harm_left(CONFIG, Exposure(opted_in=True, seen_today=2, own_cap=50)) == 3
    assert harm_left(CONFIG, Exposure(opted_in=True, seen_today=9)) == 0


def test_the_day_begins_at_midnight_utc():
    assert day_start(86_400 * 3 + 7.5) == 86_400 * 3
    assert day_start(86_400 * 3) == 86_400 * 3
