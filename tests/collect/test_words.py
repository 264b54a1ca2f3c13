"""Numbers, times and amounts as pages say them."""

from __future__ import annotations

import pytest

from truing.collect.words import count, duration, interval, percent, when
from truing.records import Estimate


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(None, "—"), (41.4, "41 s"), (89, "89 s"), (360, "6 min"), (12_000, "3 h 20 min"), (7_200, "2 h"), (345_600, "4 days")],
)
def test_durations(seconds, said):
    assert duration(seconds) == said


def test_times_carry_their_zone():
    assert when(86_400.0 * 31 + 7_500) == '<time datetime="1970-02-01T02:05:00+00:00">1 Feb 1970, 02:05 UTC</time>'
    assert when(None) == "—"


def test_shares_have_their_interval_and_n():
    assert percent(0.8125) == "81%"
    assert percent(None) == "—"
    assert interval(Estimate(value=0.8, low=0.723, high=0.887, n=40)) == "72–89%, n = 40"
    assert interval(None) == "not measured yet"


def test_counts_have_their_noun():
    assert [count(n, "reply", "replies") for n in (1, 2)] == ["1 reply", "2 replies"]
    assert count(1200, "item") == "1,200 items"
