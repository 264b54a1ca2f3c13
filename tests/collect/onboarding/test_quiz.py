"""Marking a quiz, and quizzes that cannot be."""

from __future__ import annotations

import pytest

from truing.collect.onboarding.config import OnboardingConfig, Question, check_clauses
from truing.collect.onboarding.quiz import mark, reaches
from truing.config import validate
from truing.errors import TruingError


def question(right=0, clause=""):
    return Question(text="Which?", choices=("a", "b", "c"), right=right, explanation="Because.", clause=clause)


CONFIG = OnboardingConfig(questions=tuple(question(n % 3) for n in range(5)), quiz_pass_mark=0.8)


def test_four_of_five_pass_and_an_open_answer_is_wrong():
    marked = mark(CONFIG, {0: 0, 1: 1, 2: 2, 3: 0})
    assert [a.is_right for a in marked.answers] == [True, True, True, True, False]
    assert marked.passed
    assert not mark(CONFIG, {0: 0, 1: 1, 2: 2, 3: 1}).passed


@pytest.mark.parametrize("n", range(1, 40))
def test_marks_are_compared_without_rounding(n):
    for tenths in range(11):
        need = -(-n * tenths // 10)
        assert reaches(need, n, tenths / 10)
        assert need == 0 or not reaches(need - 1, n, tenths / 10)


def test_a_right_choice_that_is_not_there_is_refused():
    with pytest.raises(TruingError, match="choices are numbered 0 to 1"):
        validate(Question, {"text": "?", "choices": ["a", "b"], "right": 2, "explanation": "x"}, "quiz")


def test_a_question_about_an_unknown_clause_is_refused():
    config = OnboardingConfig(questions=(question(clause="lenght"),))
    with pytest.raises(TruingError, match="lenght"):
        check_clauses(config, ("length",))
    check_clauses(OnboardingConfig(questions=(question(clause="length"),)), ("length",))
