"""The way into a task type, step by step."""

from __future__ import annotations

from dataclasses import replace

from truing.collect.onboarding.config import OnboardingConfig, Question
from truing.collect.onboarding.steps import Calibration, Qualification, Standing, Step, calibration_passed, grant, next_step

QUESTION = Question(text="Which?", choices=("a", "b"), right=1, explanation="Because.")
CONFIG = OnboardingConfig(questions=(QUESTION,), calibration_items=10, calibration_pass_mark=0.7)
NOW = 1_000_000.0
READY = Standing(consented=True, guideline_confirmed=True, quiz_passed=True)


def test_the_steps_come_in_order():
    standing = Standing()
    assert next_step(CONFIG, standing, NOW) is Step.CONSENT
    standing = replace(standing, consented=True)
    assert next_step(CONFIG, standing, NOW) is Step.GUIDELINE
    standing = replace(standing, guideline_confirmed=True)
    assert next_step(CONFIG, standing, NOW) is Step.QUIZ
    standing = replace(standing, quiz_passed=True)
    assert next_step(CONFIG, standing, NOW) is Step.CALIBRATION
    standing = replace(standing, calibration=Calibration(answered=10, right=7))
    assert next_step(CONFIG, standing, NOW) is Step.QUALIFIED


def test_seven_of_ten_pass_and_six_do_not():
    assert calibration_passed(CONFIG, Calibration(answered=10, right=7))
    assert not calibration_passed(CONFIG, Calibration(answered=10, right=6))
    assert not calibration_passed(CONFIG, Calibration(answered=9, right=9))


def test_when_attempts_are_used_up_a_lead_decides():
    assert next_step(CONFIG, replace(READY, quiz_passed=False, quiz_attempts=3), NOW) is Step.LEAD
    failed = Calibration(answered=10, right=2)
    assert next_step(CONFIG, replace(READY, calibration=failed), NOW) is Step.CALIBRATION
    assert next_step(CONFIG, replace(READY, calibration=replace(failed, attempts=2)), NOW) is Step.LEAD


def test_a_campaign_may_ask_for_nothing_but_consent_and_guideline():
    bare = OnboardingConfig(calibration_items=0)
    assert next_step(bare, Standing(consented=True, guideline_confirmed=True), NOW) is Step.QUALIFIED


def test_a_qualification_runs_out_and_can_be_asked_for_again():
    granted = grant(CONFIG, NOW)
    assert granted == Qualification("granted", NOW, NOW + 90 * 86_400)
    early = replace(READY, quiz_passed=False, qualification=granted)
    assert next_step(CONFIG, early, NOW + 90 * 86_400 - 1) is Step.QUALIFIED
    assert next_step(CONFIG, early, NOW + 90 * 86_400) is Step.QUIZ
    assert next_step(CONFIG, replace(early, qualification=replace(granted, status="revoked")), NOW) is Step.QUIZ


def test_a_new_guideline_is_read_first_also_by_the_qualified():
    assert next_step(CONFIG, replace(READY, guideline_confirmed=False, qualification=grant(CONFIG, NOW)), NOW) is Step.GUIDELINE
