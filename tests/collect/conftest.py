"""A database in a file, and of either kind."""

from __future__ import annotations

import pytest
from tests.collect import postgres

from truing.collect import migrate
from truing.collect.database import Database, open_database, open_engine
from truing.collect.schema import metadata


@pytest.fixture
def database(tmp_path):
    engine = open_engine(tmp_path / "collect.sqlite")
    metadata.create_all(engine)
    opened = Database(engine, open_engine(tmp_path / "collect.sqlite"))
    yield opened
    opened.close()


@pytest.fixture(scope="session")
def server():
    """A PostgreSQL of the tests' own, empty before each test that asks for a `location`."""
    if postgres.missing():
        pytest.skip(postgres.missing())
    with postgres.running() as url:
        yield url


@pytest.fixture
def postgresql(server):
    """An empty database on it."""
    yield server
    engine = open_engine(server)
    migrate.downgrade(engine, "base")
    engine.dispose()


@pytest.fixture(params=["sqlite", "postgresql"])
def location(request, tmp_path):
    """An empty database of either kind."""
    return str(tmp_path / "a.sqlite") if request.param == "sqlite" else request.getfixturevalue("postgresql")


@pytest.fixture
def either(location):
    """An open database of either kind."""
    opened = open_database(location)
    yield opened
    opened.close()


@pytest.fixture
def world(database, tmp_path):
    """The whole service over an empty database."""
    from tests.collect.service_world import World

    return World(database, tmp_path / "exports")
