"""Messages between leads and raters."""

from __future__ import annotations

import pytest
from tests.collect.people_world import add_account

from truing.collect.errors import NotFoundError, ServiceError
from truing.collect.people import messages


@pytest.fixture
def pair(database):
    return add_account(database, "lead-1", role="lead"), add_account(database, "r1")


def test_a_message_waits_until_it_is_read_and_is_answered(database, pair):
    lead, rater = pair
    with pytest.raises(NotFoundError):
        database.write(lambda c: messages.answer_lead(c, rater, "Hello?", now=1.0))
    database.write(lambda c: messages.send(c, rater, " Please look at clause 2. ", now=2.0, by=lead))
    with database.read() as c:
        assert messages.unread(c, rater) == 1
    database.write(lambda c: messages.mark_read(c, rater, now=3.0))
    database.write(lambda c: messages.answer_lead(c, rater, "I did.", now=4.0))
    with database.read() as c:
        assert messages.unread(c, rater) == 0
        assert messages.unread(c, lead) == 1
        assert [(m.text, m.from_lead, m.read_at) for m in messages.thread(c, rater)] == [
            ("I did.", False, None),
            ("Please look at clause 2.", True, 3.0),
        ]


def test_a_lead_reads_one_rater_at_a_time(database, pair):
    lead, rater = pair
    other = add_account(database, "r2")
    for who in (rater, other):
        database.write(lambda c, who=who: messages.send(c, who, "Hi", now=1.0, by=lead))
        database.write(lambda c, who=who: messages.answer_lead(c, who, "Hi!", now=2.0))
    database.write(lambda c: messages.mark_read(c, lead, now=3.0, sender_id=rater))
    with database.read() as c:
        assert messages.unread(c, lead) == 1


@pytest.mark.parametrize("text", ["  ", "x" * 5_001])
def test_nothing_and_too_much_are_refused(database, pair, text):
    with pytest.raises(ServiceError, match="between 1"):
        database.write(lambda c: messages.send(c, pair[1], text, now=1.0, by=pair[0]))


def test_nobody_is_written_to_who_is_not_there(database, pair):
    with pytest.raises(NotFoundError):
        database.write(lambda c: messages.send(c, 999, "Hi", now=1.0, by=pair[0]))
