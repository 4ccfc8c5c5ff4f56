"""Which key or session of a browser made an access key."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    """Add the column; of keys that are there it is not known."""
    op.add_column("access_key", sa.Column("made_by", sa.Text()))
