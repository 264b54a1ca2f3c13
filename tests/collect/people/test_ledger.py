"""Pay, worked by hand; and what it cannot depend on."""

from __future__ import annotations

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from truing.collect.people.config import PayConfig
from truing.collect.people.ledger import Rates, Submission, money, paid_seconds, time_pay, totals, work_days

RATES = Rates(hourly_micros=18_000_000, per_item_micros=50_000, currency="EUR")
MONDAY, TUESDAY = date(2026, 3, 2), date(2026, 3, 3)


def submitted(item, day=MONDAY, active_s=60.0, elapsed_s=90.0, campaign=1, occasion=0, is_answer=True):
    return Submission(campaign, item, occasion, day, is_answer, active_s, elapsed_s)


def test_an_hour_and_its_items():
    (day,) = work_days([submitted(i) for i in range(60)], {1: RATES})
    assert (day.items, day.paid_s) == (60, 3600)
    assert (day.time_micros, day.items_micros, day.micros) == (18_000_000, 3_000_000, 21_000_000)


def test_a_revised_item_is_paid_once_and_its_time_each_time():
    days = work_days([submitted(1), submitted(1), submitted(1, TUESDAY)], {1: RATES})
    assert [(d.day, d.items, d.paid_s) for d in days] == [(TUESDAY, 0, 60), (MONDAY, 1, 120)]


def test_a_browser_cannot_claim_more_time_than_passed():
    assert paid_seconds(500.0, 90.0) == 90
    assert paid_seconds(30.0, 90.0) == 30
    assert paid_seconds(30.0, None) == 30


def test_a_skip_is_paid_as_time_and_a_repeat_as_an_item():
    (day,) = work_days([submitted(1), submitted(1, occasion=1), submitted(2, is_answer=False)], {1: RATES})
    assert (day.items, day.paid_s) == (2, 180)


def test_rates_are_whole_millionths():
    assert Rates.of(PayConfig(currency="EUR", hourly="14.53", per_item="0.035")) == Rates(14_530_000, 35_000, "EUR")


def test_campaigns_pay_their_own_rates_and_currencies_are_not_mixed():
    other = Rates(0, 1_000_000, "USD")
    days = work_days([submitted(1), submitted(1, campaign=2)], {1: RATES, 2: other})
    assert totals(days) == {"USD": 1_000_000, "EUR": 300_000 + 50_000}


@given(st.lists(st.floats(0, 600), max_size=30))
def test_time_pay_is_within_a_millionth_an_entry(seconds):
    exact = sum(seconds) * 18_000_000 / 3600
    assert sum(time_pay(s, RATES) for s in seconds) == pytest.approx(exact, abs=0.5 * len(seconds) + 1e-3)


@given(st.lists(st.integers(0, 9), max_size=40), st.randoms())
def test_the_order_of_work_changes_no_amount(items, random):
    work = [submitted(i, MONDAY if n % 2 else TUESDAY) for n, i in enumerate(items)]
    shuffled = random.sample(work, len(work))
    assert totals(work_days(work, {1: RATES})) == totals(work_days(shuffled, {1: RATES}))


def test_a_part_of_a_cent_is_the_raters():
    assert money(1_000_001, "EUR") == "1.01 EUR"
    assert money(0, "EUR") == "0.00 EUR"
