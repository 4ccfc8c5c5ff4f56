"""The tables. A change here needs a migration; a test holds the two against each other.

Times are seconds since the epoch, UTC. Ids are text. Sums are kept by triggers (`triggers`), so that totals over an
account's snapshots cost the same for 100 and for 100,000 of them.
"""

from sqlalchemy import (
    Boolean,
    CheckConstraint,
    Column,
    Float,
    ForeignKey,
    Index,
    Table,
    Text,
    UniqueConstraint,
    text,
)

from drystone.catalog import schema_base, schema_policies, schema_tags, schema_told
from drystone.catalog.columns import (
    ENCRYPTION,
    NAME_SET,
    NAMES,
    OBJECT,
    PAYLOAD,
    PROOF_STEPS,
    RECORD,
    STEPS,
    TAGS,
    VERSIONS,
    RangesColumn,
    enumeration,
)
from drystone.catalog.dialect import INTEGER, partial
from drystone.domain.disk import DiskState
from drystone.domain.instance import InstanceKind
from drystone.domain.operation import OperationKind, OperationState
from drystone.domain.pack_rewrite import RewriteState
from drystone.domain.proof import Finding
from drystone.domain.quiesce import QuiesceMode
from drystone.domain.session import PackState, SessionState
from drystone.domain.snapshot import SnapshotState
from drystone.domain.snapshot_group import SnapshotGroupState
from drystone.domain.tracking import TrackingState

metadata = schema_base.metadata
_needs = schema_base.needs

VISIBLE_DISK = text("state NOT IN ('CREATING', 'TERMINATING')")
"""The clause of the partial indexes; a query must repeat it word for word to use them."""
VISIBLE_SNAPSHOT = text("state IN ('CREATING', 'NORMAL')")
DOUBTFUL_SNAPSHOT = text("(suspect OR damaged)")
REFUSED_CALL = text("code != 'OK'")


def _id() -> Column[str]:
    return Column("id", Text, primary_key=True)


def _host() -> Column[str]:
    """Return the column of the host that a row belongs to: the `host_id` of `meta`, put there by `Rows`."""
    return Column("host_id", Text, nullable=False)


def _owner() -> Column[str]:
    return Column("account_id", Text, ForeignKey("account.id"), nullable=False)


