"""Snapshot groups and quiesce profiles."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Make the tables of groups, whose members name them, and of quiesce profiles."""
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
    op.create_table(
        "quiesce_profile",
        sa.Column("resource_id", sa.Text(), nullable=False),
        sa.Column("account_id", sa.Text(), nullable=False),
        sa.Column("mode", sa.Text(), nullable=False),
        sa.Column("freeze_seconds_max", sa.Float(), nullable=False),
        sa.Column("steps", sa.Text(), nullable=False),
        sa.Column("modified_at", sa.Float(), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name="fk_quiesce_profile_account_id"),
        sa.PrimaryKeyConstraint("resource_id", name="pk_quiesce_profile"),
    )
    op.create_index("ix_quiesce_profile_account", "quiesce_profile", ["account_id", "resource_id"])
