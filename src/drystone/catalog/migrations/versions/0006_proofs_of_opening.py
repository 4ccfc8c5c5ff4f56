"""What opening a snapshot has shown."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Make the table of proofs, one row for each snapshot that was opened, and say how often it is done by itself."""
    op.create_table(
        "opening",
        sa.Column("snapshot_id", sa.Text(), nullable=False),
        sa.Column("account_id", sa.Text(), nullable=False),
        sa.Column("finding", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("steps", sa.Text(), nullable=False),
        sa.Column("began_at", sa.Float(), nullable=False),
        sa.Column("ended_at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("snapshot_id", name="pk_opening"),
    )
    op.add_column("quiesce_profile", sa.Column("prove_every_h", sa.Float()))
