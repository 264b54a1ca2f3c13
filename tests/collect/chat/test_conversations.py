"""A conversation turn by turn: buffered, compared as an ordinary item, the better answer going on."""

from __future__ import annotations

import random

import pytest
from sqlalchemy import select
from tests.collect.people_world import add_account, add_campaign, answer

from truing.collect import judgments, leases
from truing.collect.answers import PairAnswer
from truing.collect.chat import conversations, replies
from truing.collect.chat.conversations import Comparing, Composing, Waiting
from truing.collect.chat.replies import WrittenReply
from truing.collect.errors import ConflictError, NotFoundError
from truing.collect.schema import item

RNG = random.Random(0)


class Talk:
    """A rater and their conversation."""

    def __init__(self, database, **live):
        self.database = database
        self.rater = add_account(database, "rater-1")
        self.campaign = add_campaign(
            database, overlap=1, live={"policies": ("sft", "ppo"), "system": "Be brief.", "max_turns": 2, **live}
        )

    def state(self, now=1.0):
        return self.database.write(lambda c: conversations.state(c, self.campaign, self.rater, now=now, rng=RNG))

    def say(self, text, now=1.0):
        self.database.write(lambda c: conversations.say(c, self.campaign, self.rater, text, now=now, rng=RNG))

    def take(self, policies=("sft", "ppo"), limit=8, now=1.0):
        return self.database.write(lambda c: replies.take(c, policies, limit, now=now))

    def finish(self, request, **written):
        return self.database.write(lambda c: replies.finish(c, request.reply_id, WrittenReply(**written)))

    def both_answer(self):
        for request in self.take():
            self.finish(request, text=f"{request.policy} says hello")

    def compare(self, stored=None):
        with self.database.read() as connection:
            lease = leases.get(connection, self.state().lease_id)
        answer(self.database, self.rater, lease, stored or PairAnswer(choice="second", margin=1), now=2.0)
        return lease

    def said(self, now=1.0):
        return [(m.role, m.content) for m in self.state(now).messages]


@pytest.fixture
def talk(database):
    return Talk(database)


def test_it_begins_with_the_rater(talk):
    assert talk.state() == Composing(())


def test_nothing_is_shown_before_both_answers_are_there(talk):
    talk.say("Hello?")
    requests = talk.take()
    assert {request.policy for request in requests} == {"sft", "ppo"}
    assert [m.content for m in requests[0].messages] == ["Be brief.", "Hello?"]
    before = talk.state()
    talk.finish(requests[0], text="quick answer")
    assert talk.state() == before
    assert isinstance(before, Waiting)
    talk.finish(requests[1], text="slow answer")
    assert isinstance(talk.state(), Comparing)
    assert talk.state() == talk.state()


def test_the_answers_are_an_ordinary_item_that_names_its_policies(talk):
    talk.say("Hello?")
    talk.both_answer()
    talk.state()
    with talk.database.read() as connection:
        row = connection.execute(select(item)).mappings().one()
    assert row["responses"] == [f"{policy} says hello" for policy in row["policies"]]
    assert (row["external_id"], row["source"], row["item_group"]) == ("chat-1-0", "live", "chat-1")


def test_the_better_answer_goes_on(talk):
    talk.say("Hello?")
    talk.both_answer()
    talk.compare()
    with talk.database.read() as connection:
        second = connection.scalar(select(item.c.responses))[1]
    assert talk.said() == [("system", "Be brief."), ("user", "Hello?"), ("assistant", second)]
    talk.say("And then?")
    assert [m.content for m in talk.take()[0].messages] == ["Be brief.", "Hello?", second, "And then?"]


def test_of_two_equal_answers_the_left_one_goes_on(talk):
    talk.say("Hello?")
    talk.both_answer()
    lease = talk.compare(PairAnswer(choice="tie", margin=0))
    with talk.database.read() as connection:
        left = connection.scalar(select(item.c.responses))[lease.screen_order[0]]
    assert talk.said()[-1] == ("assistant", left)


def test_an_answer_taken_back_is_compared_again(talk):
    talk.say("Hello?")
    talk.both_answer()
    lease = talk.compare()
    talk.database.write(lambda c: judgments.undo(c, talk.rater, lease.lease_id, "undo-key", now=3.0))
    assert talk.state() == Comparing(lease.lease_id)


def test_it_ends_after_its_turns_and_another_begins(talk):
    for text in ("One", "Two"):
        talk.say(text)
        talk.both_answer()
        talk.compare()
    assert talk.state() == Composing(())


def test_it_ends_when_the_rater_wants(talk):
    talk.say("Hello?")
    with pytest.raises(ConflictError, match="still being written"):
        talk.database.write(lambda c: conversations.end(c, talk.campaign, talk.rater))
    talk.both_answer()
    talk.compare()
    talk.database.write(lambda c: conversations.end(c, talk.campaign, talk.rater))
    assert talk.state() == Composing(())


def test_nobody_speaks_out_of_turn(talk):
    talk.say("Hello?")
    with pytest.raises(ConflictError, match="not your turn"):
        talk.say("Hello again?")
    talk.both_answer()
    with pytest.raises(ConflictError, match="not your turn"):
        talk.say("Hello again?")


def test_a_failed_answer_gives_the_message_back(talk):
    talk.say("Hello?")
    first, second = talk.take()
    talk.finish(first, text="fine")
    talk.finish(second, error="no memory")
    at = talk.state()
    assert (at.text, at.problem) == ("Hello?", conversations.FAILED)
    talk.say("Hello once more?")
    assert isinstance(talk.state(), Waiting)


def test_answers_that_never_come_can_be_asked_for_again(talk):
    talk.say("Hello?", now=0.0)
    assert isinstance(talk.state(now=179.0), Waiting)
    assert talk.state(now=181.0).text == "Hello?"


def test_a_request_goes_to_one_worker_until_that_one_is_late(talk):
    talk.say("Hello?")
    assert len(talk.take(limit=1, now=1.0)) == 1
    assert len(talk.take(now=2.0)) == 1
    assert talk.take(now=3.0) == ()
    assert len(talk.take(now=1.0 + replies.TAKEN_S + 0.5)) == 1
    assert talk.take(policies=("other",), now=500.0) == ()


def test_the_first_answer_counts(talk):
    talk.say("Hello?")
    request = talk.take()[0]
    assert talk.finish(request, text="first").state == "done"
    assert talk.finish(request, error="second").state == "done"
    with pytest.raises(NotFoundError):
        talk.database.write(lambda c: replies.finish(c, 999, WrittenReply(text="x")))
