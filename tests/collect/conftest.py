"""A database in a file."""

from __future__ import annotations

import pytest

from truing.collect.database import Database, open_engine
from truing.collect.schema import metadata


@pytest.fixture
def database(tmp_path):
    engine = open_engine(tmp_path / "collect.sqlite")
    metadata.create_all(engine)
    opened = Database(engine, open_engine(tmp_path / "collect.sqlite"))
    yield opened
    opened.close()


@pytest.fixture
def world(database, tmp_path):
    """The whole service over an empty database."""
    from tests.collect.service_world import World

    return World(database, tmp_path / "exports")
