"""What a rater is shown: the scale and its keys, labels that name nobody, only what the tasks ask for."""

from __future__ import annotations

import pytest

from truing.collect.config import Attribute, CritiqueTask, PairTask, RankingTask, RewriteTask, ScalesTask
from truing.collect.screen.view import Blinded, panes, scale, task_view, words_of
from truing.records import Clause, Message


def blinded(*responses):
    return Blinded("lease-1", (Message(role="system", content="Be brief."), Message(role="user", content="*Why*?")), responses)


def test_the_usual_scale_has_seven_places_with_the_tie_in_the_middle():
    steps = scale(PairTask())
    assert [(s.key, s.choice, s.margin) for s in steps] == [
        (1, "first", 3),
        (2, "first", 2),
        (3, "first", 1),
        (4, "tie", 0),
        (5, "second", 1),
        (6, "second", 2),
        (7, "second", 3),
    ]
    assert [s.spoken for s in steps][::6] == ["Left much better", "Right much better"]


@pytest.mark.parametrize(("count", "keys"), [(1, [1, 3]), (2, [1, 2, 4, 5]), (4, [1, 2, 3, 4, 6, 7, 8, 9])])
def test_without_ties_the_middle_key_stays_free(count, keys):
    assert [s.key for s in scale(PairTask(steps_each_side=count, tie=False))] == keys


def test_panes_are_named_by_their_place_alone():
    assert [p.label for p in panes(("a", "b"))] == ["Left", "Right"]
    assert [p.label for p in panes(("a", "b", "c"))] == ["Answer 1", "Answer 2", "Answer 3"]
    assert [p.label for p in panes(("a",))] == ["Answer"]


def test_a_view_holds_what_the_tasks_ask_for():
    attributes = (Attribute(name="helpfulness"),)
    view = task_view(blinded("a", "b"), (PairTask(both_bad=False), ScalesTask(attributes=attributes), CritiqueTask()))
    assert (view.allows_both_bad, view.has_middle, view.attributes, view.ranking, view.rewrite) == (
        False,
        True,
        attributes,
        None,
        None,
    )
    other = task_view(blinded("a", "b", "c"), (RankingTask(), RewriteTask()), flags=("unsafe",))
    assert (other.steps, other.critique, other.ranking, other.flags) == ((), None, RankingTask(), ("unsafe",))


def test_turns_are_rendered_and_say_who_speaks():
    turns = task_view(blinded("a", "b"), (PairTask(),)).turns
    assert [(t.speaker, t.is_user, t.html) for t in turns] == [
        ("System", False, "<p>Be brief.</p>\n"),
        ("User", True, "<p><em>Why</em>?</p>\n"),
    ]


def test_the_guidelines_opening_is_no_clause_to_lean_on():
    clauses = (Clause(clause_id="", title="", body="x"), Clause(clause_id="length", title="Length", body="y"))
    assert [c.clause_id for c in task_view(blinded("a", "b"), (PairTask(),), clauses=clauses).clauses] == ["length"]


def test_names_become_words():
    assert words_of("not_answerable") == "Not answerable"
