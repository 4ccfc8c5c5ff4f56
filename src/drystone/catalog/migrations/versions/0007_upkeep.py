"""What upkeep of the store remembers."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"

_PLUS = (
    "INSERT INTO holding (owner_id, bytes) SELECT NEW.{owner}, NEW.bytes - NEW.dead_bytes "
    "WHERE NEW.{owner} IS NOT NULL ON CONFLICT (owner_id) DO UPDATE SET bytes = bytes + excluded.bytes;"
)
_MINUS = "UPDATE holding SET bytes = bytes - (OLD.bytes - OLD.dead_bytes) WHERE owner_id = OLD.{owner};"
_OWNERS = ("disk_id", "account_id")
_NOTED = (
    (
        "CREATE TRIGGER unpublished_group AFTER UPDATE OF name, tags, state, pause_ms, taken_at ON snapshot_group "
        "WHEN NEW.state = 'NORMAL' BEGIN INSERT OR REPLACE INTO unpublished (kind, resource_id) "
        "SELECT 'snapshot', id FROM snapshot WHERE group_id = NEW.id AND state = 'NORMAL'; END"
    ),
    (
        "CREATE TRIGGER unpublished_quiesce_set AFTER INSERT ON quiesce_profile "
        "WHEN EXISTS (SELECT 1 FROM disk WHERE id = NEW.resource_id) "
        "BEGIN INSERT OR REPLACE INTO unpublished (kind, resource_id) VALUES ('disk', NEW.resource_id); END"
    ),
    (
        "CREATE TRIGGER unpublished_quiesce_removed AFTER DELETE ON quiesce_profile "
        "WHEN EXISTS (SELECT 1 FROM disk WHERE id = OLD.resource_id) "
        "BEGIN INSERT OR REPLACE INTO unpublished (kind, resource_id) VALUES ('disk', OLD.resource_id); END"
    ),
    (
        "INSERT OR REPLACE INTO unpublished (kind, resource_id) "
        "SELECT 'snapshot', id FROM snapshot WHERE state = 'NORMAL' AND group_id IS NOT NULL"
    ),
    (
        "INSERT OR REPLACE INTO unpublished (kind, resource_id) "
        "SELECT 'disk', resource_id FROM quiesce_profile WHERE resource_id IN (SELECT id FROM disk)"
    ),
)


def upgrade() -> None:
    """Note whose data a pack holds, and keep the sums by disk and by account as the packs change."""
    for owner in _OWNERS:
        op.add_column("pack", sa.Column(owner, sa.Text()))
        op.execute(
            f"UPDATE pack SET {owner} = "  # noqa: S608 - names of columns
            f"(SELECT snapshot.{owner} FROM snapshot WHERE snapshot.session_id = pack.session_id)"
        )
    op.create_table(
        "holding",
        sa.Column("owner_id", sa.Text(), nullable=False),
        sa.Column("bytes", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("owner_id", name="pk_holding"),
    )
    for owner in _OWNERS:
        op.execute(
            f"INSERT INTO holding (owner_id, bytes) SELECT {owner}, SUM(bytes - dead_bytes) FROM pack "  # noqa: S608 - as above
            f"WHERE {owner} IS NOT NULL GROUP BY {owner}"
        )
    plus = " ".join(_PLUS.format(owner=owner) for owner in _OWNERS)
    minus = " ".join(_MINUS.format(owner=owner) for owner in _OWNERS)
    op.execute(f"CREATE TRIGGER holding_insert AFTER INSERT ON pack BEGIN {plus} END")
    op.execute(f"CREATE TRIGGER holding_delete AFTER DELETE ON pack BEGIN {minus} END")
    op.execute(
        f"CREATE TRIGGER holding_update AFTER UPDATE OF bytes, dead_bytes, disk_id, account_id ON pack "
        f"BEGIN {minus} {plus} END"
    )
    # What a recovery reads of groups and profiles is noted as the rest of it is (see the fourth migration).
    for statement in _NOTED:
        op.execute(statement)
