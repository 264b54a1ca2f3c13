"""Exposure limits as the database knows them: who asked for harmful content, and how much of it they were given today."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, func, select

from truing.collect.config import CampaignConfig
from truing.collect.errors import NotAllowedError
from truing.collect.people.exposure import Exposure, day_start, harm_left
from truing.collect.schema import account, campaign, lease

OPTED_IN = "harm_opt_in"
OWN_CAP = "harm_per_day"
BLUR = "blur_harm"


def check(connection: Connection, config: CampaignConfig, rater_id: int, *, now: float) -> None:
    """Raise NotAllowedError where a harmful campaign is not for this rater, or not any more today."""
    if not config.exposure.harmful:
        return
    found = exposure(connection, rater_id, now=now)
    if not found.opted_in:
        raise NotAllowedError("these texts may be harmful, and you have not chosen to see such texts. You can on your own page.")
    if harm_left(config.exposure, found) == 0:
        raise NotAllowedError("that was enough of such texts for today. They go on at midnight UTC; other work is open to you.")


def exposure(connection: Connection, rater_id: int, *, now: float) -> Exposure:
    """What a rater agreed to, and how many items of harmful campaigns they were handed since 00:00 UTC."""
    settings: Mapping[str, Any] = connection.scalar(select(account.c.settings).where(account.c.id == rater_id)) or {}
    if not settings.get(OPTED_IN):
        return Exposure(opted_in=False, seen_today=0)
    harmful = [row.id for row in connection.execute(select(campaign.c.id, campaign.c.config)) if _is_harmful(row.config)]
    today = (lease.c.rater_id == rater_id, lease.c.campaign_id.in_(harmful), lease.c.leased_at >= day_start(now))
    seen = connection.scalar(select(func.count()).select_from(lease).where(*today)) or 0
    return Exposure(opted_in=True, seen_today=seen, own_cap=settings.get(OWN_CAP))


def _is_harmful(config: Mapping[str, Any]) -> bool:
    return bool(config.get("exposure", {}).get("harmful"))
