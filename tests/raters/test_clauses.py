"""Clause statistics, counted by hand."""

from __future__ import annotations

from typing import NamedTuple

import pytest

from truing.raters.clauses import clause_uses, conflicts

GOOD = frozenset({"a", "b", "c"})


class Vote(NamedTuple):
    comparison_id: str
    rater_id: str
    choice: str
    clause: str


def judged(number, rater, choice, clause=""):
    return Vote(str(number), rater, choice, clause)


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
    assert (length.clause_id, length.judgments, length.comparisons, length.split) == ("length", 3, 2, ("1",))
    assert length.agreement is not None
    assert length.agreement.value == pytest.approx(2 / 4)  # item 1: a-c of three pairs, item 2: a-b
    assert length.agreement.n == 2
    assert (right.clause_id, right.judgments, right.comparisons, right.split) == ("right", 3, 2, ("1",))


def test_a_spammer_splits_nothing_and_one_voice_agrees_with_nobody():
    (right,) = clause_uses([j for j in JUDGMENTS if j.comparison_id == "3"], GOOD)
    assert right.split == ()
    assert right.agreement is None


def test_clauses_that_pull_apart_are_paired():
    (conflict,) = conflicts(JUDGMENTS, GOOD)
    assert (conflict.first, conflict.second, conflict.comparisons) == ("length", "right", ("1",))


def test_one_clause_read_in_two_ways_is_a_conflict_with_itself():
    (conflict,) = conflicts([judged(9, "a", "first", "x"), judged(9, "b", "second", "x")], GOOD)
    assert (conflict.first, conflict.second) == ("x", "x")
