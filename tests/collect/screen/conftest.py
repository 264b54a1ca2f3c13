"""A campaign with a rater and a guideline of two versions, both of which they confirmed."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from tests.collect.people_world import add_account, add_campaign, add_items

from truing.collect.guidelines import versions

GUIDELINE = "Read it all.\n\n## Truth {#truth}\n\nTruth first.\n\n## Length {#length}\n\nLonger is not better.\n"
NEWER = GUIDELINE.replace("Longer is not", "Shorter is often") + "\n## Doubt {#doubt}\n\nUse the tie.\n"


@pytest.fixture
def world(database):
    rater_id = add_account(database, "rater-1")
    first = database.write(lambda c: versions.publish(c, "main", GUIDELINE, now=0.0))
    database.write(lambda c: versions.confirm(c, rater_id, first.guideline_id, now=1.0))
    newer = database.write(lambda c: versions.publish(c, "main", NEWER, now=2.0, after=1))
    database.write(lambda c: versions.confirm(c, rater_id, newer.guideline_id, now=3.0))
    campaign_id = add_campaign(database, guideline="main")
    add_items(database, campaign_id, 3)
    return SimpleNamespace(database=database, rater_id=rater_id, campaign_id=campaign_id, guideline_id=newer.guideline_id)
