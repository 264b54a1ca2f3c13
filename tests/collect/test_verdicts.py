"""What answers say."""

from __future__ import annotations

import pytest

from truing.collect.answers import CritiqueAnswer, PairAnswer, RankingAnswer, ScalesAnswer
from truing.collect.verdicts import agrees, left_won, parse, verdict

FIRST = PairAnswer(choice="first", margin=2)
TIE = PairAnswer(choice="tie", margin=0)
WORDS = CritiqueAnswer(text="fine")


def scales(*scores):
    return ScalesAnswer(scores=tuple({"help": s} for s in scores))


def test_a_verdict_is_the_first_part_that_compares():
    assert verdict([WORDS, FIRST]) == "first"
    assert verdict([TIE]) == "tie"
    assert verdict([RankingAnswer(ranks=(2, 1, 2))]) == "2>1=3"
    assert verdict([scales(1, 4)]) == "2>1"
    assert verdict([scales(3, 3)]) == "tie"
    assert verdict([WORDS]) == ""


@pytest.mark.parametrize(("order", "won"), [((0, 1), True), ((1, 0), False)])
def test_the_left_side_wins_by_what_stood_there(order, won):
    assert left_won([FIRST], order) is won
    assert left_won([RankingAnswer(ranks=(1, 2))], order) is won
    assert left_won([TIE], order) is None


def test_a_ranking_of_three_has_no_left_side():
    assert left_won([RankingAnswer(ranks=(1, 2, 3))], (0, 1, 2)) is None


def test_a_pair_is_right_by_its_choice_whatever_the_margin():
    assert agrees([PairAnswer(choice="first", margin=1)], [FIRST]) is True
    assert agrees([TIE], [FIRST]) is False


def test_a_ranking_is_right_where_it_keeps_every_order_of_gold():
    gold = [RankingAnswer(ranks=(1, 2, 2))]
    assert agrees([RankingAnswer(ranks=(1, 2, 3))], gold) is True
    assert agrees([RankingAnswer(ranks=(1, 1, 3))], gold) is False


def test_scores_may_be_one_step_off():
    assert agrees([scales(3, 1)], [scales(4, 1)]) is True
    assert agrees([scales(2, 1)], [scales(4, 1)]) is False


def test_words_cannot_be_marked():
    assert agrees([WORDS], [WORDS]) is None
    assert agrees([WORDS], [FIRST]) is None


def test_a_json_column_becomes_answers():
    assert parse([FIRST.model_dump(mode="json")]) == (FIRST,)
