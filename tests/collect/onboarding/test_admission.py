"""What is handed out to whom: onboarding, guideline versions, qualifications and exposure, asked at the lease."""

from __future__ import annotations

import pytest
from sqlalchemy import select
from tests.collect.people_world import FIRST, SECOND, add_account, add_campaign, add_items, answer, take

from truing.collect import campaigns
from truing.collect.errors import NotAllowedError
from truing.collect.guidelines import versions
from truing.collect.onboarding import admission
from truing.collect.onboarding.admission import OnboardingError
from truing.collect.onboarding.config import OnboardingConfig, Question
from truing.collect.onboarding.steps import Qualification, Step
from truing.collect.people.config import ExposureConfig
from truing.collect.schema import onboarding, qualification

QUESTION = Question(text="Which?", choices=("a", "b"), right=1, explanation="Because.")
DAY = 86_400.0


def refused(database, campaign_id, rater, now=10.0):
    with pytest.raises(OnboardingError) as caught:
        take(database, campaign_id, rater, now=now)
    return caught.value.step


def did(database, rater, campaign_id, step, now=5.0, **result):
    database.write(lambda c: admission.record_step(c, rater, campaign_id, step, result, now=now))


def calibrate(database, campaign_id, rater, answers, now=100.0):
    """Answer calibration items; each lease is checked to be one."""
    for n, stored in enumerate(answers):
        lease = take(database, campaign_id, rater, now=now + n)
        assert lease.purpose == "calibration"
        answer(database, rater, lease, stored, now=now + n + 0.5)


@pytest.fixture
def rater(database):
    return add_account(database, "r1")


@pytest.fixture
def onboarded(database):
    """A campaign with every step: one question, two calibration items of which one must be right."""
    settings = OnboardingConfig(questions=(QUESTION,), calibration_items=2, calibration_pass_mark=0.5, quiz_attempts=2)
    database.write(lambda c: versions.publish(c, "help", "## Right {#right}\n\nWrong loses.\n", now=1.0))
    campaign_id = add_campaign(database, onboarding=settings, guideline="help")
    add_items(database, campaign_id, 4)
    add_items(database, campaign_id, 5, purpose="calibration")
    return campaign_id


def test_a_campaign_without_guideline_or_onboarding_hands_out_at_once(database, rater):
    campaign_id = add_campaign(database)
    add_items(database, campaign_id, 1)
    assert take(database, campaign_id, rater).purpose == "task"


def test_every_step_comes_before_the_first_item(database, rater, onboarded):
    assert refused(database, onboarded, rater) is Step.CONSENT
    did(database, rater, onboarded, Step.CONSENT)
    assert refused(database, onboarded, rater) is Step.GUIDELINE
    database.write(lambda c: versions.confirm(c, rater, 1, now=5.0))
    assert refused(database, onboarded, rater) is Step.QUIZ
    did(database, rater, onboarded, Step.QUIZ, passed=False)
    assert refused(database, onboarded, rater) is Step.QUIZ
    did(database, rater, onboarded, Step.QUIZ, passed=True)
    calibrate(database, onboarded, rater, [FIRST, SECOND])
    assert take(database, onboarded, rater, now=200.0).purpose == "task"
    with database.read() as c:
        held = c.execute(select(qualification)).mappings().one()
    assert (held["name"], held["status"], held["score"]) == ("pair", "granted", 0.5)


def ready(database, rater, campaign_id):
    did(database, rater, campaign_id, Step.CONSENT)
    did(database, rater, campaign_id, Step.QUIZ, passed=True)
    database.write(lambda c: versions.confirm(c, rater, 1, now=5.0))


def test_a_calibration_item_left_open_comes_again(database, rater, onboarded):
    ready(database, rater, onboarded)
    assert take(database, onboarded, rater).lease_id == take(database, onboarded, rater, now=11.0).lease_id


def test_two_failed_calibrations_end_at_a_lead_who_may_open_the_way_again(database, rater, onboarded):
    ready(database, rater, onboarded)
    calibrate(database, onboarded, rater, [SECOND, SECOND])
    calibrate(database, onboarded, rater, [SECOND, SECOND], now=200.0)
    assert refused(database, onboarded, rater, now=300.0) is Step.LEAD
    database.write(lambda c: admission.decide(c, rater, "pair", Qualification("revoked", decided_at=310.0)))
    assert refused(database, onboarded, rater, now=320.0) is Step.QUIZ


def test_a_clock_set_back_neither_loses_answers_to_calibration_items_nor_counts_old_ones(database, rater, onboarded):
    ready(database, rater, onboarded)
    calibrate(database, onboarded, rater, [SECOND], now=1000.0)
    calibrate(database, onboarded, rater, [SECOND], now=500.0)
    calibrate(database, onboarded, rater, [FIRST], now=200.0)
    assert take(database, onboarded, rater, now=202.0).purpose == "calibration"
    answer(database, rater, take(database, onboarded, rater, now=203.0), FIRST, now=204.0)
    assert take(database, onboarded, rater, now=205.0).purpose == "task"
    with database.read() as c:
        results = c.scalars(select(onboarding.c.result).where(onboarding.c.step == "calibration").order_by(onboarding.c.id)).all()
    assert results == [{"answered": 2, "right": 0, "passed": False}, {"answered": 2, "right": 2, "passed": True}]


