"""Upkeep costs what changed: a writing session names its snapshot, and ended operations are found by age."""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"


def upgrade() -> None:
    """Add the two; of older sessions the snapshot is known where an operation or a snapshot still names them."""
    op.add_column("session", sa.Column("snapshot_id", sa.Text()))
    op.execute(
        "UPDATE session SET snapshot_id = coalesce("
        "(SELECT id FROM snapshot WHERE snapshot.session_id = session.id LIMIT 1), "
        "(SELECT snapshot_id FROM operation WHERE operation.id = session.operation_id LIMIT 1)) "
        "WHERE kind = 'snapshot'"
    )
    # The catalog may hold years of operations: not all of them are read for each session. The index is used only for
    # what has an affinity, as the column that it is compared with.
    named = "CAST(json_extract(payload, '$.session') AS TEXT)"
    op.execute(f"CREATE INDEX operation_session ON operation ({named}) WHERE kind = 'snapshot'")
    op.execute(
        "UPDATE session SET snapshot_id = (SELECT operation.snapshot_id FROM operation "  # noqa: S608 - constant
        f"WHERE kind = 'snapshot' AND {named} = session.id LIMIT 1) "
        "WHERE kind = 'snapshot' AND snapshot_id IS NULL"
    )
    op.execute("DROP INDEX operation_session")
    op.create_index("ix_operation_ended", "operation", ["updated_at"])
