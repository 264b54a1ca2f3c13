"""Exports say how far they are, webhooks what they have seen, and replies to the API are kept under the sender's key.

Names of items sort by their bytes on PostgreSQL as they do on SQLite, so that an export's order does not depend on a locale.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

Id = sa.BigInteger().with_variant(sa.Integer, "sqlite")
EXPORT = (
    sa.Column("state", sa.String(10), nullable=False, server_default="done"),
    sa.Column("last_judgment_id", Id, nullable=False, server_default="0"),
    sa.Column("frozen_judgment_id", Id, nullable=False, server_default="0"),
    sa.Column("exclusions", sa.JSON, nullable=False, server_default="{}"),
    sa.Column("error", sa.Text, nullable=False, server_default=""),
)


def upgrade() -> None:
    """Add the columns and the table."""
    with op.batch_alter_table("export") as table:
        for column in EXPORT:
            table.add_column(column._copy())
    with op.batch_alter_table("webhook") as table:
        table.add_column(sa.Column("last_event_id", Id, nullable=False, server_default="0"))
    op.create_table(
        "api_reply",
        sa.Column("account_id", Id, sa.ForeignKey("account.id", name="fk_api_reply_account_id"), nullable=False),
        sa.Column("idempotency_key", sa.String(100), nullable=False),
        sa.Column("request_hash", sa.String(64), nullable=False),
        sa.Column("reply", sa.Text, nullable=False),
        sa.Column("created_at", sa.Float, nullable=False),
        sa.UniqueConstraint("account_id", "idempotency_key", name="uq_api_reply_account_id_idempotency_key"),
    )
    op.create_index("ix_api_reply_created_at", "api_reply", ["created_at"])
    _collate('"C"')


def downgrade() -> None:
    """Take them away again."""
    _collate('"default"')
    op.drop_table("api_reply")
    with op.batch_alter_table("webhook") as table:
        table.drop_column("last_event_id")
    with op.batch_alter_table("export") as table:
        for column in EXPORT:
            table.drop_column(column.name)


def _collate(collation: str) -> None:
    if op.get_bind().dialect.name == "postgresql":
        op.execute(f"ALTER TABLE item ALTER COLUMN external_id TYPE VARCHAR(200) COLLATE {collation}")