def test_a_clock_set_back_after_a_lead_asked_again_does_not_undo_what_is_done_since(database, rater, onboarded):
    ready(database, rater, onboarded)
    calibrate(database, onboarded, rater, [FIRST, FIRST], now=1000.0)
    answer(database, rater, take(database, onboarded, rater, now=1100.0), now=1101.0)
    database.write(lambda c: admission.decide(c, rater, "pair", Qualification("revoked", decided_at=1200.0)))
    did(database, rater, onboarded, Step.QUIZ, now=600.0, passed=True)
    calibrate(database, onboarded, rater, [FIRST, FIRST], now=610.0)
    with database.read() as c:
        row = campaigns.get(c, onboarded)
        assert admission.step_of(c, row, campaigns.config_of(row), rater, now=620.0) is Step.QUALIFIED


def test_when_calibration_items_run_out_nothing_is_handed_out(database, rater, onboarded):
    ready(database, rater, onboarded)
    calibrate(database, onboarded, rater, [SECOND, SECOND])
    calibrate(database, onboarded, rater, [SECOND], now=200.0)
    add = take(database, onboarded, rater, now=210.0)
    answer(database, rater, add, SECOND, now=211.0)
    database.write(lambda c: admission.decide(c, rater, "pair", Qualification("revoked", decided_at=310.0)))
    did(database, rater, onboarded, Step.QUIZ, now=311.0, passed=True)
    calibrate(database, onboarded, rater, [FIRST], now=320.0)
    assert take(database, onboarded, rater, now=330.0) is None


def test_a_failed_calibration_is_written_down_when_the_rater_looks(database, rater, onboarded):
    ready(database, rater, onboarded)
    calibrate(database, onboarded, rater, [SECOND] * 4)

    def look(c):
        row = campaigns.get(c, onboarded)
        return admission.advance(c, row, campaigns.config_of(row), rater, now=300.0)

    assert database.write(look) is Step.LEAD
    with database.read() as c:
        assert c.execute(select(qualification.c.status, qualification.c.score)).all() == [("failed", 0.0)]


def test_a_qualification_holds_for_other_campaigns_of_the_type_and_runs_out(database, rater):
    settings = OnboardingConfig(calibration_items=3, valid_days=2)
    campaign_id = add_campaign(database, onboarding=settings)
    add_items(database, campaign_id, 2)
    did(database, rater, campaign_id, Step.CONSENT)
    database.write(lambda c: admission.decide(c, rater, "pair", Qualification("granted", 0.0, expires_at=2 * DAY)))
    assert take(database, campaign_id, rater, now=DAY).purpose == "task"
    other = add_account(database, "r2")
    did(database, other, campaign_id, Step.CONSENT)
    database.write(lambda c: admission.decide(c, other, "pair", Qualification("granted", 0.0, expires_at=2 * DAY)))
    assert take(database, campaign_id, other, now=2 * DAY) is None


def test_a_new_guideline_version_stops_new_items_and_not_the_one_in_hand(database, rater):
    one = database.write(lambda c: versions.publish(c, "help", "## Right {#right}\n\nWrong loses.\n", now=1.0))
    campaign_id = add_campaign(database, guideline="help")
    add_items(database, campaign_id, 3)
    database.write(lambda c: versions.confirm(c, rater, one.guideline_id, now=2.0))
    lease = take(database, campaign_id, rater)
    two = database.write(lambda c: versions.publish(c, "help", "## Right {#right}\n\nWrong never wins.\n", now=12.0, after=1))
    assert take(database, campaign_id, rater, now=13.0).lease_id == lease.lease_id
    answer(database, rater, lease, now=14.0)
    assert refused(database, campaign_id, rater, now=15.0) is Step.GUIDELINE
    database.write(lambda c: versions.confirm(c, rater, two.guideline_id, now=16.0))
    assert take(database, campaign_id, rater, now=17.0) is not None


def test_harmful_items_are_for_those_who_asked_and_only_so_many_a_day(database):
    campaign_id = add_campaign(database, exposure=ExposureConfig(harmful=True, harm_per_day=2))
    add_items(database, campaign_id, 5)
    with pytest.raises(NotAllowedError, match="harmful"):
        take(database, campaign_id, add_account(database, "r1"))
    willing = add_account(database, "r2", settings={"harm_opt_in": True})
    for n in range(2):
        answer(database, willing, take(database, campaign_id, willing, now=10.0 + n), now=10.5 + n)
    with pytest.raises(NotAllowedError, match="enough"):
        take(database, campaign_id, willing, now=20.0)
    assert take(database, campaign_id, willing, now=DAY + 1) is not None
