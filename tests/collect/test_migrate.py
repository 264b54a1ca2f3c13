from __future__ import annotations

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import func, inspect, select, text
from tests.collect.full_disk import full
from tests.collect.people_world import add_account, add_campaign, add_items, answer, take

from truing.collect import migrate
from truing.collect.database import open_database, open_engine
from truing.collect.schema import account, judgment, metadata
from truing.errors import TruingError


def test_the_migrations_make_the_schema_that_the_code_knows(tmp_path):
    engine = open_engine(tmp_path / "a.sqlite")
    migrate.upgrade(engine)
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
    engine.dispose()


def test_down_a_version_and_up_again_keeps_what_was_judged(tmp_path):
    database = open_database(tmp_path / "a.sqlite")
    rater = add_account(database, "rater-1")
    campaign = add_campaign(database)
    add_items(database, campaign, 2)
    answer(database, rater, take(database, campaign, rater))
    database.close()
    engine = open_engine(tmp_path / "a.sqlite")
    first, *_ = migrate.revisions()
    migrate.downgrade(engine, first)
    assert "api_reply" not in inspect(engine).get_table_names()
    migrate.upgrade(engine)
    with engine.connect() as connection:
        assert connection.scalar(select(func.count()).select_from(judgment)) == 1
        assert connection.scalars(select(account.c.pseudonym)).all() == ["rater-1"]
    engine.dispose()


def test_all_the_way_down_leaves_nothing(tmp_path):
    engine = open_engine(tmp_path / "a.sqlite")
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
