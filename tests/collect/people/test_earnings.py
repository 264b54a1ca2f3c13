"""The ledger read off judgments in a database, and a campaign's cost in agreement with it."""

from __future__ import annotations

import pytest
from tests.collect.people_world import FIRST, SECOND, add_account, add_campaign, add_items, answer, take

from truing.collect import judgments
from truing.collect.errors import ServiceError
from truing.collect.people import earnings
from truing.collect.people.config import PayConfig

PAY = PayConfig(currency="EUR", hourly="36", per_item="0.10")


@pytest.fixture
def campaign_id(database):
    made = add_campaign(database, pay=PAY, overlap=2)
    add_items(database, made, 3)
    return made


def ledger(database, rater):
    with database.read() as c:
        return earnings.ledger(c, rater)


def test_time_and_items_are_paid(database, campaign_id):
    rater = add_account(database, "r1")
    for n in range(2):
        answer(database, rater, take(database, campaign_id, rater, now=100.0 * n), now=100.0 * n + 60, active_s=30.0)
    (balance,) = ledger(database, rater).balances
    assert balance.earned_micros == 600_000 + 200_000  # 60 s at 36 an hour, two items
    assert balance.owed_micros == balance.earned_micros


def test_disagreeing_with_everybody_earns_the_same(database, campaign_id):
    raters = [add_account(database, f"r{n}") for n in range(2)]
    for rater, stored in zip(raters, (FIRST, SECOND), strict=True):
        answer(database, rater, take(database, campaign_id, rater), stored)
    assert ledger(database, raters[0]).days == ledger(database, raters[1]).days


def test_claimed_time_is_held_against_the_clock(database, campaign_id):
    rater = add_account(database, "r1")
    answer(database, rater, take(database, campaign_id, rater, now=10.0), now=22.0, active_s=3_000.0)
    assert ledger(database, rater).days[0].paid_s == 12.0


def test_taking_an_answer_back_keeps_its_time_and_pays_the_item_once(database, campaign_id):
    rater = add_account(database, "r1")
    lease = take(database, campaign_id, rater, now=0.0)
    answer(database, rater, lease, now=50.0, active_s=20.0)
    database.write(lambda c: judgments.undo(c, rater, lease.lease_id, "undo-key-1", now=60.0))
    answer(database, rater, lease, SECOND, now=90.0, active_s=10.0)
    (day,) = ledger(database, rater).days
    assert (day.items, day.paid_s) == (1, 30.0)


def test_what_a_campaign_cost_is_the_sum_of_what_its_raters_earned(database, campaign_id):
    raters = [add_account(database, f"r{n}") for n in range(2)]
    for n, rater in enumerate(raters):
        for m in range(3):
            answer(database, rater, take(database, campaign_id, rater, now=100.0 * m), now=100.0 * m + 40, active_s=7.5 + n)
    with database.read() as c:
        cost = earnings.cost(c, campaign_id)
    assert cost.micros == sum(ledger(database, rater).balances[0].earned_micros for rater in raters)
    assert cost.answers == 6
    assert cost.micros_per_answer == cost.micros / 6


def test_bonus_and_payout(database, campaign_id):
    rater = add_account(database, "r1")
    answer(database, rater, take(database, campaign_id, rater, now=0.0), now=60.0, active_s=50.0)
    database.write(lambda c: earnings.pay(c, rater, campaign_id, "bonus", 250, now=1.0, by=None, note="onboarding"))
    database.write(lambda c: earnings.pay(c, rater, campaign_id, "payout", 200, now=2.0, by=None))
    (balance,) = ledger(database, rater).balances
    assert (balance.earned_micros, balance.paid_micros, balance.owed_micros) == (3_100_000, 2_000_000, 1_100_000)


@pytest.mark.parametrize("cents", [0, -5])
def test_nothing_is_taken_away(database, campaign_id, cents):
    rater = add_account(database, "r1")
    with pytest.raises(ServiceError, match="above zero"):
        database.write(lambda c: earnings.pay(c, rater, campaign_id, "bonus", cents, now=1.0, by=None))


def test_what_was_sent_beyond_what_is_earned_is_carried_over(database, campaign_id):
    rater = add_account(database, "r1")

    def work(now):
        answer(database, rater, take(database, campaign_id, rater, now=now), now=now + 60, active_s=31.0)

    def send(cents):
        database.write(lambda c: earnings.pay(c, rater, campaign_id, "payout", cents, now=1e3, by=None))
        (balance,) = ledger(database, rater).balances
        return balance.owed_micros, balance.ahead_micros

    work(0.0)  # 0.31 for time, 0.10 for the item
    assert send(20) == (210_000, 0)
    assert send(100) == (0, 790_000)
    work(100.0)
    (balance,) = ledger(database, rater).balances
    assert (balance.owed_micros, balance.ahead_micros) == (0, 380_000)


def test_rounding_up_what_is_owed_is_no_overpayment(database):
    campaign_id = add_campaign(database, "hourly", pay=PayConfig(hourly="10"))
    add_items(database, campaign_id, 1)
    rater = add_account(database, "r1")
    answer(database, rater, take(database, campaign_id, rater, now=0.0), now=60.0, active_s=30.0)  # 0.08333…: 0.09 on the page
    database.write(lambda c: earnings.pay(c, rater, campaign_id, "payout", 9, now=1e3, by=None))
    (balance,) = ledger(database, rater).balances
    assert (balance.owed_micros, balance.ahead_micros) == (0, 0)
