"""Troubles that people are told of."""

import sqlalchemy as sa
from alembic import op

from drystone.catalog.dialect import INTEGER, partial

revision = "0017"
down_revision = "0016"


def upgrade() -> None:
    """Make the table of events; what is wrong already is found by the first round that looks."""
    op.create_table(
        "event",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("account_id", sa.Text(), nullable=False),
        sa.Column("subject_id", sa.Text(), nullable=False),
        sa.Column("aspect", sa.Text(), nullable=False),
        sa.Column("facts", sa.Text(), nullable=False),
        sa.Column("first_seen_at", sa.Float(), nullable=False),
        sa.Column("last_seen_at", sa.Float(), nullable=False),
        sa.Column("count", INTEGER, nullable=False),
        sa.Column("resolved_at", sa.Float(), nullable=True),
        sa.Column("acknowledged_at", sa.Float(), nullable=True),
        sa.Column("acknowledged_by", sa.Text(), nullable=False),
        sa.Column("revision", INTEGER, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_event"),
    )
    op.create_index(
        "ix_event_unresolved", "event", ["kind", "account_id", "subject_id", "aspect"], unique=True,
        **partial(sa.text("resolved_at IS NULL")),
    )  # fmt: skip
    op.create_index("ix_event_account", "event", ["account_id", "last_seen_at"])
    op.create_index("ix_event_seen", "event", ["last_seen_at"])
    op.create_index("ix_event_revision", "event", ["revision"])
