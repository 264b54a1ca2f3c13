"""Questions that are asked all day are answered by an index, however long the tables are."""

from __future__ import annotations

import contextlib

from sqlalchemy import event
from tests.collect.people_world import add_campaign

from truing.collect import campaigns
from truing.collect.adjudication import cases
from truing.collect.dashboard import board
from truing.collect.people import completion
from truing.collect.webhooks import deliveries


@contextlib.contextmanager
def plans(connection):
    """SQLite's plan of every statement on a connection meanwhile."""
    found = []

    def explain(_, cursor, statement, parameters, *__):
        cursor.execute(f"EXPLAIN QUERY PLAN {statement}", parameters)
        found.extend(row[3] for row in cursor.fetchall())

    event.listen(connection, "before_cursor_execute", explain)
    yield found
    event.remove(connection, "before_cursor_execute", explain)


def test_how_far_a_campaign_is_is_counted_in_indexes(database):
    campaign_id = add_campaign(database)
    with database.read() as connection, plans(connection) as found:
        campaigns.progress(connection, campaign_id)
    assert "SEARCH slot USING COVERING INDEX ix_slot_campaign_id_state (campaign_id=?)" in found
    assert "SEARCH judgment USING COVERING INDEX ix_judgment_progress (campaign_id=? AND is_current=?)" in found
    assert not [step for step in found if step.startswith("SCAN")]


def test_the_latest_answers_of_a_campaign_are_read_in_their_order(database):
    campaign_id = add_campaign(database)
    with database.read() as connection, plans(connection) as found:
        board.rated_rows(connection, campaign_id)
        cases.waiting(connection, campaign_id)
    assert found.count("SEARCH judgment USING INDEX ix_judgment_campaign_id_id (campaign_id=?)") == 2
    assert "USE TEMP B-TREE FOR ORDER BY" not in found


def test_how_far_a_rater_is_needs_no_others_answers(database):
    with database.read() as connection, plans(connection) as found:
        completion.answered(connection, 1, 1)
    index = "ix_lease_rater_id_campaign_id_state (rater_id=? AND campaign_id=? AND state=?)"
    assert found == [f"SEARCH lease USING COVERING INDEX {index}"]


def test_deliveries_that_are_not_due_are_not_looked_at(database):
    def claim(connection):
        with plans(connection) as found:
            deliveries.claim(connection, b"key", now=1.0)
        return found

    found = database.write(claim)
    assert "SEARCH webhook_delivery USING INDEX ix_webhook_delivery_due (next_attempt_at<?)" in found
    assert "SCAN webhook_delivery" not in found
