from __future__ import annotations

import random
from collections import Counter

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import CheckConstraint, inspect, select, text
from tests.collect.full_disk import full
from tests.collect.people_world import FIRST, SECOND, add_account, add_campaign, add_items, answer, take

from truing.collect import campaigns, idempotency, migrate
from truing.collect.chat import conversations
from truing.collect.chat.config import LiveConfig, SampledConfig
from truing.collect.database import open_database, open_engine
from truing.collect.exchange import exports
from truing.collect.new_items import read_items
from truing.collect.onboarding import admission
from truing.collect.onboarding.config import OnboardingConfig
from truing.collect.onboarding.steps import Step
from truing.collect.schema import account, item, judgment, lease, metadata, onboarding, qualification, slot
from truing.collect.webhooks import deliveries, registry
from truing.errors import TruingError
from truing.records import Message


def test_the_migrations_make_the_schema_that_the_code_knows(location):
    engine = open_engine(location)
    migrate.upgrade(engine)
    assert unlike_the_code(engine) == []
    found = named(engine)
    migrate.downgrade(engine, "base")
    metadata.create_all(engine)
    assert found == named(engine)
    metadata.drop_all(engine)
    engine.dispose()


def named(engine):
    """The keys, constraints and indexes of every table by name, with the columns that they are on."""
    asked = inspect(engine)
    kinds = ("pk_constraint", "foreign_keys", "unique_constraints", "check_constraints", "indexes")
    return {
        (table, kind, each["name"], str(each.get("column_names") or each.get("constrained_columns")))
        for kind in kinds
        for (_, table), there in getattr(asked, f"get_multi_{kind}")().items()
        for each in ([there] if kind == "pk_constraint" else there)
        if table != "alembic_version"
    }


def unlike_the_code(engine):
    """Where a database's schema and the code's differ."""
    with engine.connect() as connection:
        found = compare_metadata(MigrationContext.configure(connection), metadata)
        checks = inspect(connection).get_multi_check_constraints()
    there = Counter((table, check["name"]) for (_, table), of_table in checks.items() for check in of_table)
    coded = (c for table in metadata.tables.values() for c in table.constraints if isinstance(c, CheckConstraint))
    wanted = Counter((c.table.name, c.name) for c in coded)
    return [*found, *(wanted - there), *(there - wanted)]


def fill(database):
    """What a service has after a day's work, in every table that a migration changes. Returns (rater, campaign)."""
    rater = add_account(database, "rater-1")
    campaign = add_campaign(database, onboarding=OnboardingConfig(calibration_items=1), overlap=2)
    add_items(database, campaign, 2)
    add_items(database, campaign, 2, purpose="calibration")
    database.write(lambda c: admission.record_step(c, rater, campaign, Step.CONSENT, {}, now=5.0))
    for now, stored in ((10.0, SECOND), (20.0, FIRST), (28.0, FIRST)):
        answer(database, rater, take(database, campaign, rater, now=now), stored, now=now + 1)
    live = add_campaign(database, "live", overlap=1, live=LiveConfig(policies=("a", "b")))
    database.write(lambda c: conversations.say(c, live, rater, "Hello?", now=30.0, rng=random.Random(0)))
    sampled = add_campaign(database, "sampled", sampled=SampledConfig(policies=("a", "b")))
    database.write(lambda c: campaigns.add_items(c, sampled, read_items(b"Where is the cat?\n"), now=30.0))
    hook = ("https://example.org/hook", ("export.begun",), b"key")
    database.write(lambda c: registry.create(c, *hook, draw="one", now=30.0))
    database.write(lambda c: exports.begin(c, "june", exports.ExportConfig(campaigns=("pairs",)), now=40.0))
    database.write(lambda c: deliveries.fan_out(c, now=50.0))
    reply = Message(role="user", content=".")
    database.write(lambda c: idempotency.once(c, rater, "key-0001", "request", lambda _: reply, now=50.0))
    return rater, campaign


def kept(engine):
    """What no migration may touch."""
    with engine.connect() as connection:
        return [connection.execute(select(t).order_by(*t.primary_key)).all() for t in (account, item, slot, lease, judgment)]


def marks(engine):
    """What was before each step and each decision."""
    with engine.connect() as connection:
        steps = connection.execute(select(onboarding.c.step, onboarding.c.last_judgment_id).order_by(onboarding.c.id)).all()
        return steps, connection.execute(select(qualification.c.status, qualification.c.last_onboarding_id)).all()


def test_every_revision_goes_down_and_up_again_and_keeps_what_was_judged(location):
    database = open_database(location)
    rater, campaign = fill(database)
    database.close()
    engine = open_engine(location)
    before = kept(engine)
    assert marks(engine) == ([("consent", 0), ("calibration", 0), ("calibration", 1)], [("granted", 3)])
    for revision in migrate.revisions()[-2::-1]:
        migrate.downgrade(engine, revision)
        assert kept(engine) == before, revision
    assert "api_reply" not in inspect(engine).get_table_names()
    for revision in migrate.revisions()[1:]:
        migrate.upgrade(engine, revision)
        assert kept(engine) == before, revision
    assert unlike_the_code(engine) == []
    assert marks(engine) == ([("consent", 0), ("calibration", 0), ("calibration", 1)], [("granted", 3)])
    engine.dispose()
    database = open_database(location)
    answer(database, rater, take(database, campaign, rater, now=60.0), now=65.0)
    made = database.write(lambda c: exports.begin(c, "july", exports.ExportConfig(campaigns=("pairs",)), now=70.0))
    exports.freeze(database, made)
    with database.read() as connection:
        assert exports.get(connection, made)["state"] == "writing"
    database.close()


def test_all_the_way_down_leaves_nothing(location):
    engine = open_engine(location)
    migrate.upgrade(engine)
    migrate.downgrade(engine, "base")
    assert set(inspect(engine).get_table_names()) <= {"alembic_version"}
    engine.dispose()


def test_a_database_of_a_later_version_is_refused(tmp_path):
    open_database(tmp_path / "a.sqlite").close()
    engine = open_engine(tmp_path / "a.sqlite")
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    engine.dispose()
    with pytest.raises(TruingError, match=r"schema 9999, newer than this version of truing knows .*restore a backup"):
        open_database(tmp_path / "a.sqlite")


def test_a_disk_too_full_for_a_new_schema_is_said_and_changes_nothing(tmp_path):
    engine = open_engine(tmp_path / "a.sqlite")
    migrate.upgrade(engine, "0001")
    with full(engine), pytest.raises(TruingError, match=r"disk is full\. Nothing was changed.*free some space"):
        migrate.upgrade(engine)
    assert migrate.current(engine) == "0001"
    migrate.upgrade(engine)
    assert migrate.current(engine) == migrate.newest()
    engine.dispose()
