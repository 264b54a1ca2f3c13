"""Answers that items wait for, beside those of live chats."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

Id = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def _states() -> sa.CheckConstraint:
    """Given again for SQLite, where a table is changed by copying it, and a copy has no checks of its own."""
    return sa.CheckConstraint("state IN ('waiting', 'taken', 'done', 'failed')", name="ck_reply_state")


def upgrade() -> None:
    """An answer belongs to a chat or to an item."""
    with op.batch_alter_table("reply", table_args=(_states(),)) as table:
        table.alter_column("chat_id", existing_type=Id, nullable=True)
        table.add_column(sa.Column("item_id", Id, nullable=True))
        table.create_foreign_key("fk_reply_item_id", "item", ["item_id"], ["id"])
        table.create_unique_constraint("uq_reply_item_id_place", ["item_id", "place"])


def downgrade() -> None:
    """Answers of chats alone; items that still wait for theirs stay without."""
    op.execute("DELETE FROM reply WHERE chat_id IS NULL")
    with op.batch_alter_table("reply", table_args=(_states(),)) as table:
        table.drop_constraint("uq_reply_item_id_place", type_="unique")
        table.drop_constraint("fk_reply_item_id", type_="foreignkey")
        table.drop_column("item_id")
        table.alter_column("chat_id", existing_type=Id, nullable=False)
