"""Encrypted disks, and their snapshots (S380, S382)."""

import sqlalchemy as sa
from alembic import op

revision = "0025"
down_revision = "0024"


def upgrade() -> None:
    """Add the columns; what is there is plain."""
    op.add_column("disk", sa.Column("encryption", sa.Text()))
    op.add_column("snapshot", sa.Column("encrypted", sa.Boolean(), nullable=False, server_default=sa.false()))
