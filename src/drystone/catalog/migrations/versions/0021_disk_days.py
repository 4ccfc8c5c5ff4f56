"""What the store holds of each disk, by day (S370)."""

import sqlalchemy as sa
from alembic import op

from drystone.catalog.dialect import INTEGER

revision = "0021"
down_revision = "0020"


def upgrade() -> None:
    """Make the table; days before this one are not known."""
    op.create_table(
        "disk_day",
        sa.Column("disk_id", sa.Text(), nullable=False),
        sa.Column("day", sa.Text(), nullable=False),
        sa.Column("bytes", INTEGER, nullable=False),
        sa.PrimaryKeyConstraint("disk_id", "day", name="pk_disk_day"),
    )
    op.create_index("ix_disk_day_day", "disk_day", ["day"])
