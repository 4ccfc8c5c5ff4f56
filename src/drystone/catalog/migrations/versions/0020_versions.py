"""Which version of each object was written, where the store keeps versions (S274)."""

import sqlalchemy as sa
from alembic import op

revision = "0020"
down_revision = "0019"


def upgrade() -> None:
    """Add both columns; of objects from before nobody knows."""
    op.add_column("pack", sa.Column("version", sa.Text()))
    op.add_column("snapshot", sa.Column("versions", sa.Text(), nullable=False, server_default="{}"))
