"""A campaign of three pairs, a rater, and a guideline of two versions, both of which they confirmed."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from tests.collect.people_world import add_account, add_campaign, add_items

from truing.collect.database import open_database
from truing.collect.guidelines import versions

GUIDELINE = "Read it all.\n\n## Truth {#truth}\n\nTruth first.\n\n## Length {#length}\n\nLonger is not better.\n"
NEWER = GUIDELINE.replace("Longer is not", "Shorter is often") + "\n## Doubt {#doubt}\n\nUse the tie.\n"


@pytest.fixture
def make_world(tmp_path):
    """Worlds in databases of their own, equal to one another."""
    opened = []

    def make():
        folder = tmp_path / f"world-{len(opened)}"
        database = open_database(folder / "collect.sqlite")
        opened.append(database)
        rater_id = add_account(database, "rater-1")
        for after, text in enumerate((GUIDELINE, NEWER)):
            version = database.write(lambda c, t=text, n=after: versions.publish(c, "main", t, now=n, after=n))
            database.write(lambda c, v=version.guideline_id, n=after: versions.confirm(c, rater_id, v, now=n))
        campaign_id = add_campaign(database, guideline="main")
        add_items(database, campaign_id, 3)
        return SimpleNamespace(
            database=database, folder=folder, rater_id=rater_id, campaign_id=campaign_id, guideline_id=version.guideline_id
        )

    yield make
    for database in opened:
        database.close()


@pytest.fixture
def world(make_world):
    return make_world()
