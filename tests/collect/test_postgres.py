"""What SQLite's one writer cannot show: several processes' writers on one PostgreSQL."""

from __future__ import annotations

import contextlib
from concurrent.futures import ThreadPoolExecutor, wait

import pytest
from sqlalchemy import func, select
from tests.collect.people_world import add_account, add_campaign, add_items, answer, take

from truing.collect import judgments
from truing.collect.database import BACKGROUND, READERS, open_database, open_engine
from truing.collect.errors import FrozenError
from truing.collect.exchange import exports
from truing.collect.schema import account, export_member, judgment, slot

ADMITTED = 97
"""Connections that PostgreSQL admits by default, less the three kept for superusers."""


@pytest.fixture
def writers(postgresql):
    """The same database as two processes have it: each with its own writer."""
    opened = [open_database(postgresql) for _ in range(2)]
    yield opened
    for one in opened:
        one.close()


def test_a_write_does_not_wait_for_readers_and_four_processes_fit_in_what_a_server_admits(writers):
    with contextlib.ExitStack() as reading:
        for _ in range(READERS + BACKGROUND):
            reading.enter_context(writers[0].read())
        add_account(writers[0], "rater-1")
        with writers[1].read() as connection:
            assert connection.scalar(select(func.count()).select_from(account)) == 1
    assert 4 * (READERS + BACKGROUND + 1) <= ADMITTED


def test_two_processes_hand_out_no_slot_twice_and_take_each_answer_once(writers):
    campaign_id = add_campaign(writers[0], overlap=2)
    add_items(writers[0], campaign_id, 15)
    raters = [add_account(writers[0], f"rater-{n}") for n in range(6)]

    def work(number):
        rater, done = raters[number % 6], 0
        for turn in range(40):
            database = writers[(number + turn) % 2]
            found = take(database, campaign_id, rater, seed=turn)
            if found is None:
                return done
            first = answer(database, rater, found)
            second = answer(writers[(number + turn + 1) % 2], rater, found)
            assert first == second
            done += 1
        return done

    with ThreadPoolExecutor(6) as pool:
        done = list(pool.map(work, range(6)))
    assert sum(done) == 30
    with writers[0].read() as connection:
        assert connection.scalar(select(func.count()).select_from(judgment)) == 30
        assert set(connection.scalars(select(slot.c.state))) == {"done"}
        per_item = connection.execute(select(judgment.c.item_id, func.count(judgment.c.rater_id.distinct())).group_by("item_id"))
        assert {row[1] for row in per_item} == {2}
        assert not any(connection.scalars(select(judgment.c.is_surplus)))


def test_one_rater_asking_two_processes_at_once_gets_different_items(writers):
    campaign_id = add_campaign(writers[0], overlap=2)
    add_items(writers[0], campaign_id, 5)
    rater = add_account(writers[0], "rater-1")
    for round_ in range(3):
        with ThreadPoolExecutor(2) as pool:
            found = list(pool.map(lambda database: take(database, campaign_id, rater, seed=round_), writers))  # noqa: B023
        items = {lease.item_id for lease in found if lease is not None}
        assert items
        for lease in {lease.lease_id: lease for lease in found if lease is not None}.values():
            answer(writers[0], rater, lease)
    with writers[0].read() as connection:
        answered = connection.scalars(select(judgment.c.item_id).where(judgment.c.rater_id == rater)).all()
    assert len(answered) == len(set(answered))


def test_the_same_answer_sent_to_two_processes_at_once_gets_one_acknowledgement(writers, monkeypatch):
    """The other process is given every chance to commit just after this one has looked for the key."""
    campaign_id = add_campaign(writers[0], overlap=1)
    add_items(writers[0], campaign_id, 1)
    rater = add_account(writers[0], "rater-1")
    found = take(writers[0], campaign_id, rater)
    look, others = judgments._by_key, []
    with ThreadPoolExecutor(1) as pool:

        def look_then_be_overtaken(*arguments):
            seen = look(*arguments)
            if not others:
                others.append(None)
                others[0] = pool.submit(answer, writers[1], rater, found)
                wait(others, timeout=1.0)
            return seen

        monkeypatch.setattr(judgments, "_by_key", look_then_be_overtaken)
        one = answer(writers[0], rater, found)
        assert one == others[0].result()
    with writers[0].read() as connection:
        assert connection.scalar(select(func.count()).select_from(judgment)) == 1


@pytest.fixture
def answered(writers):
    """An export that was begun on one answer; (rater, lease, export)."""
    campaign_id = add_campaign(writers[0], overlap=1)
    add_items(writers[0], campaign_id, 1)
    rater = add_account(writers[0], "rater-1")
    found = take(writers[0], campaign_id, rater)
    answer(writers[0], rater, found)
    config = exports.ExportConfig(campaigns=("pairs",))
    return rater, found, writers[0].write(lambda c: exports.begin(c, "june", config, now=30.0))


def taken_back(database, rater, found):
    return database.write(lambda c: judgments.undo(c, rater, found.lease_id, "undo-key", now=40.0))


def test_what_another_process_is_freezing_is_not_taken_back(writers, answered):
    rater, found, export_id = answered
    with ThreadPoolExecutor(1) as pool:
        with writers[0].engine.begin() as freezing:
            exports.freeze_step(freezing, export_id)
            undo = pool.submit(taken_back, writers[1], rater, found)
            wait([undo], timeout=1.0)
        with pytest.raises(FrozenError):
            undo.result()


def test_what_another_process_is_taking_back_is_not_frozen(writers, answered):
    rater, found, export_id = answered
    with ThreadPoolExecutor(1) as pool:
        with writers[0].engine.begin() as undoing:
            judgments.undo(undoing, rater, found.lease_id, "undo-key", now=40.0)
            freeze = pool.submit(exports.freeze, writers[1], export_id)
            wait([freeze], timeout=1.0)
        freeze.result()
    with writers[0].read() as connection:
        assert connection.scalar(select(func.count()).select_from(export_member)) == 0
        assert exports.get(connection, export_id)["exclusions"] == {}


def test_a_server_that_is_not_there_is_said_without_its_password():
    with pytest.raises(Exception, match="cannot be opened") as raised:
        open_engine("postgresql+psycopg://me:secret@127.0.0.1:1/none")
    assert "secret" not in str(raised.value)
