"""What is counted and asked for often is found by an index."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """A campaign's slots by state; deliveries by when they are due."""
    op.create_index("ix_slot_campaign_id_state", "slot", ["campaign_id", "state"])
    is_due = sa.text("next_attempt_at IS NOT NULL")
    op.create_index(
        "ix_webhook_delivery_due", "webhook_delivery", ["next_attempt_at", "id"], sqlite_where=is_due, postgresql_where=is_due
    )


def downgrade() -> None:
    """Without them."""
    op.drop_index("ix_webhook_delivery_due", "webhook_delivery")
    op.drop_index("ix_slot_campaign_id_state", "slot")
