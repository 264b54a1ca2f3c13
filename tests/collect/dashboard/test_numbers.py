"""The dashboard's numbers, counted by hand."""

from __future__ import annotations

import pytest

from truing.collect.dashboard.numbers import (
    Bin,
    Rated,
    agreement,
    agreement_by_rater,
    drift,
    gold_accuracy,
    hours_to_go,
    left_share,
    median_active_s,
    self_agreement,
    throughput,
    tie_share,
)


def rated(item, rater, verdict="first", at=0.0, **more):
    return Rated(item_id=item, rater_id=rater, judged_at=at, verdict=verdict, **more)


ROWS = [rated(1, "a"), rated(1, "b"), rated(1, "c", "second"), rated(2, "a", "tie"), rated(2, "b", "tie"), rated(3, "a")]


def test_throughput_has_its_empty_steps():
    assert throughput([0, 5, 10, 35, 40, -1], 0, 40, 10) == (Bin(0, 2), Bin(10, 1), Bin(20, 0), Bin(30, 1))


def test_agreement_is_over_pairs_of_raters_of_an_item():
    found = agreement(ROWS)
    assert found is not None
    assert (found.value, found.n) == (pytest.approx(2 / 4), 2)  # item 1: one pair of three; item 2: one of one
    assert agreement([rated(3, "a")]) is None


def test_a_raters_agreement_counts_only_pairs_with_that_rater():
    found = agreement_by_rater(ROWS)
    assert (found["c"].value, found["c"].n) == (0, 1)
    assert "nobody" not in found


def test_a_blind_repeat_is_the_raters_own_agreement_and_nobody_elses():
    again = [*ROWS, rated(1, "a", "second", is_repeat=True), rated(3, "a", is_repeat=True)]
    assert agreement(again) == agreement(ROWS)
    found = self_agreement(again)
    assert found is not None
    assert (found.value, found.n) == (0.5, 2)


def test_gold_sides_and_ties():
    rows = [rated(1, "a", gold_right=True, left=True), rated(2, "a", gold_right=False, left=False), rated(3, "a", "tie")]
    gold, left, ties = gold_accuracy(rows), left_share(rows), tie_share(rows)
    assert gold is not None
    assert (gold.value, gold.n) == (0.5, 2)
    assert left is not None
    assert (left.value, left.n) == (0.5, 2)
    assert ties is not None
    assert ties.value == pytest.approx(1 / 3)
    assert gold_accuracy(ROWS) is None


def test_the_median_time():
    rows = [rated(n, "a", active_s=s) for n, s in enumerate([9.0, 1.0, 4.0, None])]
    assert median_active_s(rows) == 4
    assert median_active_s(rows[:2]) == 5
    assert median_active_s([]) is None


def test_drift_leaves_a_hole_where_no_gold_was_answered():
    rows = [rated(1, "a", at=5, gold_right=True), rated(2, "a", at=25, gold_right=False)]
    first, second, third = drift(rows, 0, 30, 10)
    assert first.estimate is not None
    assert first.estimate.value == 1
    assert second.estimate is None
    assert third.estimate is not None
    assert third.estimate.value == 0


def test_time_to_go_is_at_the_pace_of_the_hours_worked():
    assert hours_to_go(100, [Bin(0, 40), Bin(3600, 0), Bin(7200, 60)], 3600) == 2
    assert hours_to_go(100, [Bin(0, 0)], 3600) is None
