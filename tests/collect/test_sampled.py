"""Prompts whose responses a worker samples: handed out once whole, once, and tried again where a policy failed."""

from __future__ import annotations

import random

import pytest
from sqlalchemy import select
from tests.collect.people_world import add_account, add_campaign, take

from truing.collect import campaigns, sampled
from truing.collect.chat import replies
from truing.collect.chat.config import SampledConfig
from truing.collect.chat.replies import WrittenReply
from truing.collect.config import RankingTask
from truing.collect.new_items import read_items
from truing.collect.schema import item, slot
from truing.errors import TruingError

PROMPTS = b"Where is the cat?\n\nWho wrote it?\n"


def add(database, campaign_id, lines=PROMPTS):
    return database.write(lambda c: campaigns.add_items(c, campaign_id, read_items(lines), now=0.0))


def taken(database, policies=("a", "b"), now=1.0):
    return database.write(lambda c: replies.take(c, policies, 64, now=now))


def bring(database, request, **written):
    def work(connection):
        replies.finish(connection, request.reply_id, WrittenReply(**written))
        sampled.complete(connection, request.reply_id)

    database.write(work)


def rows(database, table):
    with database.read() as connection:
        return connection.execute(select(table)).mappings().all()


@pytest.fixture
def campaign_id(database):
    return add_campaign(database, overlap=2, sampled=SampledConfig(policies=("a", "b")))


def test_an_item_is_handed_out_once_both_responses_are_there(database, campaign_id):
    add(database, campaign_id)
    rater = add_account(database, "r")
    requests = taken(database)
    assert sorted(r.policy for r in requests) == ["a", "a", "b", "b"]
    assert [r.messages[0].content for r in requests[::2]] == ["Where is the cat?", "Who wrote it?"]
    bring(database, requests[0], text="one")
    assert take(database, campaign_id, rater) is None
    bring(database, requests[1], text="two")
    bring(database, requests[1], text="another two")  # a worker that was taken for dead
    first, second = rows(database, item)
    assert (first["responses"], set(first["policies"]), second["responses"]) == (["one", "two"], {"a", "b"}, [])
    assert [row["item_id"] for row in rows(database, slot)] == [first["id"]] * 2
    assert take(database, campaign_id, rater).item_id == first["id"]
    with database.read() as connection:
        assert campaigns.progress(connection, campaign_id).to_sample == 1


def test_what_a_dead_worker_took_is_offered_again(database, campaign_id):
    add(database, campaign_id)
    assert len(taken(database, now=1.0)) == 4
    assert taken(database, now=2.0) == ()
    assert len(taken(database, now=1.0 + replies.TAKEN_S + 1)) == 4


def test_a_failure_is_told_and_tried_again(database, campaign_id):
    add(database, campaign_id)
    for request in taken(database):
        bring(database, request, **({"error": "no such model"} if request.policy == "b" else {"text": "x"}))
    with database.read() as connection:
        assert sampled.failures(connection, campaign_id) == [sampled.Failure("b", 2, "no such model")]
    lead = add_account(database, "lead")
    database.write(lambda c: sampled.try_again(c, campaign_id, now=5.0, by=lead))
    again = taken(database, now=6.0)
    assert [r.policy for r in again] == ["b", "b"]
    for request in again:
        bring(database, request, text="y")
    assert len(rows(database, slot)) == 4


def test_each_policy_writes_its_share():
    drawn = [SampledConfig(policies=("a", "b", "c"), responses=4).draw(random.Random(n)) for n in range(30)]
    assert all({*d} == {"a", "b", "c"} for d in drawn)
    assert len({tuple(d) for d in drawn}) > 5


def test_the_budget_counts_what_is_to_be_sampled(database):
    campaign_id = add_campaign(database, overlap=2, max_judgments=4, sampled=SampledConfig(policies=("a", "b")))
    add(database, campaign_id)
    with pytest.raises(TruingError, match="the budget has 0 left of 4"):
        add(database, campaign_id, b"One more?")


def test_what_does_not_fit_is_said(database, campaign_id):
    with pytest.raises(TruingError, match="is in this campaign already"):
        add(database, campaign_id) and add(database, campaign_id)
    stored = add_campaign(database, "stored")
    with pytest.raises(TruingError, match=r"it has no responses\. Add them, or name the policies"):
        add(database, stored)
    with pytest.raises(TruingError, match="line 2: field 'responses'"):
        read_items(b'{"prompt": "q"}\n{"prompt": "q", "responses": 3}')
    with pytest.raises(TruingError, match=r"line 1: unknown field 'respons'; did you mean 'responses'\?"):
        read_items(b'{"prompt": "q", "respons": ["a", "b"]}')
    with pytest.raises(TruingError, match="line 1: Invalid JSON"):
        read_items(b'{"prompt": "q", ')
    with pytest.raises(ValueError, match="a pair has 2"):
        add_campaign(database, "three", sampled=SampledConfig(policies=("a",), responses=3))
    assert add_campaign(database, "k", tasks=(RankingTask(),), sampled=SampledConfig(policies=("a",), responses=4))
