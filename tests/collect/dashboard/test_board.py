"""The dashboard read from a database."""

from __future__ import annotations

import pytest
from tests.collect.people_world import FIRST, SECOND, TIE, add_account, add_campaign, add_items, answer, take

from truing.collect.dashboard.board import board, rated_rows
from truing.collect.people.config import PayConfig

NOW = 20 * 86_400.0 + 5_000.0


@pytest.fixture
def campaign_id(database):
    made = add_campaign(database, overlap=2, pay=PayConfig(per_item="0.10"))
    add_items(database, made, 3)
    return made


def work(database, campaign_id, rater, verdicts, now):
    for n, stored in enumerate(verdicts):
        lease = take(database, campaign_id, rater, now=now + 20 * n, seed=n)
        answer(database, rater, lease, stored, now=now + 20 * n + 10, active_s=5.0 + n)


def test_an_empty_campaign_has_a_board(database, campaign_id):
    with database.read() as c:
        found = board(c, campaign_id, now=NOW)
    assert found.progress.needed == 6
    assert (found.agreement, found.gold, found.hours_to_go, found.raters, found.held) == (None, None, None, (), ())
    assert (len(found.hourly), len(found.daily)) == (24, 14)


def test_a_board_of_two_raters(database, campaign_id):
    one, two = add_account(database, "r1"), add_account(database, "r2", is_simulated=True)
    work(database, campaign_id, one, [FIRST, SECOND, TIE], NOW - 3_600)
    work(database, campaign_id, two, [FIRST, FIRST], NOW - 1_000)
    held = take(database, campaign_id, two, now=NOW - 60)
    with database.read() as c:
        found = board(c, campaign_id, now=NOW)
    assert (found.progress.done, found.rows, sum(b.count for b in found.hourly)) == (5, 5, 5)
    assert found.agreement is not None
    assert (found.agreement.value, found.agreement.n) == (0.5, 2)
    assert [(r.pseudonym, r.judgments, r.median_s, r.is_simulated) for r in found.raters] == [
        ("r1", 3, 6.0, False),
        ("r2", 2, 5.5, True),
    ]
    assert [(h.lease_id, h.account_id) for h in found.held] == [(held.lease_id, two)]
    assert found.cost.micros == 500_000
    assert found.hours_to_go == 1 / 2.5  # one to go, five in two hours that had work
    assert sum(p.estimate is not None for p in found.agreement_by_day) == 1


def test_gold_is_marked_and_calibration_is_not_work(database):
    made = add_campaign(database, gold_share=0.5)
    add_items(database, made, 1)
    add_items(database, made, 1, purpose="gold", gold=FIRST)
    rater = add_account(database, "r1")
    seeds = iter(range(50))
    lease = None
    while lease is None or lease.purpose != "gold":
        lease = take(database, made, rater, seed=next(seeds))
        if lease.purpose != "gold":
            answer(database, rater, lease, SECOND)
            add_items(database, made, 1, start=lease.item_id + 100)
    answer(database, rater, lease, SECOND, now=30.0)
    with database.read() as c:
        rows = rated_rows(c, made, rater)
    assert [r.gold_right for r in rows if r.item_id == lease.item_id] == [False]
    assert all(r.gold_right is None for r in rows if r.item_id != lease.item_id)
    assert all(r.left is (r.verdict == "first") or r.left is not None for r in rows)
