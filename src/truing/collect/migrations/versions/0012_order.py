"""What is counted or asked for often has an index; which steps and answers count goes by their numbers, not by the clock."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

Id = sa.BigInteger().with_variant(sa.Integer, "sqlite")
_STEPS = """
    UPDATE qualification SET last_onboarding_id = COALESCE((
        SELECT MAX(onboarding.id) FROM onboarding
        WHERE onboarding.account_id = qualification.account_id AND onboarding.started_at < qualification.decided_at), 0)
"""
_ANSWERS = """
    UPDATE onboarding SET last_judgment_id = COALESCE((
        SELECT MAX(judgment.id) FROM judgment
        WHERE judgment.rater_id = onboarding.account_id AND judgment.judged_at < onboarding.started_at), 0)
    WHERE step = 'calibration'
"""


def upgrade() -> None:
    """A campaign's slots by state; deliveries by when they are due; what came before a calibration, and before a decision."""
    op.add_column("qualification", sa.Column("last_onboarding_id", Id, nullable=False, server_default="0"))
    op.execute(_STEPS)
    op.add_column("onboarding", sa.Column("last_judgment_id", Id, nullable=False, server_default="0"))
    op.execute(_ANSWERS)
    op.create_index("ix_slot_campaign_id_state", "slot", ["campaign_id", "state"])
    is_due = sa.text("next_attempt_at IS NOT NULL")
    op.create_index(
        "ix_webhook_delivery_due", "webhook_delivery", ["next_attempt_at", "id"], sqlite_where=is_due, postgresql_where=is_due
    )


def downgrade() -> None:
    """Without them."""
    op.drop_index("ix_webhook_delivery_due", "webhook_delivery")
    op.drop_index("ix_slot_campaign_id_state", "slot")
    op.drop_column("onboarding", "last_judgment_id")
    op.drop_column("qualification", "last_onboarding_id")
