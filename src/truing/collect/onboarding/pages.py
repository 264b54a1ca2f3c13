"""The way into a campaign: one page that shows the step that is open, and a form for each step."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from fastapi import APIRouter
from fastapi.responses import HTMLResponse, RedirectResponse
from sqlalchemy import Connection, RowMapping

from truing.collect import campaigns
from truing.collect.config import CampaignConfig
from truing.collect.errors import ConflictError
from truing.collect.guidelines import versions
from truing.collect.guidelines.diff import ClauseChange, compare
from truing.collect.onboarding import admission
from truing.collect.onboarding.quiz import MarkedQuiz, mark
from truing.collect.onboarding.steps import Standing, Step
from truing.collect.web import Form, Visit, Visitor, whole_number

router = APIRouter()

STEP_NAMES = {
    Step.CONSENT: "Consent",
    Step.GUIDELINE: "Guideline",
    Step.QUIZ: "Quiz",
    Step.CALIBRATION: "Trial items",
    Step.QUALIFIED: "Rate",
}


@dataclass(frozen=True)
class Reading:
    """A guideline version to confirm, and what is new in it since the last one confirmed (None = all of it)."""

    version: versions.Version
    confirmed: versions.Version | None
    changes: tuple[ClauseChange, ...]


@router.get("/campaigns/{campaign_id}/start")
def start(visit: Visitor, campaign_id: int, marked: bool = False) -> HTMLResponse:
    """The step that is open; `marked` shows the last quiz with its explanations."""
    rater_id = visit.account["id"]

    def look(connection: Connection) -> tuple[RowMapping, CampaignConfig, Step]:
        row = campaigns.get(connection, campaign_id)
        config = campaigns.config_of(row)
        return row, config, admission.advance(connection, row, config, rater_id, now=visit.now)

    row, config, step = visit.database.write(look)
    with visit.database.read() as connection:
        standing = admission.standing(connection, row, config, rater_id, now=visit.now)
        reading = _reading(connection, row, rater_id)
        last = admission.last_quiz(connection, campaign_id, rater_id)
    return visit.page(
        "people/start.html",
        campaign=row,
        config=config,
        step=step,
        steps=_steps(config, standing, step),
        standing=standing,
        reading=reading,
        marked=_marked(config, last) if marked or step is Step.LEAD else None,
    )


@router.post("/campaigns/{campaign_id}/consent")
def consent(visit: Visitor, _: Form, campaign_id: int) -> RedirectResponse:
    """The person agrees to the text that was shown; its hash is kept. Opting in to harmful content is a choice of its own."""

    def save(connection: Connection) -> None:
        config = _open(connection, visit, campaign_id, Step.CONSENT)
        assert config.onboarding is not None
        digest = hashlib.sha256(config.onboarding.consent.encode()).hexdigest()
        admission.record_step(connection, visit.account["id"], campaign_id, Step.CONSENT, {"text_hash": digest}, now=visit.now)

    visit.database.write(save)
    return _back(campaign_id)


@router.post("/campaigns/{campaign_id}/guideline")
def confirm_guideline(visit: Visitor, form: Form, campaign_id: int) -> RedirectResponse:
    """The person has read the version that the form names."""
    guideline_id = whole_number(form, "guideline_id")
    visit.database.write(lambda c: versions.confirm(c, visit.account["id"], guideline_id, now=visit.now))
    return _back(campaign_id)


@router.post("/campaigns/{campaign_id}/quiz")
def answer_quiz(visit: Visitor, form: Form, campaign_id: int) -> RedirectResponse:
    """Mark a quiz and keep the attempt."""

    def save(connection: Connection) -> None:
        config = _open(connection, visit, campaign_id, Step.QUIZ)
        assert config.onboarding is not None
        numbers = range(len(config.onboarding.questions))
        chosen = {number: whole_number(form, f"q{number}") for number in numbers if f"q{number}" in form}
        quiz = mark(config.onboarding, chosen)
        result = {"chosen": {str(k): v for k, v in chosen.items()}, "right": quiz.right, "passed": quiz.passed}
        admission.record_step(connection, visit.account["id"], campaign_id, Step.QUIZ, result, now=visit.now)

    visit.database.write(save)
    return RedirectResponse(f"/campaigns/{campaign_id}/start?marked=1", 303)


def _open(connection: Connection, visit: Visit, campaign_id: int, step: Step) -> CampaignConfig:
    """The campaign's settings, if `step` is what is open to the visitor. Raises ConflictError for a form sent twice."""
    row = campaigns.get(connection, campaign_id)
    config = campaigns.config_of(row)
    if admission.step_of(connection, row, config, visit.account["id"], now=visit.now) is not step:
        raise ConflictError("that step is done already. Open the campaign again to see what comes next.")
    return config


def _back(campaign_id: int) -> RedirectResponse:
    return RedirectResponse(f"/campaigns/{campaign_id}/start", 303)


def _reading(connection: Connection, row: RowMapping, rater_id: int) -> Reading | None:
    if row["guideline_id"] is None:
        return None
    version = versions.get(connection, row["guideline_id"])
    confirmed = versions.last_confirmed(connection, rater_id, version.name)
    changes = compare(confirmed.guideline, version.guideline) if confirmed else ()
    return Reading(version, confirmed, changes)


def _steps(config: CampaignConfig, standing: Standing, step: Step) -> list[tuple[str, str]]:
    """(name, "done" | "now" | "later") of each step that the campaign has."""
    order = [Step.CONSENT, Step.GUIDELINE, Step.QUIZ, Step.CALIBRATION, Step.QUALIFIED]
    onboarding = config.onboarding
    has = {
        Step.CONSENT: onboarding is not None,
        Step.GUIDELINE: bool(config.guideline),
        Step.QUIZ: onboarding is not None and bool(onboarding.questions),
        Step.CALIBRATION: onboarding is not None and onboarding.calibration_items > 0,
        Step.QUALIFIED: True,
    }
    at = order.index(step) if step in order else order.index(Step.CALIBRATION if standing.quiz_passed else Step.QUIZ)
    states = ["done" if n < at else "now" if n == at else "later" for n in range(len(order))]
    return [(STEP_NAMES[s], state) for s, state in zip(order, states, strict=True) if has[s]]


def _marked(config: CampaignConfig, last: RowMapping | None) -> MarkedQuiz | None:
    if last is None or config.onboarding is None:
        return None
    return mark(config.onboarding, {int(k): v for k, v in last["result"].get("chosen", {}).items()})