meta = Table("meta", metadata, Column("key", Text, primary_key=True), _needs("value", Text))
commit_mark = Table(
    "commit_mark",
    metadata,
    Column("writer", Text, primary_key=True),
    _needs("number", INTEGER),
    _needs("opened", INTEGER),
)
"""The last transaction that each writer has committed, on PostgreSQL: a writer that lost the answer looks."""
account = Table(
    "account",
    metadata,
    _id(),
    _needs("name", Text),
    _needs("admin", Boolean),
    _needs("created_at", Float),
    UniqueConstraint("name"),
)
access_key = Table(
    "access_key",
    metadata,
    Column("secret_id", Text, primary_key=True),
    _needs("secret_key", Text),
    _owner(),
    _needs("enabled", Boolean),
    _needs("created_at", Float),
    Column("made_by", Text),
    Index("ix_access_key_account", "account_id", "created_at"),
)
account_usage = Table(
    "account_usage",
    metadata,
    Column("account_id", Text, ForeignKey("account.id"), primary_key=True),
    _needs("snapshots", INTEGER),
    _needs("normal_snapshots", INTEGER),
    _needs("stored_bytes", INTEGER),
)
account_quota = Table(
    "account_quota",
    metadata,
    Column("account_id", Text, ForeignKey("account.id"), primary_key=True),
    Column("disks", INTEGER),
    Column("disk_gib", INTEGER),
)
instance = Table(
    "instance",
    metadata,
    _id(),
    _owner(),
    _needs("name", Text),
    _needs("kind", enumeration(InstanceKind)),
    _needs("zone", Text),
    _needs("created_at", Float),
    _host(),
    Index("ix_instance_account", "account_id", "created_at"),
)
disk = Table(
    "disk",
    metadata,
    _id(),
    _owner(),
    _needs("name", Text),
    _needs("state", enumeration(DiskState)),
    _needs("size_gib", INTEGER),
    _needs("type", Text),
    _needs("charge_type", Text),
    _needs("zone", Text),
    _needs("project_id", INTEGER),
    _needs("usage", Text),
    _needs("portable", Boolean),
    _needs("shareable", Boolean),
    Column("instance_id", Text, ForeignKey("instance.id")),
    Column("last_attach_instance_id", Text),
    _needs("delete_with_instance", Boolean),
    _needs("delete_snapshot", Boolean),
    _needs("throughput_performance", INTEGER),
    _needs("burst_performance", Boolean),
    _needs("renew_flag", Text),
    Column("prepaid_period", INTEGER),
    _needs("backup_quota", INTEGER),
    _needs("tags", TAGS),
    Column("source_snapshot_id", Text),
    _needs("created_at", Float),
    Column("deadline_at", Float),
    _needs("error_prompt", Text),
    Column("base_snapshot_id", Text),
    _needs("carry", NAME_SET),
    _needs("epoch", INTEGER),
    _needs("tracking", enumeration(TrackingState)),
    _needs("tracking_reason", Text),
    Column("bitmap", Text),
    Column("daemon", Text),
    _needs("hydrating", Boolean),
    _needs("hydration_percent", INTEGER),
    _needs("rollback_percent", INTEGER),
    Column("nbd_socket", Text),
    Column("device", Text),
    _needs("audit_cursor", INTEGER),
    Column("encryption", ENCRYPTION),
    Column("backup_day", INTEGER),
    _host(),
    CheckConstraint("size_gib > 0", name="size"),
    Index("ix_disk_account", "account_id", "created_at", "id", **partial(VISIBLE_DISK)),
    Index("ix_disk_instance", "instance_id"),
    Index("ix_disk_base", "base_snapshot_id"),
    Index("ix_disk_source", "source_snapshot_id"),
    Index("ix_disk_state", "state"),
)
snapshot = Table(
    "snapshot",
    metadata,
    _id(),
    _owner(),
    _needs("disk_id", Text),
    _needs("name", Text),
    _needs("state", enumeration(SnapshotState)),
    _needs("usage", Text),
    _needs("size_gib", INTEGER),
    _needs("percent", INTEGER),
    _needs("created_at", Float),
    _needs("modified_at", Float),
    Column("deadline_at", Float),
    _needs("permanent", Boolean),
    _needs("tags", TAGS),
    _needs("zone", Text),
    _needs("project_id", INTEGER),
    Column("parent_id", Text),
    Column("session_id", Text),
    Column("manifest", Text),
    Column("delta_map", Text),
    _needs("maps", NAMES),
    _needs("record", RECORD),
    _needs("stored_bytes", INTEGER),
    _needs("rolling_back", Boolean),
    _needs("suspect", Boolean),
    Column("proven_at", Float),
    _needs("damaged", Boolean),
    Column("group_id", Text),
    _needs("versions", VERSIONS),
    Column("policy_id", Text),
    Column("slot", INTEGER),
    Column("policy_order", INTEGER),
    _needs("encrypted", Boolean),
    Column("backup_id", Text),
    CheckConstraint("size_gib > 0", name="size"),
    CheckConstraint("percent BETWEEN 0 AND 100", name="percent"),
    Index("ix_snapshot_account", "account_id", "created_at", "id", **partial(VISIBLE_SNAPSHOT)),
    Index("ix_snapshot_account_state", "account_id", "state", "rolling_back", "created_at", "id"),
    Index("ix_snapshot_account_name", "account_id", "name"),
    Index("ix_snapshot_account_disk", "account_id", "disk_id", "created_at", "id", **partial(VISIBLE_SNAPSHOT)),
    Index("ix_snapshot_disk", "disk_id", "state", "created_at", "stored_bytes"),
    Index("ix_snapshot_parent", "parent_id"),
    Index("ix_snapshot_deadline", "deadline_at"),
    Index("ix_snapshot_state", "state"),
    Index("ix_snapshot_session", "session_id"),
    Index("ix_snapshot_group", "group_id"),
    Index("ix_snapshot_policy", "policy_id", "slot"),
    Index("ix_snapshot_backup", "backup_id"),
    Index("ix_snapshot_doubtful", "account_id", "created_at", **partial(DOUBTFUL_SNAPSHOT)),
)
snapshot_share = Table(
    "snapshot_share",
    metadata,
    Column("snapshot_id", Text, ForeignKey("snapshot.id", ondelete="CASCADE"), primary_key=True),
    Column("account_id", Text, ForeignKey("account.id"), primary_key=True),
    _needs("created_at", Float),
    Index("ix_snapshot_share_account", "account_id", "snapshot_id"),
)
"""Who, beside its owner, may make disks from a snapshot."""
snapshot_group = Table(
    "snapshot_group",
    metadata,
    _id(),
    _owner(),
    _needs("instance_id", Text),
    _needs("name", Text),
    _needs("state", enumeration(SnapshotGroupState)),
    _needs("tags", TAGS),
    _needs("operation_id", Text),
    Column("pause_ms", Float),
    Column("taken_at", Float),
    _needs("created_at", Float),
    _needs("modified_at", Float),
    Index("ix_snapshot_group_account", "account_id", "created_at", "id"),
)
quiesce_profile = Table(
    "quiesce_profile",
    metadata,
    Column("resource_id", Text, primary_key=True),
    _owner(),
    _needs("mode", enumeration(QuiesceMode)),
    _needs("freeze_seconds_max", Float),
    _needs("steps", STEPS),
    _needs("modified_at", Float),
    Column("prove_every_h", Float),
    Index("ix_quiesce_profile_account", "account_id", "resource_id"),
)
proof = Table(
    "opening",
    metadata,
    Column("snapshot_id", Text, primary_key=True),
    _needs("account_id", Text),
    _needs("finding", enumeration(Finding)),
    _needs("reason", Text),
    _needs("steps", PROOF_STEPS),
    _needs("began_at", Float),
    _needs("ended_at", Float),
)
session = Table(
    "session",
    metadata,
    _id(),
    _needs("kind", Text),
    _needs("state", enumeration(SessionState)),
    Column("operation_id", Text),
    _needs("created_at", Float),
    Column("ended_at", Float),
    Column("snapshot_id", Text),
    Column("deleted_at", Float),
    Index("ix_session_state", "state"),
)
session_read = Table(
    "session_read",
    metadata,
    Column("session_id", Text, ForeignKey("session.id", ondelete="CASCADE"), primary_key=True),
    Column("snapshot_id", Text, primary_key=True),
    Index("ix_session_read_snapshot", "snapshot_id"),
)
pack = Table(
    "pack",
    metadata,
    _id(),
    Column("session_id", Text, ForeignKey("session.id"), nullable=False),
    _needs("object", Text),
    _needs("bytes", INTEGER),
    _needs("blocks", INTEGER),
    _needs("dead_blocks", INTEGER),
    _needs("state", enumeration(PackState)),
    _needs("dead_bytes", INTEGER),
    Column("proven_at", Float),
    Column("disk_id", Text),
    Column("account_id", Text),
    Column("version", Text),
    UniqueConstraint("object"),
    Index("ix_pack_session", "session_id"),
)
holding = Table(
    "holding",
    metadata,
    Column("owner_id", Text, primary_key=True),
    _needs("bytes", INTEGER),
)
"""Living bytes of packs by disk and by account, kept by triggers."""
pack_rewrite = Table(
    "pack_rewrite",
    metadata,
    _id(),
    _needs("pack_id", Text),
    _needs("old_object", Text),
    _needs("new_object", Text),
    _needs("state", enumeration(RewriteState)),
    _needs("waits_for", NAME_SET),
    _needs("old_bytes", INTEGER),
    _needs("new_bytes", INTEGER),
    _needs("created_at", Float),
    Column("ended_at", Float),
    Index("ix_pack_rewrite_state", "state"),
)
damage = Table(
    "damage",
    metadata,
    _id(),
    _needs("object", Text),
    _needs("kind", Text),
    _needs("snapshot_id", Text),
    _needs("ranges", RangesColumn),
    _needs("reason", Text),
    _needs("found_at", Float),
    Index("ix_damage_object", "object"),
    Index("ix_damage_snapshot", "snapshot_id"),
)
extent_map = Table(
    "extent_map",
    metadata,
    _id(),
    _needs("disk_id", Text),
    _needs("ranges", RangesColumn),
    _needs("blocks", INTEGER),
    Index("ix_extent_map_disk", "disk_id"),
)
operation = Table(
    "operation",
    metadata,
    _id(),
    _needs("kind", enumeration(OperationKind)),
    _needs("account_id", Text),
    Column("disk_id", Text),
    Column("snapshot_id", Text),
    Column("instance_id", Text),
    _needs("state", enumeration(OperationState)),
    _needs("phase", Text),
    _needs("percent", INTEGER),
    _needs("payload", PAYLOAD),
    _needs("attempts", INTEGER),
    _needs("error_code", Text),
    _needs("error", Text),
    _needs("request_id", Text),
    _needs("created_at", Float),
    _needs("updated_at", Float),
    _host(),
    CheckConstraint("percent BETWEEN 0 AND 100", name="percent"),
    Index("ix_operation_state", "state", "created_at"),
    Index("ix_operation_ended", "updated_at"),
    Index("ix_operation_account", "account_id", "created_at", "id"),
    Index("ix_operation_disk", "disk_id", "created_at"),
    Index("ix_operation_snapshot", "snapshot_id", "created_at"),
    Index("ix_operation_instance", "instance_id", "created_at"),
)
operation_step = Table(
    "operation_step",
    metadata,
    Column("id", INTEGER, primary_key=True, autoincrement=True),
    _needs("operation_id", Text),
    _needs("at", Float),
    _needs("phase", Text),
    _needs("state", enumeration(OperationState)),
    _needs("attempts", INTEGER),
    _needs("error", Text),
    Index("ix_operation_step", "operation_id", "id"),
)
"""What an operation was at each change that people are shown; triggers write it, and keep the newest of each."""
audit = Table(
    "audit",
    metadata,
    Column("id", INTEGER, primary_key=True, autoincrement=True),
    _needs("at", Float),
    _needs("account_id", Text),
    _needs("secret_id", Text),
    _needs("action", Text),
    _needs("request_id", Text),
    _needs("resource", Text),
    _needs("code", Text),
    _needs("source", Text),
    _needs("calls", INTEGER),
    _needs("bytes", INTEGER),
    Index("ix_audit_at", "at"),
    Index("ix_audit_account", "account_id", "id"),
    Index("ix_audit_refused", "account_id", "id", **partial(REFUSED_CALL)),
)
audit_usage = Table(
    "audit_usage",
    metadata,
    Column("account_id", Text, primary_key=True),
    _needs("entries", INTEGER),
    _needs("bytes", INTEGER),
    _needs("refused_entries", INTEGER),
    _needs("refused_bytes", INTEGER),
)
"""What of the trail is an account's, kept by triggers."""
client_token = Table(
    "client_token",
    metadata,
    Column("account_id", Text, primary_key=True),
    Column("token", Text, primary_key=True),
    _needs("action", Text),
    _needs("request_hash", Text),
    _needs("response", OBJECT),
    _needs("created_at", Float),
    Index("ix_client_token_created", "created_at"),
)
unpublished = Table(
    "unpublished",
    metadata,
    Column("id", INTEGER, primary_key=True, autoincrement=True),
    _needs("kind", Text),
    _needs("resource_id", Text),
    UniqueConstraint("kind", "resource_id"),
    sqlite_autoincrement=True,
)
"""Kept by triggers: whoever changes a row need not think of it."""
password = Table(
    "password",
    metadata,
    Column("account_id", Text, ForeignKey("account.id"), primary_key=True),
    _needs("hashed", Text),
    _needs("changed_at", Float),
)
browser_session = Table(
    "browser_session",
    metadata,
    Column("token_hash", Text, primary_key=True),
    _owner(),
    _needs("created_at", Float),
    _needs("used_at", Float),
    Index("ix_browser_session_account", "account_id", "created_at"),
    Index("ix_browser_session_used", "used_at"),
)
history_point = Table(
    "history_point",
    metadata,
    Column("account_id", Text, primary_key=True),
    Column("at", Float, primary_key=True),
    _needs("disks", INTEGER),
    _needs("disks_bytes", INTEGER),
    _needs("snapshots", INTEGER),
    _needs("stored_bytes", INTEGER),
    _needs("logical_bytes", INTEGER),
    _needs("changed_bytes", INTEGER),
    Index("ix_history_point_at", "at"),
)
account_savings = Table(
    "account_savings",
    metadata,
    Column("account_id", Text, ForeignKey("account.id"), primary_key=True),
    _needs("size_gib", INTEGER),
    _needs("changed_bytes", INTEGER),
)
"""Kept by triggers, over NORMAL snapshots: sizes of their disks, and what each changed."""
expiry_tally = Table(
    "expiry_tally",
    metadata,
    Column("account_id", Text, primary_key=True),
    _needs("began_at", Float),
    _needs("expired", INTEGER),
)
"""How many of an account's snapshots have expired in the hour that began with the first of them (S118)."""

for _table in (schema_told.event, schema_policies.policy, schema_tags.tag):
    assert _table.metadata is metadata, "their tables are of the same schema"
