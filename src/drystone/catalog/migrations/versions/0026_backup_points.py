"""Backup points of disks: snapshots that clients see under another name."""

import sqlalchemy as sa
from alembic import op

from drystone.catalog.dialect import INTEGER

revision = "0026"
down_revision = "0025"


def upgrade() -> None:
    """Add the columns; there is no backup point yet, and the first round makes those of today."""
    op.add_column("snapshot", sa.Column("backup_id", sa.Text(), nullable=True))
    op.create_index("ix_snapshot_backup", "snapshot", ["backup_id"])
    op.add_column("disk", sa.Column("backup_day", INTEGER, nullable=True))
