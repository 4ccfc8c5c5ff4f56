"""Quotas of accounts that differ from the configured ones."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    """Keep the quota that an administrator set for an account."""
    op.create_table(
        "account_quota",
        sa.Column("account_id", sa.Text(), nullable=False),
        sa.Column("disks", sa.Integer(), nullable=True),
        sa.Column("disk_gib", sa.Integer(), nullable=True),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name="fk_account_quota_account_id"),
        sa.PrimaryKeyConstraint("account_id", name="pk_account_quota"),
    )
