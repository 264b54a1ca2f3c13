"""Live chats, and the answers that they wait for."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0002"
branch_labels = None
depends_on = None

Id = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    """Add both tables."""
    op.create_table(
        "chat",
        sa.Column("id", Id, primary_key=True, autoincrement=True),
        sa.Column("campaign_id", Id, sa.ForeignKey("campaign.id", name="fk_chat_campaign_id"), nullable=False),
        sa.Column("rater_id", Id, sa.ForeignKey("account.id", name="fk_chat_rater_id"), nullable=False),
        sa.Column("messages", sa.JSON, nullable=False),
        sa.Column("turn", sa.Integer, nullable=False),
        sa.Column("state", sa.String(10), nullable=False),
        sa.Column("lease_id", sa.String(40), sa.ForeignKey("lease.id", name="fk_chat_lease_id"), nullable=True),
        sa.Column("created_at", sa.Float, nullable=False),
        sa.Column("asked_at", sa.Float, nullable=False),
        sa.CheckConstraint("state IN ('composing', 'waiting', 'comparing', 'ended')", name="ck_chat_state"),
    )
    op.create_index("ix_chat_rater_id_campaign_id", "chat", ["rater_id", "campaign_id"])
    op.create_table(
        "reply",
        sa.Column("id", Id, primary_key=True, autoincrement=True),
        sa.Column("chat_id", Id, sa.ForeignKey("chat.id", name="fk_reply_chat_id"), nullable=False),
        sa.Column("turn", sa.Integer, nullable=False),
        sa.Column("place", sa.Integer, nullable=False),
        sa.Column("policy", sa.String(200), nullable=False),
        sa.Column("messages", sa.JSON, nullable=False),
        sa.Column("state", sa.String(8), nullable=False),
        sa.Column("text", sa.Text, nullable=False),
        sa.Column("error", sa.Text, nullable=False),
        sa.Column("asked_at", sa.Float, nullable=False),
        sa.Column("taken_at", sa.Float, nullable=True),
        sa.UniqueConstraint("chat_id", "turn", "place", name="uq_reply_chat_id_turn_place"),
        sa.CheckConstraint("state IN ('waiting', 'taken', 'done', 'failed')", name="ck_reply_state"),
    )
    op.create_index("ix_reply_state_policy", "reply", ["state", "policy"])


def downgrade() -> None:
    """Drop both tables."""
    op.drop_table("reply")
    op.drop_table("chat")
