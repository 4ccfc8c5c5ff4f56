"""Audit, scrub and suspicion."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Remember how far each disk's audit is, when each object was last proven, and what was found damaged."""
    op.add_column("disk", sa.Column("audit_cursor", sa.Integer(), nullable=False, server_default="0"))
    op.add_column("pack", sa.Column("proven_at", sa.Float()))
    op.add_column("snapshot", sa.Column("proven_at", sa.Float()))
    op.add_column("snapshot", sa.Column("damaged", sa.Boolean(), nullable=False, server_default="0"))
    op.create_table(
        "damage",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("object", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("snapshot_id", sa.Text(), nullable=False),
        sa.Column("ranges", sa.LargeBinary(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("found_at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_damage"),
    )
    op.create_index("ix_damage_object", "damage", ["object"])
    op.create_index("ix_damage_snapshot", "damage", ["snapshot_id"])
