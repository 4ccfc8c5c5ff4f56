"""Recovery and backups."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

_OWE = "INSERT OR REPLACE INTO unpublished (kind, resource_id) VALUES ('{kind}', NEW.id);"
_SNAPSHOT = "name, deadline_at, permanent, tags, suspect"
_DISK = (
    "name, size_gib, type, charge_type, project_id, portable, delete_with_instance, delete_snapshot, "
    "throughput_performance, burst_performance, tags"
)


def upgrade() -> None:
    """Keep note of what the bucket, or the file beside a disk, does not say yet; at first that is everything."""
    op.create_table(
        "unpublished",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("resource_id", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_unpublished"),
        sa.UniqueConstraint("kind", "resource_id", name="uq_unpublished_kind"),
        # An id is never used twice: a change while the one before is being published is a note of its own.
        sqlite_autoincrement=True,
    )
    op.execute(
        "CREATE TRIGGER unpublished_snapshot_normal AFTER UPDATE OF state ON snapshot "
        f"WHEN NEW.state = 'NORMAL' AND OLD.state = 'CREATING' BEGIN {_OWE.format(kind='snapshot')} END"
    )
    op.execute(
        f"CREATE TRIGGER unpublished_snapshot AFTER UPDATE OF {_SNAPSHOT} ON snapshot "
        f"WHEN NEW.state = 'NORMAL' BEGIN {_OWE.format(kind='snapshot')} END"
    )
    op.execute(f"CREATE TRIGGER unpublished_disk AFTER UPDATE OF {_DISK} ON disk BEGIN {_OWE.format(kind='disk')} END")
    op.execute(f"CREATE TRIGGER unpublished_account AFTER INSERT ON account BEGIN {_OWE.format(kind='account')} END")
    op.execute("INSERT INTO unpublished (kind, resource_id) SELECT 'snapshot', id FROM snapshot WHERE state = 'NORMAL'")
    op.execute("INSERT INTO unpublished (kind, resource_id) SELECT 'disk', id FROM disk")
    op.execute("INSERT INTO unpublished (kind, resource_id) SELECT 'account', id FROM account")
