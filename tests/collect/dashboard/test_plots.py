"""Plots of the dashboard: what is drawn where, and the words for those who do not see it."""

from __future__ import annotations

import xml.etree.ElementTree as ET

from truing.collect.dashboard.numbers import Bin, RatePoint
from truing.collect.dashboard.plots import Part, interval_strip, moment, parts_bar, rate_line, throughput_bars
from truing.records import Estimate


def parsed(markup):
    return ET.fromstring(str(markup))


def test_a_bar_an_hour_and_none_for_an_empty_one():
    drawn = throughput_bars([Bin(0, 5), Bin(3600, 0), Bin(7200, 10)], 3600, "Throughput")
    bars = list(parsed(drawn).iter("rect"))
    assert [(b.get("x"), b.get("height")) for b in bars] == [("3.333%", "46.296%"), ("70.0%", "92.593%")]
    assert "15 judgments in all; most, 10, from 02:00" in drawn


def test_an_empty_campaign_draws_too():
    assert "No judgment yet" in throughput_bars([Bin(0, 0)], 3600, "Throughput")
    assert "Nothing measured yet" in rate_line([RatePoint(0, None)], 86_400, "Gold")


def test_a_line_breaks_where_nothing_was_measured():
    some = Estimate(value=0.75, low=0.6, high=0.9, n=8)
    drawn = rate_line([RatePoint(0, some), RatePoint(86_400, None), RatePoint(172_800, some)], 86_400, "Gold", mark=0.7)
    root = parsed(drawn)
    assert len(list(root.iter("polyline"))) == 2
    assert 'class="reference"' in drawn
    assert "1 Jan: 0.750 [0.600, 0.900] n=8; 3 Jan" in drawn


def test_parts_fill_the_bar():
    drawn = parts_bar([Part("done", "done", 3), Part("waiting", "open", 1)], "Queue")
    assert [(r.get("x"), r.get("width")) for r in parsed(drawn).iter("rect")][1:] == [("0.0%", "75.0%"), ("75.0%", "25.0%")]
    assert "done: 3; waiting: 1" in drawn


def test_a_strip_is_hidden_from_readers_that_have_the_cells():
    strip = interval_strip(Estimate(value=0.5, low=0.25, high=0.75, n=4), reference=0.5)
    assert parsed(strip).get("aria-hidden") == "true"
    assert 'x1="25.0%"' in strip


def test_days_are_named_by_date_and_hours_by_the_clock():
    assert moment(3600 * 26, 86_400) == "2 Jan"
    assert moment(3600 * 26, 3_600) == "02:00"
