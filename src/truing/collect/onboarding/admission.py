"""Who may be handed what: asked by `leases` before an item leaves, inside the same transaction.

It looks at what a person has done for the campaign's onboarding, at the guideline version they have confirmed, at their
qualification, and at how much harmful content they have seen today.
"""

from __future__ import annotations

from typing import Any, ClassVar

from sqlalchemy import Connection, RowMapping, func, insert, select, update

from truing.collect.config import CampaignConfig
from truing.collect.errors import NotAllowedError
from truing.collect.guidelines import versions
from truing.collect.onboarding.config import OnboardingConfig
from truing.collect.onboarding.steps import Calibration, Qualification, Standing, Step, grant, next_step
from truing.collect.people import limits
from truing.collect.schema import item, judgment, onboarding, qualification
from truing.collect.verdicts import agrees, parse


class OnboardingError(NotAllowedError):
    """Something has to be read or done first; `step` says what."""

    code: ClassVar[str] = "onboarding"

    def __init__(self, step: Step, message: str) -> None:
        super().__init__(message)
        self.step = step


_MESSAGES = {
    Step.CONSENT: "Before the first item you are asked for your consent.",
    Step.GUIDELINE: "The guideline has changed since you last confirmed it. Read what is new and confirm it; then go on.",
    Step.QUIZ: "A short quiz about the guideline comes first.",
    Step.LEAD: "Your attempts are used up. A lead has been told and will get in touch with you.",
}


def admit(connection: Connection, campaign: RowMapping, config: CampaignConfig, rater_id: int, *, now: float) -> Step:
    """What a rater may be handed now: ordinary items (QUALIFIED) or calibration items (CALIBRATION).

    Raises OnboardingError where something comes first, NotAllowedError where today's share of harmful content is used up.
    """
    step = advance(connection, campaign, config, rater_id, now=now)
    if step in _MESSAGES:
        raise OnboardingError(step, _MESSAGES[step])
    limits.check(connection, config, rater_id, now=now)
    return step


def step_of(connection: Connection, campaign: RowMapping, config: CampaignConfig, rater_id: int, *, now: float) -> Step:
    """The step that is open to a rater; changes nothing."""
    if config.onboarding is None:
        return Step.QUALIFIED if _has_confirmed(connection, campaign, rater_id) else Step.GUIDELINE
    return next_step(config.onboarding, standing(connection, campaign, config, rater_id, now=now), now)


def advance(connection: Connection, campaign: RowMapping, config: CampaignConfig, rater_id: int, *, now: float) -> Step:
    """The same; and what a completed calibration leads to is written down: a qualification, a next attempt, or a lead's turn."""
    if config.onboarding is None:
        return step_of(connection, campaign, config, rater_id, now=now)
    found = standing(connection, campaign, config, rater_id, now=now)
    step = next_step(config.onboarding, found, now)
    name = qualification_name(config)
    if step is Step.QUALIFIED and not (found.qualification and found.qualification.is_valid(now)):
        _finish_attempt(connection, campaign["id"], rater_id, found.calibration, now, passed=True)
        decide(connection, rater_id, name, grant(config.onboarding, now), _score(found.calibration))
    elif step is Step.LEAD and not (found.qualification and found.qualification.status == "failed"):
        _finish_attempt(connection, campaign["id"], rater_id, found.calibration, now, passed=False)
        decide(connection, rater_id, name, Qualification("failed", decided_at=now), _score(found.calibration))
    elif step is Step.CALIBRATION:
        _open_attempt(connection, campaign["id"], config.onboarding, rater_id, found.calibration, now)
    return step


def standing(connection: Connection, campaign: RowMapping, config: CampaignConfig, rater_id: int, *, now: float) -> Standing:
    """What a rater has done for a campaign, since it was last asked of them."""
    held = qualification_of(connection, rater_id, qualification_name(config))
    since = _asked_since(held, now)
    rows = _rows(connection, campaign["id"], rater_id)
    quizzes = [row for row in rows if row["step"] == Step.QUIZ and row["id"] > since]
    attempts = [row for row in rows if row["step"] == Step.CALIBRATION and row["id"] > since]
    return Standing(
        consented=any(row["step"] == Step.CONSENT for row in rows),
        guideline_confirmed=_has_confirmed(connection, campaign, rater_id),
        quiz_passed=any(row["result"]["passed"] for row in quizzes),
        quiz_attempts=len(quizzes),
        calibration=_calibration(connection, campaign["id"], rater_id, attempts),
        qualification=held,
    )


def qualification_name(config: CampaignConfig) -> str:
    """The qualification that a campaign asks for: that of its first task type."""
    return config.tasks[0].type


