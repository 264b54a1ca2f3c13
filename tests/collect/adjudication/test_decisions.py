"""What follows from a lead's decision: a gold item, a proposed amendment, judgments left alone."""

from __future__ import annotations

import pytest
from sqlalchemy import select
from tests.collect.people_world import FIRST, SECOND, add_account, add_campaign, add_items, answer, take

from truing.collect.adjudication import decisions
from truing.collect.adjudication.cases import waiting
from truing.collect.adjudication.decisions import Amendment, Decision, checked_amendment
from truing.collect.errors import ConflictError, NotFoundError, ServiceError
from truing.collect.guidelines import versions
from truing.collect.schema import item, judgment

AMENDMENT = Amendment(clause_id="cites", title="Cite sources", body="A source beats none.")


@pytest.fixture
def split(database):
    """A lead, two raters, a campaign under a guideline, and its one item that they are split on."""
    lead = add_account(database, "lead-1", role="lead")
    database.write(lambda c: versions.publish(c, "help", "## Right {#right}\n\nWrong loses.\n", now=1.0))
    campaign_id = add_campaign(database, guideline="help", overlap=2, gold_share=0.5)
    (item_id,) = add_items(database, campaign_id, 1)
    raters = [add_account(database, name) for name in ("r1", "r2")]
    for rater, stored in zip(raters, (FIRST, SECOND), strict=True):
        database.write(lambda c, rater=rater: versions.confirm(c, rater, 1, now=1.0))
        answer(database, rater, take(database, campaign_id, rater), stored)
    return lead, campaign_id, item_id, raters


def decide(database, split, **more):
    decision = Decision(item_id=split[2], answers=(SECOND,), **more)
    database.write(lambda c: decisions.decide(c, decision, now=50.0, by=split[0]))


def test_a_decided_case_leaves_the_queue_and_changes_no_judgment(database, split):
    def judged():
        with database.read() as c:
            return c.execute(select(judgment)).all()

    before = judged()
    decide(database, split, note="The second has a source.")
    assert judged() == before
    with database.read() as c:
        assert waiting(c, split[1]) == []
        assert c.scalars(select(item.c.id)).all() == [split[2]]
    with pytest.raises(ConflictError, match="already"):
        decide(database, split)


def test_the_answer_becomes_gold_for_those_who_have_not_rated_the_item(database, split):
    decide(database, split, make_gold=True)
    with database.read() as c:
        made = c.execute(select(item).where(item.c.purpose == "gold")).mappings().one()
    assert made["gold"] == [SECOND.model_dump()]
    assert made["meta"]["adjudicated_from"] == split[2]
    add_items(database, split[1], 40, start=10)
    new = add_account(database, "r3")
    database.write(lambda c: versions.confirm(c, new, 1, now=1.0))

    def given(rater):
        seen = set()
        for n in range(12):
            lease = take(database, split[1], rater, now=100.0 + n, seed=n)
            seen.add(lease.item_id)
            answer(database, rater, lease, now=100.5 + n)
        return seen

    assert made["id"] in given(new)
    assert made["id"] not in given(split[3][0])


def test_a_proposal_gathers_its_cases_until_a_version_takes_it_up(database, split):
    decide(database, split, amendment=AMENDMENT, note="one")
    (other,) = add_items(database, split[1], 1, start=5)
    later = AMENDMENT.model_copy(update={"body": "A source that can be checked beats none."})
    more = Decision(item_id=other, answers=(FIRST,), amendment=later, note="two")
    database.write(lambda c: decisions.decide(c, more, now=60.0, by=split[0]))
    with database.read() as c:
        found = decisions.proposal(c, "help", "cites")
        present = versions.newest(c, "help")
        assert decisions.proposals(c, "another guideline") == []
    assert found.cases == ((split[2], "one"), (other, "two"))
    text = found.applied(present.guideline)
    assert text.endswith("## Cite sources {#cites}\n\nA source that can be checked beats none.\n")
    database.write(lambda c: decisions.adopt(c, found, 2))
    with database.read() as c, pytest.raises(NotFoundError):
        decisions.proposal(c, "help", "cites")


def test_an_answer_that_does_not_fit_the_task_is_refused(database, split):
    with pytest.raises(ServiceError, match="margin"):
        database.write(
            lambda c: decisions.decide(c, Decision(split[2], (FIRST.model_copy(update={"margin": 4}),)), now=50.0, by=split[0])
        )


def test_an_amendment_is_whole_or_not_there():
    assert checked_amendment(" ", "", "") is None
    assert checked_amendment("cites", "Cite sources", "A source beats none.") == AMENDMENT
    with pytest.raises(ServiceError, match="all three"):
        checked_amendment("cites", "", "x")
    with pytest.raises(ServiceError, match="hyphens"):
        checked_amendment("Cites!", "t", "x")
