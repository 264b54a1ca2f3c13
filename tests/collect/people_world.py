"""People, campaigns and judgments for tests, made through the service's own functions."""

from __future__ import annotations

import random

from sqlalchemy import insert

from truing.collect import campaigns, judgments, leases
from truing.collect.answers import PairAnswer, on_screen
from truing.collect.config import CampaignConfig
from truing.collect.judgments import Submission
from truing.collect.new_items import NewItem
from truing.collect.schema import account
from truing.records import Prompt

FIRST = PairAnswer(choice="first", margin=2)
SECOND = PairAnswer(choice="second", margin=2)
TIE = PairAnswer(choice="tie", margin=0)


def add_account(database, pseudonym, role="rater", **columns):
    row = {"login": pseudonym, "pseudonym": pseudonym, "role": role, "settings": {}, "created_at": 0.0, **columns}
    return database.write(lambda c: c.execute(insert(account).values(**row)).inserted_primary_key[0])


def add_campaign(database, name="pairs", **settings):
    config = CampaignConfig(name=name, **{"gold_share": 0.0, "repeat_share": 0.0, **settings})
    return database.write(lambda c: campaigns.create(c, config, now=0.0))


def add_items(database, campaign_id, count, purpose="task", gold=FIRST, start=0):
    new = [
        NewItem(
            external_id=f"{purpose}-{n}",
            prompt=Prompt.from_text(f"Question {purpose} {n}?"),
            responses=(f"First answer {n}.", f"Second answer {n}, which is longer."),
            policies=("base", "tuned"),
            purpose=purpose,
            gold=None if purpose == "task" else (gold,),
        )
        for n in range(start, start + count)
    ]
    return database.write(lambda c: campaigns.add_items(c, campaign_id, new, now=0.0))


def take(database, campaign_id, rater_id, now=10.0, seed=0):
    def work(connection):
        row = campaigns.get(connection, campaign_id)
        return leases.next_lease(connection, row, campaigns.config_of(row), rater_id, now=now, rng=random.Random(seed))

    return database.write(work)


def answer(database, rater_id, lease, stored=FIRST, now=20.0, active_s=5.0, **more):
    (shown,) = on_screen([stored], lease.screen_order)
    key = f"key-{lease.lease_id}-{now}"
    sent = Submission(lease_id=lease.lease_id, idempotency_key=key, answers=(shown,), active_s=active_s, **more)
    return database.write(lambda c: judgments.submit(c, rater_id, sent, now=now))
