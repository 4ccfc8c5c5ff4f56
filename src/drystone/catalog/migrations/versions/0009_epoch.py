"""A catalog from a backup is noticed, too, if only disks have come or gone since, or deadlines have changed."""

from alembic import op

revision = "0009"
down_revision = "0008"

_RAISE = "BEGIN UPDATE meta SET value = CAST(value AS INTEGER) + 1 WHERE key = 'catalog_epoch'; END"


def upgrade() -> None:
    """Raise the epoch with each change that an older copy would undo: the server publishes it."""
    op.execute(f"CREATE TRIGGER epoch_disk_made AFTER INSERT ON disk {_RAISE}")
    op.execute(f"CREATE TRIGGER epoch_disk_gone AFTER DELETE ON disk {_RAISE}")
    op.execute(f"CREATE TRIGGER epoch_disk_resized AFTER UPDATE OF size_gib ON disk {_RAISE}")
    op.execute(f"CREATE TRIGGER epoch_snapshot_kept AFTER UPDATE OF deadline_at, permanent ON snapshot {_RAISE}")
