"""Clause statistics, counted by hand."""

from __future__ import annotations

import pytest

from truing.collect.guidelines.statistics import LeanedJudgment, clause_uses, conflicts, reliable

GOOD = frozenset({"a", "b", "c"})


def judged(item, rater, choice, clause=""):
    return LeanedJudgment(item_id=item, rater_id=rater, choice=choice, clause_id=clause)


JUDGMENTS = [
    judged(1, "a", "first", "length"),
    judged(1, "b", "second", "right"),
    judged(1, "c", "first"),
    judged(2, "a", "first", "length"),
    judged(2, "b", "first", "length"),
    judged(3, "a", "first", "right"),
    judged(3, "spammer", "second", "right"),
]


def test_agreement_is_between_pairs_of_good_raters_on_the_items_where_a_clause_was_named():
    length, right = clause_uses(JUDGMENTS, GOOD)
    assert (length.clause_id, length.judgments, length.items, length.split_items) == ("length", 3, 2, (1,))
    assert length.agreement is not None
    assert length.agreement.value == pytest.approx(2 / 4)  # item 1: a-c of three pairs, item 2: a-b
    assert length.agreement.n == 2
    assert (right.clause_id, right.judgments, right.items, right.split_items) == ("right", 3, 2, (1,))


def test_a_spammer_splits_nothing_and_one_voice_agrees_with_nobody():
    (right,) = clause_uses([j for j in JUDGMENTS if j.item_id == 3], GOOD)
    assert right.split_items == ()
    assert right.agreement is None


def test_clauses_that_pull_apart_are_paired():
    (conflict,) = conflicts(JUDGMENTS, GOOD)
    assert (conflict.first, conflict.second, conflict.items) == ("length", "right", (1,))


def test_one_clause_read_in_two_ways_is_a_conflict_with_itself():
    (conflict,) = conflicts([judged(9, "a", "first", "x"), judged(9, "b", "second", "x")], GOOD)
    assert (conflict.first, conflict.second) == ("x", "x")


def test_reliable_raters_reach_the_mark():
    assert reliable({"a": 0.8, "b": 0.79}, 0.8) == {"a"}
