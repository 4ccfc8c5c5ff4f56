"""Compaction."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Count dead bytes beside dead blocks, and keep the rewriting of packs in rows."""
    op.add_column("pack", sa.Column("dead_bytes", sa.Integer(), nullable=False, server_default="0"))
    op.execute("UPDATE pack SET dead_bytes = bytes * dead_blocks / blocks WHERE blocks > 0")
    op.create_table(
        "pack_rewrite",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("pack_id", sa.Text(), nullable=False),
        sa.Column("old_object", sa.Text(), nullable=False),
        sa.Column("new_object", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("waits_for", sa.Text(), nullable=False),
        sa.Column("old_bytes", sa.Integer(), nullable=False),
        sa.Column("new_bytes", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.Column("ended_at", sa.Float()),
        sa.PrimaryKeyConstraint("id", name="pk_pack_rewrite"),
    )
    op.create_index("ix_pack_rewrite_state", "pack_rewrite", ["state"])
