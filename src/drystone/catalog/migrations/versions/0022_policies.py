"""Snapshot policies, their disks and their runs; which policy a snapshot is of."""

import sqlalchemy as sa
from alembic import op

from drystone.catalog.dialect import INTEGER

revision = "0022"
down_revision = "0021"


def upgrade() -> None:
    """Make the tables and the columns; no snapshot from before is of a policy."""
    op.create_table(
        "policy",
        sa.Column("id", sa.Text(), primary_key=True),
        sa.Column("account_id", sa.Text(), sa.ForeignKey("account.id"), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("zone", sa.Text(), nullable=False),
        sa.Column("triggers", sa.Text(), nullable=False),
        sa.Column("retention", sa.Text(), nullable=False),
        sa.Column("active", sa.Boolean(), nullable=False),
        sa.Column("group", sa.Boolean(), nullable=False),
        sa.Column("skip_unchanged", sa.Boolean(), nullable=False),
        sa.Column("tags", sa.Text(), nullable=False),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.Column("modified_at", sa.Float(), nullable=False),
        sa.Column("anchored_at", sa.Float(), nullable=False),
        sa.Column("copied_from", sa.Text()),
    )
    op.create_index("ix_policy_account", "policy", ["account_id", "created_at", "id"])
    op.create_table(
        "policy_cursor",
        sa.Column("policy_id", sa.Text(), sa.ForeignKey("policy.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("at", sa.Float(), nullable=False),
    )
    op.create_table(
        "policy_disk",
        sa.Column("policy_id", sa.Text(), sa.ForeignKey("policy.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("disk_id", sa.Text(), primary_key=True),
        sa.Column("bound_at", sa.Float(), nullable=False),
    )
    op.create_index("ix_policy_disk_disk", "policy_disk", ["disk_id"])
    op.create_table(
        "policy_run",
        sa.Column("policy_id", sa.Text(), primary_key=True),
        sa.Column("slot", INTEGER, primary_key=True),
        sa.Column("disk_id", sa.Text(), primary_key=True),
        sa.Column("account_id", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text()),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.Column("late_by_s", sa.Float(), nullable=False),
        sa.Column("missed", INTEGER, nullable=False),
        sa.Column("attempts", INTEGER, nullable=False),
        sa.Column("try_at", sa.Float(), nullable=False),
        sa.Column("snapshot_id", sa.Text()),
        sa.Column("ended_at", sa.Float()),
    )
    open_run = sa.text("ended_at IS NULL")
    op.create_index("ix_policy_run_open", "policy_run", ["slot"], sqlite_where=open_run, postgresql_where=open_run)
    op.create_index("ix_policy_run_account", "policy_run", ["account_id", "slot"])
    op.create_index("ix_policy_run_disk", "policy_run", ["disk_id", "slot"])
    op.create_index("ix_policy_run_snapshot", "policy_run", ["snapshot_id"])
    op.create_index("ix_policy_run_ended", "policy_run", ["ended_at"])
    op.add_column("snapshot", sa.Column("policy_id", sa.Text()))
    op.add_column("snapshot", sa.Column("slot", INTEGER))
    op.add_column("snapshot", sa.Column("policy_order", INTEGER))
    op.create_index("ix_snapshot_policy", "snapshot", ["policy_id", "slot"])
