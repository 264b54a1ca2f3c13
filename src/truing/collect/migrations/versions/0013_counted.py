"""A campaign's judgments are counted in an index; checks bear the names that the code knows; nothing waits for a removed webhook."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

CHECKS = {
    "chat": "state IN ('composing', 'waiting', 'comparing', 'ended')",
    "reply": "state IN ('waiting', 'taken', 'done', 'failed')",
}
"""0010 named them by the convention twice over: ck_chat_ck_chat_state."""
_GIVE_UP = """
    UPDATE webhook_delivery SET next_attempt_at = NULL
    WHERE next_attempt_at IS NOT NULL AND webhook_id IN (SELECT id FROM webhook WHERE disabled_at IS NOT NULL)
"""


def upgrade() -> None:
    """With them."""
    columns = ["campaign_id", "is_current", "kind", "purpose", "is_surplus"]
    op.create_index("ix_judgment_progress", "judgment", columns)
    for table, check in CHECKS.items():
        if op.get_context().dialect.name == "sqlite":
            _with_one_check(table, check)
        else:
            op.execute(f"ALTER TABLE {table} RENAME CONSTRAINT ck_{table}_ck_{table}_state TO ck_{table}_state")
    op.execute(_GIVE_UP)


def _with_one_check(table: str, check: str) -> None:
    """A copy of a table of SQLite's. How many checks it has so far depends on what SQLAlchemy read of them in 0011."""
    found = sa.Table(table, sa.MetaData(), autoload_with=op.get_bind())
    found.constraints -= {each for each in found.constraints if isinstance(each, sa.CheckConstraint)}
    found.append_constraint(sa.CheckConstraint(check, name=op.f(f"ck_{table}_state")))
    with op.batch_alter_table(table, copy_from=found, recreate="always"):
        pass


def downgrade() -> None:
    """Without the index, and under the former names; SQLite's tables stay as they are."""
    if op.get_context().dialect.name != "sqlite":
        for table in CHECKS:
            op.execute(f"ALTER TABLE {table} RENAME CONSTRAINT ck_{table}_state TO ck_{table}_ck_{table}_state")
    op.drop_index("ix_judgment_progress", "judgment")
