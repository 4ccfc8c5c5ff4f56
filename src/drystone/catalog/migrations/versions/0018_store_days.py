"""What was asked of the store and how full it was, by day."""

import sqlalchemy as sa
from alembic import op

from drystone.catalog.dialect import INTEGER

revision = "0018"
down_revision = "0017"


def upgrade() -> None:
    """Make both tables; days before this one are not known."""
    op.create_table(
        "store_traffic",
        sa.Column("day", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("requests", INTEGER, nullable=False),
        sa.Column("bytes", INTEGER, nullable=False),
        sa.Column("errors", INTEGER, nullable=False),
        sa.PrimaryKeyConstraint("day", "kind", name="pk_store_traffic"),
    )
    op.create_table(
        "space_day",
        sa.Column("day", sa.Text(), nullable=False),
        sa.Column("stored_bytes", INTEGER, nullable=False),
        sa.Column("free_bytes", INTEGER, nullable=False),
        sa.PrimaryKeyConstraint("day", name="pk_space_day"),
    )
