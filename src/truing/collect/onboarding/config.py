"""What a person does before rating, and how long it counts: consent, quiz, calibration, pass marks."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from truing.config import Config
from truing.errors import TruingError


class Question(Config):
    """One quiz question. `right` is the place of the right choice, from 0; `clause` is the guideline clause it asks about."""

    text: str = Field(min_length=1)
    choices: tuple[str, ...] = Field(min_length=2, max_length=8)
    right: int = Field(ge=0)
    explanation: str = Field(min_length=1)
    clause: str = ""

    @model_validator(mode="after")
    def _right_is_a_choice(self) -> Self:
        if self.right >= len(self.choices):
            raise ValueError(f"right = {self.right}, but the choices are numbered 0 to {len(self.choices) - 1}")
        return self


class OnboardingConfig(Config):
    """The way into one task type. Marks are shares of right answers; an empty quiz or 0 calibration items leave that step out."""

    consent: str = (
        "You will read texts written by language models and say which is better. Some may be wrong or unpleasant. Your judgments "
        "are kept under a pseudonym and used to train models. You may stop at any time and ask for your data or its erasure."
    )
    questions: tuple[Question, ...] = ()
    quiz_pass_mark: float = Field(default=0.8, ge=0.0, le=1.0)
    quiz_attempts: int = Field(default=3, ge=1)
    calibration_items: int = Field(default=10, ge=0)
    calibration_pass_mark: float = Field(default=0.7, ge=0.0, le=1.0)
    calibration_attempts: int = Field(default=2, ge=1)
    valid_days: int = Field(default=90, ge=1)
    """Days after which a qualification has to be earned again."""


def check_clauses(config: OnboardingConfig, clauses: tuple[str, ...]) -> None:
    """Raise TruingError where a question asks about a clause that the guideline does not have."""
    unknown = sorted({q.clause for q in config.questions} - {"", *clauses})
    if unknown:
        raise TruingError(
            f"the quiz asks about clauses that the guideline does not have: {', '.join(unknown)} "
            f"(it has: {', '.join(clauses) or 'none'})"
        )
