"""A session's row says when what it wrote was deleted: what lands late of it is deleted again (S209, S210)."""

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"


def upgrade() -> None:
    """Add that; of snapshots that were deleted before, the operations that did it say when."""
    op.add_column("session", sa.Column("deleted_at", sa.Float()))
    # As in 0013: not all operations are read for each session.
    op.execute("CREATE INDEX operation_deletion ON operation (snapshot_id) WHERE kind = 'delete_snapshot'")
    op.execute(
        "UPDATE session SET deleted_at = (SELECT max(operation.updated_at) FROM operation "
        "WHERE operation.kind = 'delete_snapshot' AND operation.state = 'DONE' "
        "AND operation.snapshot_id = session.snapshot_id) "
        "WHERE snapshot_id IS NOT NULL AND state IN ('COMMITTED', 'ADOPTED')"
    )
    op.execute("DROP INDEX operation_deletion")
