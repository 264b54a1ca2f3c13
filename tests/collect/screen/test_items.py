"""Leased items read blinded, answers taken back into fields, the guideline with its changes."""

from __future__ import annotations

import pytest
from sqlalchemy import select
from tests.collect.people_world import add_account, answer, take

from truing.collect import judgments
from truing.collect.answers import CritiqueAnswer, PairAnswer, RankingAnswer, RewriteAnswer, ScalesAnswer
from truing.collect.errors import NotFoundError
from truing.collect.guidelines import versions
from truing.collect.schema import guideline
from truing.collect.screen import items


def test_responses_come_in_the_order_of_the_screen(world):
    lease = take(world.database, world.campaign_id, world.rater_id)
    with world.database.read() as connection:
        found, _ = items.blinded(connection, lease)
    stored = ("First answer 0.", "Second answer 0, which is longer.")
    assert found.responses == tuple(stored[i] for i in lease.screen_order)
    assert found.messages[-1].content == "Question task 0?"


def test_nobody_sees_an_item_that_is_not_in_their_hands(world):
    lease = take(world.database, world.campaign_id, world.rater_id)
    other = add_account(world.database, "rater-2")
    with world.database.read() as connection, pytest.raises(NotFoundError):
        items.task(connection, lease.lease_id, other)


def test_the_difference_marks_both_sides(world):
    lease = take(world.database, world.campaign_id, world.rater_id)
    with world.database.read() as connection:
        sides = items.difference(connection, lease.lease_id, world.rater_id)
        texts = [items.response_text(connection, lease.lease_id, world.rater_id, place) for place in (0, 1)]
        with pytest.raises(NotFoundError):
            items.response_text(connection, lease.lease_id, world.rater_id, 2)
    assert all("<mark>" in side for side in sides)
    assert [side.striptags().replace("only here: ", "") for side in sides] == texts


def test_an_answer_taken_back_is_in_its_fields_as_it_stood_on_the_screen(world):
    lease = take(world.database, world.campaign_id, world.rater_id)
    answer(world.database, world.rater_id, lease, PairAnswer(choice="second", margin=3), clause="truth", flags=("unsafe",))
    world.database.write(lambda c: judgments.undo(c, world.rater_id, lease.lease_id, "undo-key-1", now=30.0))
    with world.database.read() as connection:
        draft = items.task(connection, lease.lease_id, world.rater_id).draft
    side = "first" if lease.screen_order[0] == 1 else "second"
    assert draft == {"fields": {"pair": f"{side}:3", "flag": ["unsafe"], "clause": "truth"}, "active_s": 5.0}


def test_every_kind_of_answer_has_its_fields():
    answers = (
        PairAnswer(choice="tie", margin=0, both_bad=True),
        RankingAnswer(ranks=(2, 1)),
        ScalesAnswer(scores=({"tone": 3}, {"tone": 0})),
        CritiqueAnswer(text="whole", of_responses=("one", "two")),
        RewriteAnswer(of=1, text="better"),
    )
    assert items.fields_of(answers) == {
        "pair": "tie:bad",
        "rank-0": "2",
        "rank-1": "1",
        "score-0-tone": "3",
        "score-1-tone": "0",
        "critique": "whole",
        "critique-0": "one",
        "critique-1": "two",
        "rewrite": "better",
        "rewrite-of": "1",
    }


def test_the_guideline_shows_what_changed_since_it_was_last_confirmed(world):
    reader = add_account(world.database, "rater-of-the-first")
    with world.database.read() as connection:
        first = connection.scalar(select(guideline.c.id).where(guideline.c.version == 1))
    world.database.write(lambda c: versions.confirm(c, reader, first, now=4.0))
    with world.database.read() as connection:
        panel = items.guideline_panel(connection, world.campaign_id, reader)
    assert (panel.version, panel.since) == (2, 1)
    assert [(s.clause_id, s.change) for s in panel.sections] == [
        ("", ""),
        ("truth", ""),
        ("length", "changed"),
        ("doubt", "added"),
    ]
    assert "<del>" in panel.sections[2].differing
    assert "<ins>" in panel.sections[2].differing


def test_who_confirmed_nothing_sees_the_guideline_unmarked(world):
    other = add_account(world.database, "rater-2")
    with world.database.read() as connection:
        assert items.guideline_panel(connection, world.campaign_id, other).changes == ()
