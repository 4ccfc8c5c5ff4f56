"""What operations did, step by step."""

import sqlalchemy as sa
from alembic import op

from drystone.catalog.dialect import INTEGER

revision = "0019"
down_revision = "0018"


def upgrade() -> None:
    """Make the table; operations from before have no steps but those that follow."""
    op.create_table(
        "operation_step",
        sa.Column("id", INTEGER, primary_key=True, autoincrement=True),
        sa.Column("operation_id", sa.Text(), nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
        sa.Column("phase", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("attempts", INTEGER, nullable=False),
        sa.Column("error", sa.Text(), nullable=False),
    )
    op.create_index("ix_operation_step", "operation_step", ["operation_id", "id"])
