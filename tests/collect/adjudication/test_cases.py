"""What comes before a lead, and in which order."""

from __future__ import annotations

from tests.collect.people_world import FIRST, SECOND, TIE, add_account, add_campaign, add_items, answer, take

from truing.collect import judgments
from truing.collect.adjudication.cases import Vote, case_of, cases, waiting
from truing.collect.answers import CritiqueAnswer, on_screen
from truing.collect.config import CritiqueTask, PairTask
from truing.collect.judgments import Submission


def vote(item, rater, verdict, *flags):
    return Vote(item_id=item, rater_id=rater, verdict=verdict, clause_id="", flags=flags)


def test_flags_come_first_then_the_most_even_splits_and_agreement_does_not_come():
    votes = [
        *(vote(1, r, "first") for r in "abc"),
        *(vote(2, r, v) for r, v in zip("abc", ("first", "first", "second"), strict=True)),
        *(vote(3, r, v) for r, v in zip("ab", ("first", "second"), strict=True)),
        vote(4, "a", "first", "unsafe"),
        vote(5, "a", "first"),
        vote(5, "b", "tie"),
    ]
    found = cases(votes)
    assert [c.item_id for c in found] == [4, 3, 2]
    assert [c.is_split for c in found] == [False, True, True]
    assert [round(c.evenness, 3) for c in found] == [0, 0.5, 0.333]


def test_a_lead_reads_why_raters_chose(database):
    campaign_id = add_campaign(database, tasks=(PairTask(), CritiqueTask()))
    (item_id,) = add_items(database, campaign_id, 1)
    rater_id = add_account(database, "r1")
    lease = take(database, campaign_id, rater_id)
    said = (*on_screen([FIRST], lease.screen_order), CritiqueAnswer(text="It repeats itself."))
    sent = Submission(lease_id=lease.lease_id, idempotency_key="key-of-one", answers=said, active_s=5.0)
    database.write(lambda c: judgments.submit(c, rater_id, sent, now=20.0))
    with database.read() as c:
        (read,) = case_of(c, item_id).votes
    assert (read.verdict, read.critique) == ("first", "It repeats itself.")


def test_the_queue_reads_current_judgments_of_task_items(database):
    campaign_id = add_campaign(database, overlap=2)
    split, agreed = add_items(database, campaign_id, 2)
    raters = [add_account(database, name) for name in ("r1", "r2")]
    said = {(split, 0): FIRST, (split, 1): SECOND, (agreed, 0): FIRST, (agreed, 1): TIE}
    for n in range(4):
        lease = take(database, campaign_id, raters[n % 2], now=10.0 + n)
        flags = ("unsafe",) if lease.item_id == split and n % 2 == 0 else ()
        answer(database, raters[n % 2], lease, said[lease.item_id, n % 2], now=10.5 + n, clause="length", flags=flags)
    with database.read() as c:
        (case,) = waiting(c, campaign_id)
        assert case_of(c, agreed).is_split is False
    assert case.item_id == split
    assert case.sides == {"first": 1, "second": 1}
    assert case.flags == {"unsafe": 1}
    assert {v.clause_id for v in case.votes} == {"length"}
