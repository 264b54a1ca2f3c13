"""A person's data, and what is left of it."""

from __future__ import annotations

import json

import pytest
from sqlalchemy import insert, select
from tests.collect.people_world import FIRST, add_account, add_campaign, add_items, answer, take

from truing.collect import judgments
from truing.collect.accounts import passwords
from truing.collect.config import ServiceConfig
from truing.collect.errors import ConflictError, NotFoundError
from truing.collect.people import earnings, erasure, messages
from truing.collect.schema import account, api_token, draft, event, judgment, message, metadata, session, sign_in_attempt, slot

PERSONAL = ("anna@example.org", "Anna Example", "PLATFORM-77", "please call me", "the cat stepped")


@pytest.fixture
def worked(database):
    """A rater with one answer, one item in hand with a draft, mail, a payment, a session and a token."""
    lead = add_account(database, "lead-1", role="lead")
    rater = add_account(
        database,
        "brisk-otter",
        login=PERSONAL[0],
        name=PERSONAL[1],
        settings={"platform_id": PERSONAL[2]},
        password_hash="x",
        oidc_subject="idp|anna@example.org",
    )
    campaign_id = add_campaign(database, overlap=1)
    add_items(database, campaign_id, 2)
    answer(database, rater, take(database, campaign_id, rater), now=20.0)
    lease = take(database, campaign_id, rater, now=30.0)
    database.write(lambda c: judgments.save_draft(c, rater, lease.lease_id, {"critique": PERSONAL[4]}, now=31.0))
    database.write(lambda c: messages.send(c, rater, "Well done.", now=32.0, by=lead))
    database.write(lambda c: messages.answer_lead(c, rater, PERSONAL[3], now=33.0))
    database.write(lambda c: earnings.pay(c, rater, campaign_id, "payout", 100, now=34.0, by=lead, note=PERSONAL[1]))
    rows = [
        insert(session).values(id_hash="h", account_id=rater, created_at=1.0, seen_at=2.0),
        insert(api_token).values(account_id=rater, name=PERSONAL[1], token_hash="t", scopes=[], created_at=1.0),
    ]
    database.write(lambda c: [c.execute(row) for row in rows] and None)
    return rater, lead, campaign_id


def everything(database):
    with database.read() as c:
        return json.dumps([[list(map(str, row)) for row in c.execute(select(table))] for table in metadata.sorted_tables])


def test_the_export_has_all_of_it_and_no_secret(database, worked):
    with database.read() as c:
        document = erasure.export_person(c, worked[0])
    text = json.dumps(document)
    assert all(words in text for words in PERSONAL[:4])
    assert document["account"]["pseudonym"] == "brisk-otter"
    assert document["judgments"][0]["answers"] == [FIRST.model_dump()]
    assert "password_hash" not in text
    assert "token_hash" not in text


def test_an_erased_person_leaves_judgments_under_the_pseudonym_and_nothing_personal(database, worked):
    rater, lead, _ = worked
    assert all(words in everything(database) for words in PERSONAL)
    assert database.write(lambda c: erasure.erase(c, rater, now=50.0, by=lead)) == "brisk-otter"
    left = everything(database)
    assert [words for words in PERSONAL if words in left] == []
    with database.read() as c:
        row = c.execute(select(account).where(account.c.id == rater)).mappings().one()
        assert (row["login"], row["name"], row["password_hash"], row["oidc_subject"]) == (None, "", None, None)
        assert (row["settings"], row["erased_at"], row["disabled_at"]) == ({}, 50.0, 50.0)
        assert row["pseudonym"] == "brisk-otter"
        kept = c.execute(select(judgment.c.rater_id, judgment.c.answers)).all()
        assert [(k.rater_id, k.answers) for k in kept] == [(rater, [FIRST.model_dump()])]
        for table in (session, api_token, draft, message):
            assert c.execute(select(table)).all() == []
        assert sorted(c.scalars(select(slot.c.state))) == ["done", "open"]
        assert c.scalars(select(event.c.action).order_by(event.c.id.desc())).first() == "account.erased"


def test_pay_is_still_accounted_for(database, worked):
    rater, lead, _ = worked
    database.write(lambda c: erasure.erase(c, rater, now=50.0, by=lead))
    with database.read() as c:
        assert earnings.ledger(c, rater).balances[0].paid_micros == 1_000_000


def test_erasing_is_done_once_and_not_to_the_last_admin(database, worked):
    rater, lead, _ = worked
    admin = add_account(database, "admin-1", role="admin")
    database.write(lambda c: erasure.erase(c, rater, now=50.0, by=lead))
    with pytest.raises(ConflictError, match="already"):
        database.write(lambda c: erasure.erase(c, rater, now=51.0, by=lead))
    with pytest.raises(ConflictError, match="only admin"):
        database.write(lambda c: erasure.erase(c, admin, now=51.0, by=admin))
    with pytest.raises(NotFoundError):
        database.write(lambda c: erasure.erase(c, 999, now=51.0, by=lead))


def test_erasing_oneself_forgets_nobody_elses_failed_sign_ins(database):
    for login in ("1", "12"):
        database.write(lambda c, login=login: passwords.begin_attempt(c, login, "192.0.2.1", ServiceConfig(), now=1.0))
    rater = add_account(database, "r", login="1")
    database.write(lambda c: erasure.erase(c, rater, now=2.0, by=rater))
    with database.read() as c:
        left = sorted(c.scalars(select(sign_in_attempt.c.key)))
    assert left == ["address:192.0.2.1", "address:192.0.2.1", "login:12"]
