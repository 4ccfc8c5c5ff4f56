"""Snapshot groups and quiesce profiles."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table of groups; a snapshot names its group."""
    op.create_table(
        "snapshot_group",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("account_id", sa.Text(), nullable=False),
        sa.Column("instance_id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("tags", sa.Text(), nullable=False),
        sa.Column("operation_id", sa.Text(), nullable=False),
        sa.Column("pause_ms", sa.Float()),
        sa.Column("taken_at", sa.Float()),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.Column("modified_at", sa.Float(), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name="fk_snapshot_group_account_id"),
        sa.PrimaryKeyConstraint("id", name="pk_snapshot_group"),
    )
    op.create_index("ix_snapshot_group_account", "snapshot_group", ["account_id", "created_at", "id"])
    op.add_column("snapshot", sa.Column("group_id", sa.Text()))
    op.create_index("ix_snapshot_group", "snapshot", ["group_id"])
