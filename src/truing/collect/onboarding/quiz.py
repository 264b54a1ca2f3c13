"""Marking a quiz: each answer with its explanation, right or wrong."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from truing.collect.onboarding.config import OnboardingConfig, Question


@dataclass(frozen=True)
class MarkedAnswer:
    """One question and what was answered; None = left open, which is wrong."""

    question: Question
    chosen: int | None

    @property
    def is_right(self) -> bool:
        """Whether the right choice was taken."""
        return self.chosen == self.question.right


@dataclass(frozen=True)
class MarkedQuiz:
    """A whole attempt."""

    answers: tuple[MarkedAnswer, ...]
    pass_mark: float

    @property
    def right(self) -> int:
        """Right answers."""
        return sum(a.is_right for a in self.answers)

    @property
    def passed(self) -> bool:
        """Whether the share of right answers reaches the mark (compared exactly, in whole answers)."""
        return reaches(self.right, len(self.answers), self.pass_mark)


def mark(config: OnboardingConfig, chosen: Mapping[int, int]) -> MarkedQuiz:
    """Mark an attempt; `chosen` is question number (from 0) -> choice number."""
    answers = tuple(MarkedAnswer(question, chosen.get(number)) for number, question in enumerate(config.questions))
    return MarkedQuiz(answers, config.quiz_pass_mark)


def reaches(right: int, n: int, pass_mark: float) -> bool:
    """Whether right/n >= pass_mark, free of rounding (4 of 5 reaches 0.8)."""
    return right >= pass_mark * n - 1e-9
