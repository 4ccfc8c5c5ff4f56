"""Snapshots that are shared with other accounts."""

import sqlalchemy as sa
from alembic import op

revision = "0024"
down_revision = "0023"


def upgrade() -> None:
    """Make the table; nothing is shared yet."""
    op.create_table(
        "snapshot_share",
        sa.Column("snapshot_id", sa.Text(), nullable=False),
        sa.Column("account_id", sa.Text(), nullable=False),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.ForeignKeyConstraint(
            ["snapshot_id"], ["snapshot.id"], name="fk_snapshot_share_snapshot_id", ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name="fk_snapshot_share_account_id"),
        sa.PrimaryKeyConstraint("snapshot_id", "account_id", name="pk_snapshot_share"),
    )
    op.create_index("ix_snapshot_share_account", "snapshot_share", ["account_id", "snapshot_id"])
