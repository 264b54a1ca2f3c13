from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import func, select
from tests.collect.people_world import add_account, add_campaign, add_items, answer, take

from truing.collect import campaigns, judgments, leases
from truing.collect.answers import PairAnswer
from truing.collect.errors import ConflictError
from truing.collect.judgments import Submission
from truing.collect.people import earnings
from truing.collect.schema import judgment, slot

HOUR_S = 3600.0


def rows(database, statement):
    with database.read() as connection:
        return connection.execute(statement).mappings().all()


def test_an_item_goes_to_as_many_raters_as_it_needs_and_to_none_twice(database):
    campaign = add_campaign(database, overlap=2)
    add_items(database, campaign, 3)
    raters = [add_account(database, f"rater-{n}") for n in range(3)]
    done = {rater: [] for rater in raters}
    for _ in range(3):
        for rater in raters:
            found = take(database, campaign, rater)
            if found is not None:
                answer(database, rater, found)
                done[rater].append(found.item_id)
    assert all(len(items) == len(set(items)) for items in done.values())
    assert sum(len(items) for items in done.values()) == 6
    assert {row["state"] for row in rows(database, select(slot.c.state))} == {"done"}


def test_raters_who_ask_at_once_share_no_slot(database):
    campaign = add_campaign(database, overlap=1)
    add_items(database, campaign, 20)
    raters = [add_account(database, f"rater-{n}") for n in range(20)]
    with ThreadPoolExecutor(max_workers=20) as pool:
        found = list(pool.map(lambda rater: take(database, campaign, rater, seed=rater), raters))
    assert len({one.slot_id for one in found}) == 20


def test_sides_are_drawn_evenly_and_kept_with_the_answer(database):
    rng = random.Random(0)
    orders = [leases.drawn_order(2, rng) for _ in range(400)]
    assert 150 < sum(order == (0, 1) for order in orders) < 250
    campaign = add_campaign(database)
    add_items(database, campaign, 1)
    rater = add_account(database, "rater-1")
    found = take(database, campaign, rater)
    answer(database, rater, found)
    (kept,) = rows(database, select(judgment.c.screen_order, judgment.c.answers))
    assert tuple(kept["screen_order"]) == found.screen_order
    assert kept["answers"][0]["choice"] == "first"  # in stored order, whichever side it was shown on


def test_a_submission_sent_twice_is_one_judgment(database):
    campaign = add_campaign(database)
    add_items(database, campaign, 1)
    rater = add_account(database, "rater-1")
    found = take(database, campaign, rater)
    assert answer(database, rater, found) == answer(database, rater, found)
    assert rows(database, select(func.count().label("n")).select_from(judgment))[0]["n"] == 1


def test_another_answer_from_an_old_tab_is_refused(database):
    campaign = add_campaign(database)
    add_items(database, campaign, 1)
    rater = add_account(database, "rater-1")
    found = take(database, campaign, rater)
    answer(database, rater, found)
    stale = Submission(lease_id=found.lease_id, idempotency_key="another-key", answers=(PairAnswer(choice="tie", margin=0),))
    with pytest.raises(ConflictError, match="already, in another tab"):
        database.write(lambda c: judgments.submit(c, rater, stale, now=30.0))


def test_an_answer_after_its_lease_ran_out_is_kept_and_flagged_surplus(database):
    campaign = add_campaign(database, overlap=1)
    add_items(database, campaign, 1)
    slow, quick = add_account(database, "slow"), add_account(database, "quick")
    late = take(database, campaign, slow, now=0.0)
    again = take(database, campaign, quick, now=48 * HOUR_S)
    assert again.item_id == late.item_id
    assert not answer(database, quick, again, now=48 * HOUR_S + 5).is_surplus
    assert answer(database, slow, late, now=48 * HOUR_S + 10).is_surplus
    assert len(rows(database, select(judgment.c.id))) == 2


@pytest.mark.parametrize("shift_s", [HOUR_S, -HOUR_S])
def test_a_clock_that_jumps_an_hour_loses_nothing(database, shift_s):
    campaign = add_campaign(database)
    add_items(database, campaign, 2)
    rater = add_account(database, "rater-1")
    start = 1e6
    found = take(database, campaign, rater, now=start)
    assert answer(database, rater, found, now=start + shift_s).kind == "answer"
    following = take(database, campaign, rater, now=start + shift_s + 1)
    assert answer(database, rater, following, now=start + 2).kind == "answer"
    with database.read() as connection:
        days = earnings.ledger(connection, rater).days
    assert sum(day.paid_s for day in days) == 2 * 5.0  # active seconds, though by the clock less than none went by


def test_an_answer_is_taken_back_within_the_grace_and_not_after(database):
    campaign = add_campaign(database, undo_grace_minutes=10)
    add_items(database, campaign, 1)
    rater = add_account(database, "rater-1")
    found = take(database, campaign, rater)
    answer(database, rater, found, now=20.0)
    back = database.write(lambda c: judgments.undo(c, rater, found.lease_id, "undo-key-1", now=60.0))
    assert (back.kind, back.revision) == ("withdrawn", 2)
    assert take(database, campaign, rater, now=61.0).lease_id == found.lease_id
    answer(database, rater, found, now=70.0)
    with pytest.raises(ConflictError, match="can be taken back for 10 minutes"):
        database.write(lambda c: judgments.undo(c, rater, found.lease_id, "undo-key-2", now=70.0 + 601))
    revisions = rows(database, select(judgment.c.revision, judgment.c.is_current).order_by(judgment.c.revision))
    assert [(row["revision"], row["is_current"]) for row in revisions] == [(1, False), (2, False), (3, True)]


def test_what_the_tab_has_at_hand_is_passed_over(database):
    campaign = add_campaign(database)
    add_items(database, campaign, 3)
    rater = add_account(database, "rater-1")

    def following(holding):
        def work(c):
            row = campaigns.get(c, campaign)
            config = campaigns.config_of(row)
            return leases.next_lease(c, row, config, rater, now=1.0, rng=random.Random(0), holding=holding)

        return database.write(work).lease_id

    first = following(())
    assert following(()) == first
    assert following((first,)) != first
