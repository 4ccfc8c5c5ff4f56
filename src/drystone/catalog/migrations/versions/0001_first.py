"""First schema."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

# What a snapshot adds to the totals of its account: nothing unless clients see it; bytes only when it is NORMAL.
_ADD = """
UPDATE account_usage SET
    snapshots = snapshots {sign} ({row}.state IN ('CREATING', 'NORMAL')),
    normal_snapshots = normal_snapshots {sign} ({row}.state = 'NORMAL'),
    stored_bytes = stored_bytes {sign} ({row}.state = 'NORMAL') * {row}.stored_bytes
WHERE account_id = {row}.account_id;
"""
_PLUS = _ADD.format(sign="+", row="NEW")
_MINUS = _ADD.format(sign="-", row="OLD")


def upgrade() -> None:
    """Make the tables, and the triggers that keep `account_usage`."""
    op.create_table(
        "account",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("admin", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_account"),
        sa.UniqueConstraint("name", name="uq_account_name"),
    )
    op.create_table(
        "audit",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
        sa.Column("account_id", sa.Text(), nullable=False),
        sa.Column("secret_id", sa.Text(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("request_id", sa.Text(), nullable=False),
        sa.Column("resource", sa.Text(), nullable=False),
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_audit"),
    )
    op.create_index("ix_audit_account", "audit", ["account_id", "id"])
    op.create_index("ix_audit_at", "audit", ["at"])
    op.create_table(
        "client_token",
        sa.Column("account_id", sa.Text(), nullable=False),
        sa.Column("token", sa.Text(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("request_hash", sa.Text(), nullable=False),
        sa.Column("response", sa.Text(), nullable=False),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("account_id", "token", name="pk_client_token"),
    )
    op.create_index("ix_client_token_created", "client_token", ["created_at"])
    op.create_table(
        "extent_map",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("disk_id", sa.Text(), nullable=False),
        sa.Column("ranges", sa.LargeBinary(), nullable=False),
        sa.Column("blocks", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_extent_map"),
    )
    op.create_index("ix_extent_map_disk", "extent_map", ["disk_id"])
    op.create_table(
        "meta",
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("key", name="pk_meta"),
    )
    op.create_table(
        "operation",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("account_id", sa.Text(), nullable=False),
        sa.Column("disk_id", sa.Text()),
        sa.Column("snapshot_id", sa.Text()),
        sa.Column("instance_id", sa.Text()),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("phase", sa.Text(), nullable=False),
        sa.Column("percent", sa.Integer(), nullable=False),
        sa.Column("payload", sa.Text(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("error_code", sa.Text(), nullable=False),
        sa.Column("error", sa.Text(), nullable=False),
        sa.Column("request_id", sa.Text(), nullable=False),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.Column("updated_at", sa.Float(), nullable=False),
        sa.CheckConstraint("percent BETWEEN 0 AND 100", name=op.f("ck_operation_percent")),
        sa.PrimaryKeyConstraint("id", name="pk_operation"),
    )
    op.create_index("ix_operation_account", "operation", ["account_id", "created_at", "id"])
    op.create_index("ix_operation_disk", "operation", ["disk_id", "created_at"])
    op.create_index("ix_operation_instance", "operation", ["instance_id", "created_at"])
    op.create_index("ix_operation_snapshot", "operation", ["snapshot_id", "created_at"])
    op.create_index("ix_operation_state", "operation", ["state", "created_at"])
    op.create_table(
        "session",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("operation_id", sa.Text()),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.Column("ended_at", sa.Float()),
        sa.PrimaryKeyConstraint("id", name="pk_session"),
    )
    op.create_index("ix_session_state", "session", ["state"])
    op.create_table(
        "access_key",
        sa.Column("secret_id", sa.Text(), nullable=False),
        sa.Column("secret_key", sa.Text(), nullable=False),
        sa.Column("account_id", sa.Text(), nullable=False),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name="fk_access_key_account_id"),
        sa.PrimaryKeyConstraint("secret_id", name="pk_access_key"),
    )
    op.create_index("ix_access_key_account", "access_key", ["account_id", "created_at"])
    op.create_table(
        "account_usage",
        sa.Column("account_id", sa.Text(), nullable=False),
        sa.Column("snapshots", sa.Integer(), nullable=False),
        sa.Column("normal_snapshots", sa.Integer(), nullable=False),
        sa.Column("stored_bytes", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name="fk_account_usage_account_id"),
        sa.PrimaryKeyConstraint("account_id", name="pk_account_usage"),
    )
    op.create_table(
        "instance",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("account_id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("zone", sa.Text(), nullable=False),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name="fk_instance_account_id"),
        sa.PrimaryKeyConstraint("id", name="pk_instance"),
    )
    op.create_index("ix_instance_account", "instance", ["account_id", "created_at"])
    op.create_table(
        "pack",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("session_id", sa.Text(), nullable=False),
        sa.Column("object", sa.Text(), nullable=False),
        sa.Column("bytes", sa.Integer(), nullable=False),
        sa.Column("blocks", sa.Integer(), nullable=False),
        sa.Column("dead_blocks", sa.Integer(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["session_id"], ["session.id"], name="fk_pack_session_id"),
        sa.PrimaryKeyConstraint("id", name="pk_pack"),
        sa.UniqueConstraint("object", name="uq_pack_object"),
    )
    op.create_index("ix_pack_session", "pack", ["session_id"])
    op.create_table(
        "session_read",
        sa.Column("session_id", sa.Text(), nullable=False),
        sa.Column("snapshot_id", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["session_id"], ["session.id"], name="fk_session_read_session_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("session_id", "snapshot_id", name="pk_session_read"),
    )
    op.create_index("ix_session_read_snapshot", "session_read", ["snapshot_id"])
    op.create_table(
        "snapshot",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("account_id", sa.Text(), nullable=False),
        sa.Column("disk_id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("usage", sa.Text(), nullable=False),
        sa.Column("size_gib", sa.Integer(), nullable=False),
        sa.Column("percent", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.Column("modified_at", sa.Float(), nullable=False),
        sa.Column("deadline_at", sa.Float()),
        sa.Column("permanent", sa.Boolean(), nullable=False),
        sa.Column("tags", sa.Text(), nullable=False),
        sa.Column("zone", sa.Text(), nullable=False),
        sa.Column("project_id", sa.Integer(), nullable=False),
        sa.Column("parent_id", sa.Text()),
        sa.Column("session_id", sa.Text()),
        sa.Column("manifest", sa.Text()),
        sa.Column("delta_map", sa.Text()),
        sa.Column("maps", sa.Text(), nullable=False),
        sa.Column("record", sa.Text(), nullable=False),
        sa.Column("stored_bytes", sa.Integer(), nullable=False),
        sa.Column("rolling_back", sa.Boolean(), nullable=False),
        sa.Column("suspect", sa.Boolean(), nullable=False),
        sa.CheckConstraint("percent BETWEEN 0 AND 100", name=op.f("ck_snapshot_percent")),
        sa.CheckConstraint("size_gib > 0", name=op.f("ck_snapshot_size")),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name="fk_snapshot_account_id"),
        sa.PrimaryKeyConstraint("id", name="pk_snapshot"),
    )
    op.create_index(
        "ix_snapshot_account",
        "snapshot",
        ["account_id", "created_at", "id"],
        sqlite_where=sa.text("state IN ('CREATING', 'NORMAL')"),
    )
    op.create_index(
        "ix_snapshot_account_disk",
        "snapshot",
        ["account_id", "disk_id", "created_at", "id"],
        sqlite_where=sa.text("state IN ('CREATING', 'NORMAL')"),
    )
    op.create_index("ix_snapshot_account_name", "snapshot", ["account_id", "name"])
    op.create_index(
        "ix_snapshot_account_state", "snapshot", ["account_id", "state", "rolling_back", "created_at", "id"]
    )
    op.create_index("ix_snapshot_deadline", "snapshot", ["deadline_at"])
    op.create_index("ix_snapshot_disk", "snapshot", ["disk_id", "state", "created_at", "stored_bytes"])
    op.create_index("ix_snapshot_parent", "snapshot", ["parent_id"])
    op.create_index("ix_snapshot_session", "snapshot", ["session_id"])
    op.create_index("ix_snapshot_state", "snapshot", ["state"])
    op.create_table(
        "disk",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("account_id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("size_gib", sa.Integer(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("charge_type", sa.Text(), nullable=False),
        sa.Column("zone", sa.Text(), nullable=False),
        sa.Column("project_id", sa.Integer(), nullable=False),
        sa.Column("usage", sa.Text(), nullable=False),
        sa.Column("portable", sa.Boolean(), nullable=False),
        sa.Column("shareable", sa.Boolean(), nullable=False),
        sa.Column("instance_id", sa.Text()),
        sa.Column("last_attach_instance_id", sa.Text()),
        sa.Column("delete_with_instance", sa.Boolean(), nullable=False),
        sa.Column("delete_snapshot", sa.Boolean(), nullable=False),
        sa.Column("throughput_performance", sa.Integer(), nullable=False),
        sa.Column("burst_performance", sa.Boolean(), nullable=False),
        sa.Column("renew_flag", sa.Text(), nullable=False),
        sa.Column("prepaid_period", sa.Integer()),
        sa.Column("backup_quota", sa.Integer(), nullable=False),
        sa.Column("tags", sa.Text(), nullable=False),
        sa.Column("source_snapshot_id", sa.Text()),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.Column("deadline_at", sa.Float()),
        sa.Column("error_prompt", sa.Text(), nullable=False),
        sa.Column("base_snapshot_id", sa.Text()),
        sa.Column("carry", sa.Text(), nullable=False),
        sa.Column("epoch", sa.Integer(), nullable=False),
        sa.Column("tracking", sa.Text(), nullable=False),
        sa.Column("tracking_reason", sa.Text(), nullable=False),
        sa.Column("bitmap", sa.Text()),
        sa.Column("daemon", sa.Text()),
        sa.Column("hydrating", sa.Boolean(), nullable=False),
        sa.Column("hydration_percent", sa.Integer(), nullable=False),
        sa.Column("rollback_percent", sa.Integer(), nullable=False),
        sa.Column("nbd_socket", sa.Text()),
        sa.Column("device", sa.Text()),
        sa.CheckConstraint("size_gib > 0", name=op.f("ck_disk_size")),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name="fk_disk_account_id"),
        sa.ForeignKeyConstraint(["instance_id"], ["instance.id"], name="fk_disk_instance_id"),
        sa.PrimaryKeyConstraint("id", name="pk_disk"),
    )
    op.create_index(
        "ix_disk_account",
        "disk",
        ["account_id", "created_at", "id"],
        sqlite_where=sa.text("state NOT IN ('CREATING', 'TERMINATING')"),
    )
    op.create_index("ix_disk_base", "disk", ["base_snapshot_id"])
    op.create_index("ix_disk_instance", "disk", ["instance_id"])
    op.create_index("ix_disk_source", "disk", ["source_snapshot_id"])
    op.create_index("ix_disk_state", "disk", ["state"])
    op.execute(
        "CREATE TRIGGER account_usage_begins AFTER INSERT ON account BEGIN "
        "INSERT INTO account_usage (account_id, snapshots, normal_snapshots, stored_bytes) "
        "VALUES (NEW.id, 0, 0, 0); END"
    )
    op.execute(f"CREATE TRIGGER account_usage_insert AFTER INSERT ON snapshot BEGIN {_PLUS} END")
    op.execute(f"CREATE TRIGGER account_usage_delete AFTER DELETE ON snapshot BEGIN {_MINUS} END")
    op.execute(
        "CREATE TRIGGER account_usage_update AFTER UPDATE OF state, stored_bytes, account_id ON snapshot "
        f"BEGIN {_MINUS} {_PLUS} END"
    )
