"""One campaign's dashboard, read from the database: numbers with their intervals, and the series that plots are drawn from."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, RowMapping, select

from truing.collect import campaigns
from truing.collect.campaigns import Progress
from truing.collect.dashboard import numbers
from truing.collect.dashboard.numbers import Bin, Rated, RatePoint
from truing.collect.people import earnings
from truing.collect.people.earnings import Cost
from truing.collect.schema import account, item, judgment, lease
from truing.collect.verdicts import agrees, left_won, parse, verdict
from truing.collect.words import DAY_S, HOUR_S
from truing.records import Estimate

DAYS_SHOWN = 14
MOST_ROWS = 20_000
"""Judgments that numbers are made from: the latest ones, so that a page costs the same in a campaign of millions."""


@dataclass(frozen=True)
class RaterLine:
    """One rater's numbers."""

    account_id: int
    pseudonym: str
    is_simulated: bool
    judgments: int
    gold: Estimate | None
    agreement: Estimate | None
    left: Estimate | None
    ties: Estimate | None
    self_agreement: Estimate | None
    median_s: float | None
    last_at: float

    @property
    def is_left_biased(self) -> bool:
        """Whether the interval of the left share leaves one half out, on either side."""
        return self.left is not None and not self.left.low <= 0.5 <= self.left.high


@dataclass(frozen=True)
class HeldLease:
    """An item in somebody's hands."""

    lease_id: str
    account_id: int
    pseudonym: str
    item_id: int
    leased_at: float
    expires_at: float


@dataclass(frozen=True)
class Board:
    """What a campaign's dashboard shows. `rows` is how many of the `answers` the shares are made from (the latest)."""

    progress: Progress
    hourly: tuple[Bin, ...]
    daily: tuple[Bin, ...]
    agreement: Estimate | None
    agreement_by_day: tuple[RatePoint, ...]
    gold: Estimate | None
    gold_by_day: tuple[RatePoint, ...]
    repeats: Estimate | None
    left: Estimate | None
    cost: Cost
    hours_to_go: float | None
    raters: tuple[RaterLine, ...]
    held: tuple[HeldLease, ...]
    rows: int


def board(connection: Connection, campaign_id: int, *, now: float) -> Board:
    """Everything on a campaign's dashboard at `now`."""
    progress = campaigns.progress(connection, campaign_id)
    rated = rated_rows(connection, campaign_id)
    start = now - now % DAY_S - (DAYS_SHOWN - 1) * DAY_S
    end = start + DAYS_SHOWN * DAY_S
    hour_end = now - now % HOUR_S + HOUR_S
    hour_start = hour_end - 24 * HOUR_S
    hourly = numbers.throughput(_times(connection, campaign_id, hour_start), hour_start, hour_end, HOUR_S)
    open_slots = progress.needed - progress.done
    return Board(
        progress=progress,
        hourly=hourly,
        daily=numbers.throughput(_times(connection, campaign_id, start), start, end, DAY_S),
        agreement=numbers.agreement(rated),
        agreement_by_day=agreement_by_day(rated, start),
        gold=numbers.gold_accuracy(rated),
        gold_by_day=numbers.drift(rated, start, end, DAY_S),
        repeats=numbers.self_agreement(rated),
        left=numbers.left_share(rated),
        cost=earnings.cost(connection, campaign_id),
        hours_to_go=numbers.hours_to_go(open_slots, hourly, HOUR_S),
        raters=rater_lines(connection, rated),
        held=held_leases(connection, campaign_id),
        rows=len(rated),
    )


def rated_rows(connection: Connection, campaign_id: int | None = None, rater_id: int | None = None) -> list[Rated]:
    """The latest current answers of a campaign, of a rater, or of both, oldest first; calibration is left out."""
    query = (
        select(
            judgment.c.item_id,
            account.c.pseudonym,
            judgment.c.judged_at,
            judgment.c.answers,
            judgment.c.screen_order,
            judgment.c.active_s,
            judgment.c.occasion,
            item.c.gold,
        )
        .join(account, account.c.id == judgment.c.rater_id)
        .join(item, item.c.id == judgment.c.item_id)
        .where(judgment.c.is_current, judgment.c.kind == "answer", judgment.c.purpose != "calibration")
        .order_by(judgment.c.id.desc())
        .limit(MOST_ROWS)
    )
    if campaign_id is not None:
        query = query.where(judgment.c.campaign_id == campaign_id)
    if rater_id is not None:
        query = query.where(judgment.c.rater_id == rater_id)
    return [_rated(row) for row in connection.execute(query).mappings()][::-1]


def rater_lines(connection: Connection, rated: Sequence[Rated]) -> tuple[RaterLine, ...]:
    """A line for each rater in `rated`, the busiest first."""
    mine: dict[str, list[Rated]] = defaultdict(list)
    for r in rated:
        mine[r.rater_id].append(r)
    agreements = numbers.agreement_by_rater(rated)
    people = {row.pseudonym: row for row in connection.execute(select(account).where(account.c.pseudonym.in_(mine)))}
    lines = (
        RaterLine(
            account_id=people[name].id,
            pseudonym=name,
            is_simulated=people[name].is_simulated,
            judgments=len(rows),
            gold=numbers.gold_accuracy(rows),
            agreement=agreements.get(name),
            left=numbers.left_share(rows),
            ties=numbers.tie_share(rows),
            self_agreement=numbers.self_agreement(rows),
            median_s=numbers.median_active_s(rows),
            last_at=rows[-1].judged_at,
        )
        for name, rows in mine.items()
    )
    return tuple(sorted(lines, key=lambda line: (-line.judgments, line.pseudonym)))


def agreement_by_day(rated: Sequence[Rated], start: float) -> tuple[RatePoint, ...]:
    """Agreement on the items whose last answer came on each day."""
    last: dict[int, float] = {}
    for r in rated:
        last[r.item_id] = max(r.judged_at, last.get(r.item_id, 0.0))
    parts: dict[int, list[Rated]] = defaultdict(list)
    for r in rated:
        parts[int((last[r.item_id] - start) // DAY_S)].append(r)
    return tuple(RatePoint(start + n * DAY_S, numbers.agreement(parts[n])) for n in range(DAYS_SHOWN))


def held_leases(connection: Connection, campaign_id: int) -> tuple[HeldLease, ...]:
    """What is in raters' hands, the longest held first."""
    held = (lease.c.campaign_id == campaign_id, lease.c.state == "held")
    query = select(lease, account.c.pseudonym).join(account, account.c.id == lease.c.rater_id).where(*held)
    rows = connection.execute(query.order_by(lease.c.leased_at).limit(200))
    return tuple(HeldLease(row.id, row.rater_id, row.pseudonym, row.item_id, row.leased_at, row.expires_at) for row in rows)


def _times(connection: Connection, campaign_id: int, since: float) -> list[float]:
    kept = (judgment.c.campaign_id == campaign_id, judgment.c.kind == "answer", judgment.c.judged_at >= since)
    return list(connection.scalars(select(judgment.c.judged_at).where(*kept, judgment.c.is_current)))


def _rated(row: RowMapping) -> Rated:
    answers = parse(row["answers"])
    return Rated(
        item_id=row["item_id"],
        rater_id=row["pseudonym"],
        judged_at=row["judged_at"],
        verdict=verdict(answers),
        active_s=row["active_s"],
        left=left_won(answers, row["screen_order"]),
        gold_right=agrees(answers, parse(row["gold"])) if row["gold"] is not None else None,
        is_repeat=row["occasion"] > 0,
    )
