"""Where a person stands on the way into a task type. Pure: what they have done in, the next step out.

consent -> guideline -> quiz -> calibration -> qualified. A qualification expires, and a lead may ask for it to be earned again;
then quiz and calibration are done afresh. Running out of attempts stops at a lead, never at a machine's verdict.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from truing.collect.onboarding.config import OnboardingConfig
from truing.collect.onboarding.quiz import reaches
from truing.collect.words import DAY_S


class Step(StrEnum):
    """What a person has to do next."""

    CONSENT = "consent"
    GUIDELINE = "guideline"
    QUIZ = "quiz"
    CALIBRATION = "calibration"
    LEAD = "lead"
    """Attempts are used up: a lead decides."""
    QUALIFIED = "qualified"


@dataclass(frozen=True)
class Qualification:
    """The right to rate a task type, from `decided_at` until `expires_at` (seconds since 1970 UTC) or until a lead revokes it.

    `last_onboarding_id`: the last step done before it was decided.
    """

    status: Literal["granted", "failed", "revoked"]
    decided_at: float
    expires_at: float | None = None
    last_onboarding_id: int = 0

    def is_valid(self, now: float) -> bool:
        """Whether it opens tasks at `now`."""
        return self.status == "granted" and (self.expires_at is None or now < self.expires_at)


@dataclass(frozen=True)
class Calibration:
    """Answers to calibration items in the present attempt, and attempts begun (the present one too)."""

    answered: int = 0
    right: int = 0
    attempts: int = 1


@dataclass(frozen=True)
class Standing:
    """What a person has done for one task type since it was last asked of them."""

    consented: bool = False
    guideline_confirmed: bool = False
    quiz_passed: bool = False
    quiz_attempts: int = 0
    calibration: Calibration = Calibration()
    qualification: Qualification | None = None


def next_step(config: OnboardingConfig, standing: Standing, now: float) -> Step:
    """The step that is open."""
    if not standing.consented:
        return Step.CONSENT
    if not standing.guideline_confirmed:
        return Step.GUIDELINE
    if standing.qualification is not None and standing.qualification.is_valid(now):
        return Step.QUALIFIED
    if config.questions and not standing.quiz_passed:
        return Step.QUIZ if standing.quiz_attempts < config.quiz_attempts else Step.LEAD
    return _calibration_step(config, standing.calibration)


def calibration_passed(config: OnboardingConfig, calibration: Calibration) -> bool:
    """Whether every calibration item is answered and enough of them as gold has it."""
    is_done = calibration.answered >= config.calibration_items
    return is_done and reaches(calibration.right, calibration.answered, config.calibration_pass_mark)


def grant(config: OnboardingConfig, now: float) -> Qualification:
    """A qualification that runs for `valid_days` from `now`."""
    return Qualification("granted", decided_at=now, expires_at=now + config.valid_days * DAY_S)


def _calibration_step(config: OnboardingConfig, calibration: Calibration) -> Step:
    if calibration_passed(config, calibration):
        return Step.QUALIFIED
    is_failed = calibration.answered >= config.calibration_items
    out_of_attempts = is_failed and calibration.attempts >= config.calibration_attempts
    return Step.LEAD if out_of_attempts else Step.CALIBRATION
