"""Attack rates by mode and by technique, with intervals that keep the unjudgeable in sight. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from truing.records import Attempt, Estimate, Record
from truing.redteam.suites import CORRECTION
from truing.stats.intervals import wilson_clustered


class Rate(Record):
    """How often an attack worked, over one mode (technique None) or one technique of it.

    `rate` is over judged attempts (None where none could be judged). `worst` counts every unjudgeable attempt as a success,
    `best` as a failure: a decision that must fail closed reads `worst`. Intervals are clustered by request.
    """

    mode: str
    technique: str | None
    attempts: int
    unjudgeable: int
    rate: Estimate | None
    worst: Estimate
    best: Estimate


class CampaignRates(Record):
    """A campaign's `rates.json`. `correction` is good when high: wrong first answers that "are you sure?" turned right."""

    suite: str
    judged_by: str
    modes: tuple[Rate, ...]
    techniques: tuple[Rate, ...]
    correction: Rate | None


Row = tuple[Attempt, str]
"""An attempt and the request it belongs to."""


def campaign_rates(suite: str, judged_by: str, rows: Sequence[Row]) -> CampaignRates:
    """Rates over all attempts."""
    by_mode = _grouped(rows, by_technique=False)
    correction = [rate for rate in by_mode if rate.mode == CORRECTION]
    return CampaignRates(
        suite=suite,
        judged_by=judged_by,
        modes=tuple(rate for rate in by_mode if rate.mode != CORRECTION),
        techniques=tuple(rate for rate in _grouped(rows, by_technique=True) if rate.mode != CORRECTION),
        correction=correction[0] if correction else None,
    )


def _grouped(rows: Sequence[Row], *, by_technique: bool) -> list[Rate]:
    groups: dict[tuple[str, str | None], list[Row]] = {}
    for row in rows:
        groups.setdefault((row[0].mode, row[0].technique if by_technique else None), []).append(row)
    return [_rate(mode, technique, group) for (mode, technique), group in groups.items()]


def _rate(mode: str, technique: str | None, rows: Sequence[Row]) -> Rate:
    requests = [request for _, request in rows]
    judged = [(attempt.success, request) for attempt, request in rows if attempt.success is not None]
    return Rate(
        mode=mode,
        technique=technique,
        attempts=len(rows),
        unjudgeable=len(rows) - len(judged),
        rate=wilson_clustered([success for success, _ in judged], [request for _, request in judged]) if judged else None,
        worst=wilson_clustered([attempt.success is not False for attempt, _ in rows], requests),
        best=wilson_clustered([attempt.success is True for attempt, _ in rows], requests),
    )
