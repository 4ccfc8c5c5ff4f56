"""What of each account has expired lately survives a restart."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    """Make the table of tallies, a row for each account."""
    op.create_table(
        "expiry_tally",
        sa.Column("account_id", sa.Text(), nullable=False),
        sa.Column("began_at", sa.Float(), nullable=False),
        sa.Column("expired", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("account_id", name="pk_expiry_tally"),
    )