def qualification_of(connection: Connection, account_id: int, name: str) -> Qualification | None:
    """A person's qualification as it stands."""
    same = (qualification.c.account_id == account_id, qualification.c.name == name)
    row = connection.execute(select(qualification).where(*same)).mappings().one_or_none()
    return None if row is None else Qualification(row["status"], row["decided_at"], row["expires_at"], row["last_onboarding_id"])


def record_step(
    connection: Connection, account_id: int, campaign_id: int, step: Step, result: dict[str, Any], *, now: float
) -> None:
    """Note a step as done (a consent with its text's hash, a quiz with its answers)."""
    row = {"account_id": account_id, "campaign_id": campaign_id, "step": str(step), "result": result}
    connection.execute(insert(onboarding).values(**row, started_at=now, finished_at=now))


def last_quiz(connection: Connection, campaign_id: int, rater_id: int) -> RowMapping | None:
    """A rater's latest attempt at a campaign's quiz."""
    return next((row for row in reversed(_rows(connection, campaign_id, rater_id)) if row["step"] == Step.QUIZ), None)


def decide(connection: Connection, account_id: int, name: str, decided: Qualification, score: float | None = None) -> None:
    """Set a person's qualification: granted, failed, or revoked (to be earned again). `score`: share of gold they had right."""
    values = {"status": decided.status, "decided_at": decided.decided_at, "expires_at": decided.expires_at, "score": score}
    last = select(func.max(onboarding.c.id)).where(onboarding.c.account_id == account_id)
    values["last_onboarding_id"] = connection.scalar(last) or 0
    same = (qualification.c.account_id == account_id, qualification.c.name == name)
    changed = connection.execute(update(qualification).where(*same).values(**values))
    if not changed.rowcount:
        connection.execute(insert(qualification).values(account_id=account_id, name=name, **values))


def _has_confirmed(connection: Connection, campaign: RowMapping, rater_id: int) -> bool:
    guideline_id = campaign["guideline_id"]
    return guideline_id is None or versions.has_confirmed(connection, rater_id, guideline_id)


def _calibration(connection: Connection, campaign_id: int, rater_id: int, attempts: list[RowMapping]) -> Calibration:
    if not attempts:
        return Calibration()
    done = select(judgment.c.answers, item.c.gold).join(item, item.c.id == judgment.c.item_id)
    mine = (judgment.c.rater_id == rater_id, judgment.c.campaign_id == campaign_id, judgment.c.purpose == "calibration")
    current = (judgment.c.is_current, judgment.c.kind == "answer", judgment.c.id > attempts[-1]["last_judgment_id"])
    marks = [agrees(parse(row.answers), parse(row.gold)) for row in connection.execute(done.where(*mine, *current))]
    return Calibration(answered=len(marks), right=sum(mark is True for mark in marks), attempts=len(attempts))


def _open_attempt(
    connection: Connection, campaign_id: int, config: OnboardingConfig, rater_id: int, calibration: Calibration, now: float
) -> None:
    """See that an attempt is open; one that was answered to the end, and not passed, is closed first."""
    if calibration.answered >= config.calibration_items:
        _finish_attempt(connection, campaign_id, rater_id, calibration, now, passed=False)
    if not any(
        row["step"] == Step.CALIBRATION and row["finished_at"] is None for row in _rows(connection, campaign_id, rater_id)
    ):
        row = {"account_id": rater_id, "campaign_id": campaign_id, "step": str(Step.CALIBRATION), "result": {}}
        last = connection.scalar(select(func.max(judgment.c.id))) or 0
        connection.execute(insert(onboarding).values(**row, started_at=now, last_judgment_id=last))


def _finish_attempt(
    connection: Connection, campaign_id: int, rater_id: int, calibration: Calibration, now: float, *, passed: bool
) -> None:
    mine = (onboarding.c.account_id == rater_id, onboarding.c.campaign_id == campaign_id)
    is_open = (onboarding.c.step == str(Step.CALIBRATION), onboarding.c.finished_at.is_(None))
    result = {"answered": calibration.answered, "right": calibration.right, "passed": passed}
    connection.execute(update(onboarding).where(*mine, *is_open).values(result=result, finished_at=now))


def _rows(connection: Connection, campaign_id: int, rater_id: int) -> list[RowMapping]:
    mine = (onboarding.c.account_id == rater_id, onboarding.c.campaign_id == campaign_id)
    return list(connection.execute(select(onboarding).where(*mine).order_by(onboarding.c.id)).mappings())


def _asked_since(held: Qualification | None, now: float) -> int:
    """The step after which attempts count: the last before a lead asked again, or before the qualification that ran out."""
    if held is None or held.status == "failed" or held.is_valid(now):
        return 0
    return held.last_onboarding_id


def _score(calibration: Calibration) -> float | None:
    return calibration.right / calibration.answered if calibration.answered else None
