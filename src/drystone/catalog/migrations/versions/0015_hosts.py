"""Which host a row belongs to, and what a writer of PostgreSQL has committed."""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"


def upgrade() -> None:
    """Give this host an id, and its disks, instances and operations that id."""
    op.execute("INSERT INTO meta (key, value) VALUES ('host_id', lower(hex(randomblob(16))))")
    for table in ("disk", "instance", "operation"):
        op.add_column(table, sa.Column("host_id", sa.Text(), nullable=False, server_default=""))
        op.execute(f"UPDATE {table} SET host_id = (SELECT value FROM meta WHERE key = 'host_id')")  # noqa: S608 - names of tables
    op.create_table(
        "commit_mark",
        sa.Column("writer", sa.Text(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("opened", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("writer", name="pk_commit_mark"),
    )
