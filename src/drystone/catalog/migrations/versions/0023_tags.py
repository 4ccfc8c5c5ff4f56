"""Tags that were made by name (S362)."""

import sqlalchemy as sa
from alembic import op

revision = "0023"
down_revision = "0022"


def upgrade() -> None:
    """Make the table; those that resources have stay in the rows of these."""
    op.create_table(
        "tag",
        sa.Column("account_id", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name="fk_tag_account_id"),
        sa.PrimaryKeyConstraint("account_id", "key", "value", name="pk_tag"),
    )
