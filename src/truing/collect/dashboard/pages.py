"""Pages for leads: every campaign, one campaign's dashboard, and the few things that a lead does to it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, get_args

from fastapi import APIRouter
from fastapi.responses import HTMLResponse, RedirectResponse
from sqlalchemy import Connection, RowMapping

from truing.collect import campaigns, leases, sampled
from truing.collect.adjudication import cases
from truing.collect.campaigns import Progress, Status
from truing.collect.config import CampaignConfig
from truing.collect.dashboard import plots
from truing.collect.dashboard.board import board
from truing.collect.dashboard.plots import Part
from truing.collect.people import completion
from truing.collect.web import Form, LeadVisit, Visit, one_of
from truing.collect.words import DAY_S, HOUR_S

router = APIRouter()


@dataclass(frozen=True)
class CampaignLine:
    """A campaign in the list."""

    row: RowMapping
    progress: Progress
    waiting: int
    """Cases for a lead."""

    @property
    def queue(self) -> list[Part]:
        """Where its judgments stand."""
        return queue_parts(self.progress)


@router.get("/lead")
def listed(visit: LeadVisit) -> HTMLResponse:
    """Every campaign with how far it is."""
    with visit.database.read() as connection:
        lines = [
            CampaignLine(row, campaigns.progress(connection, row["id"]), len(cases.waiting(connection, row["id"])))
            for row in campaigns.listed(connection)
        ]
    return visit.page("people/campaigns.html", lines=lines)


@router.get("/lead/campaigns/{campaign_id}")
def dashboard(visit: LeadVisit, campaign_id: int, code: str = "") -> HTMLResponse:
    """A campaign's dashboard; `code` asks whose completion code that is."""
    with visit.database.read() as connection:
        context = _context(connection, visit, campaign_id)
        owner = _owner(connection, visit, campaign_id, context["config"], code)
    return visit.page("people/dashboard.html", **context, code=code, code_owner=owner)


@router.get("/lead/campaigns/{campaign_id}/board")
def refreshed(visit: LeadVisit, campaign_id: int) -> HTMLResponse:
    """The part of the dashboard that changes, for the page to put in place of what it shows."""
    with visit.database.read() as connection:
        context = _context(connection, visit, campaign_id)
    return visit.page("people/board.html", **context)


@router.post("/lead/campaigns/{campaign_id}/status")
def set_status(visit: LeadVisit, form: Form, campaign_id: int) -> RedirectResponse:
    """Pause, resume or close a campaign."""
    status: Status = one_of(form, "status", get_args(Status))
    visit.database.write(lambda c: campaigns.set_status(c, campaign_id, status, now=visit.now, by=visit.account["id"]))
    return RedirectResponse(f"/lead/campaigns/{campaign_id}", 303)


@router.post("/lead/campaigns/{campaign_id}/resample")
def resample(visit: LeadVisit, campaign_id: int) -> RedirectResponse:
    """Have a worker try again what a policy failed to write."""
    visit.database.write(lambda c: sampled.try_again(c, campaign_id, now=visit.now, by=visit.account["id"]))
    return RedirectResponse(f"/lead/campaigns/{campaign_id}", 303)


@router.post("/lead/leases/{lease_id}/release")
def release(visit: LeadVisit, _: Form, lease_id: str) -> RedirectResponse:
    """Give a stuck item back to the queue. What its rater may still send is kept, as surplus."""

    def save(connection: Connection) -> int:
        leases.release(connection, lease_id, now=visit.now, by=visit.account["id"])
        return leases.get(connection, lease_id).campaign_id

    return RedirectResponse(f"/lead/campaigns/{visit.database.write(save)}#held", 303)


def queue_parts(progress: Progress) -> list[Part]:
    """Judgments done, in raters' hands, and waiting."""
    waiting = progress.needed - progress.done - progress.leased
    return [Part("done", "done", progress.done), Part("in hand", "leased", progress.leased), Part("waiting", "open", waiting)]


def _context(connection: Connection, visit: Visit, campaign_id: int) -> dict[str, Any]:
    row = campaigns.get(connection, campaign_id)
    config = campaigns.config_of(row)
    found = board(connection, campaign_id, now=visit.now)
    mark = config.onboarding.calibration_pass_mark if config.onboarding else None
    return {
        "campaign": row,
        "config": config,
        "board": found,
        "now": visit.now,
        "waiting": cases.waiting(connection, campaign_id),
        "queue": queue_parts(found.progress),
        "failures": sampled.failures(connection, campaign_id),
        "hourly_plot": plots.throughput_bars(found.hourly, HOUR_S, "Judgments an hour, last 24 hours"),
        "daily_plot": plots.throughput_bars(found.daily, DAY_S, "Judgments a day, last 14 days"),
        "agreement_plot": plots.rate_line(found.agreement_by_day, DAY_S, "Agreement by day"),
        "gold_plot": plots.rate_line(found.gold_by_day, DAY_S, "Known items answered right, by day", mark=mark),
        "queue_plot": plots.parts_bar(queue_parts(found.progress), "Judgments needed"),
    }


def _owner(connection: Connection, visit: Visit, campaign_id: int, config: CampaignConfig, code: str) -> str | None:
    if not code or config.completion is None:
        return None
    return completion.whose(connection, config.completion, visit.secret, campaign_id, code)
