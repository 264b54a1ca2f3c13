"""The pay ledger in the database: work read off the judgments, and what was paid out or added by a lead.

Work is never written down a second time, so the ledger cannot disagree with the judgments. Rows of `payment` are a bonus or a
correction in the rater's favour (kind "bonus") and money sent (kind "payout"); nothing takes earned pay away.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from sqlalchemy import Connection, Float, case, distinct, func, insert, select
from sqlalchemy import cast as sql_cast
from sqlalchemy.sql.elements import ColumnElement

from truing.collect import audit, campaigns
from truing.collect.errors import ServiceError
from truing.collect.people.ledger import MICROS, Rates, Submission, WorkDay, time_pay, totals, work_days
from truing.collect.schema import campaign, judgment, payment

MICROS_PER_CENT = MICROS // 100
PaymentKind = Literal["bonus", "payout"]


@dataclass(frozen=True)
class Payment:
    """A bonus, or money sent. `created_at` is in seconds since 1970 UTC."""

    kind: PaymentKind
    campaign_id: int
    micros: int
    currency: str
    note: str
    created_at: float


@dataclass(frozen=True)
class Balance:
    """One currency: earned by work and by bonuses, sent, and what lies between them; millionths."""

    currency: str
    earned_micros: int
    paid_micros: int

    @property
    def owed_micros(self) -> int:
        """What is still to be sent."""
        return max(0, self.earned_micros - self.paid_micros)

    @property
    def ahead_micros(self) -> int:
        """What was sent beyond what is earned so far: an overpayment, carried over to what is earned next.

        In whole cents: below one it is the rounding up of what was owed.
        """
        return max(0, self.paid_micros - self.earned_micros) // MICROS_PER_CENT * MICROS_PER_CENT


@dataclass(frozen=True)
class Ledger:
    """One person's pay."""

    days: tuple[WorkDay, ...]
    payments: tuple[Payment, ...]

    @property
    def balances(self) -> tuple[Balance, ...]:
        """By currency."""
        earned: dict[str, int] = defaultdict(int, totals(self.days))
        paid: dict[str, int] = defaultdict(int)
        for made in self.payments:
            (earned if made.kind == "bonus" else paid)[made.currency] += made.micros
        return tuple(Balance(currency, earned[currency], paid[currency]) for currency in sorted({*earned, *paid}))


@dataclass(frozen=True)
class Cost:
    """What a campaign has cost in raters' work, in millionths; `answers` are those paid as items."""

    micros: int
    currency: str
    answers: int
    active_s: float

    @property
    def micros_per_answer(self) -> float | None:
        """None where nothing was answered."""
        return self.micros / self.answers if self.answers else None


def ledger(connection: Connection, account_id: int) -> Ledger:
    """A person's work by day and campaign, and their payments, newest first."""
    rates = _rates(connection)
    rows = connection.execute(
        select(
            judgment.c.campaign_id,
            judgment.c.item_id,
            judgment.c.occasion,
            judgment.c.kind,
            judgment.c.judged_at,
            judgment.c.active_s,
            judgment.c.elapsed_s,
        ).where(judgment.c.rater_id == account_id, judgment.c.kind != "withdrawn")
    )
    work = [
        Submission(
            campaign_id=row.campaign_id,
            item_id=row.item_id,
            occasion=row.occasion,
            day=datetime.fromtimestamp(row.judged_at, UTC).date(),
            is_answer=row.kind == "answer",
            active_s=row.active_s or 0.0,
            elapsed_s=row.elapsed_s,
        )
        for row in rows
    ]
    made = connection.execute(select(payment).where(payment.c.account_id == account_id).order_by(payment.c.id.desc()))
    payments = tuple(
        Payment(
            row.kind,
            row.campaign_id,
            row.amount_cents * MICROS_PER_CENT,
            rates[row.campaign_id].currency,
            row.note,
            row.created_at,
        )
        for row in made
    )
    return Ledger(work_days(work, rates), payments)


def pay(
    connection: Connection,
    account_id: int,
    campaign_id: int,
    kind: PaymentKind,
    amount_cents: int,
    *,
    now: float,
    by: int | None,
    note: str = "",
) -> None:
    """Write down a bonus or a payout in the campaign's currency. Raises ServiceError where it is not above zero."""
    if amount_cents <= 0:
        raise ServiceError("amount: has to be above zero. Earned pay is never taken back.")
    campaigns.get(connection, campaign_id)
    row = {"account_id": account_id, "campaign_id": campaign_id, "kind": kind, "amount_cents": amount_cents, "note": note}
    connection.execute(insert(payment).values(**row, created_at=now))
    detail = {"campaign": campaign_id, "amount_cents": amount_cents}
    audit.record(connection, f"payment.{kind}", f"account:{account_id}", now=now, by=by, detail=detail)


def cost(connection: Connection, campaign_id: int) -> Cost:
    """What a campaign's work has cost so far."""
    rates = Rates.of(campaigns.config_of(campaigns.get(connection, campaign_id)).pay)
    piece = judgment.c.item_id * 2 + judgment.c.occasion
    raters = connection.execute(
        select(
            func.count(distinct(case((judgment.c.kind == "answer", piece)))),
            func.coalesce(func.sum(_paid_s()), 0.0),
        )
        .where(judgment.c.campaign_id == campaign_id, judgment.c.kind != "withdrawn")
        .group_by(judgment.c.rater_id)
    )
    answers, seconds = 0, 0.0
    for pieces, active_s in raters:
        answers += pieces
        seconds += active_s
    return Cost(time_pay(round(seconds, 6), rates) + answers * rates.per_item_micros, rates.currency, answers, seconds)


def _paid_s() -> ColumnElement[float]:
    """`ledger.paid_seconds` in SQL."""
    active = func.coalesce(judgment.c.active_s, 0.0)
    elapsed = func.coalesce(judgment.c.elapsed_s, active)
    return sql_cast(case((active < elapsed, active), else_=elapsed), Float)


def _rates(connection: Connection) -> Mapping[int, Rates]:
    rows = connection.execute(select(campaign)).mappings()
    return {row["id"]: Rates.of(campaigns.config_of(row).pay) for row in rows}
