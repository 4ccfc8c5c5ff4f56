"""The tables of snapshot policies: what is to be taken when, of which disks, and what came of it."""

from sqlalchemy import Boolean, Column, Float, ForeignKey, Index, Table, Text, text

from drystone.catalog.columns import RETENTION, TAGS, TRIGGERS, enumeration
from drystone.catalog.dialect import INTEGER, partial
from drystone.catalog.schema_base import metadata, needs
from drystone.domain.policy import RunReason, RunState

OPEN_RUN = text("ended_at IS NULL")
"""The clause of the partial index; a query must repeat it word for word to use it."""
policy = Table(
    "policy",
    metadata,
    Column("id", Text, primary_key=True),
    Column("account_id", Text, ForeignKey("account.id"), nullable=False),
    needs("name", Text),
    needs("zone", Text),
    needs("triggers", TRIGGERS),
    needs("retention", RETENTION),
    needs("active", Boolean),
    needs("group", Boolean),
    needs("skip_unchanged", Boolean),
    needs("tags", TAGS),
    needs("created_at", Float),
    needs("modified_at", Float),
    needs("anchored_at", Float),
    Column("copied_from", Text),
    Index("ix_policy_account", "account_id", "created_at", "id"),
)
policy_cursor = Table(
    "policy_cursor",
    metadata,
    Column("policy_id", Text, ForeignKey("policy.id", ondelete="CASCADE"), primary_key=True),
    needs("at", Float),
)
"""Up to which time the slots of each policy were looked at; beside it, since it is written far more often."""
policy_disk = Table(
    "policy_disk",
    metadata,
    Column("policy_id", Text, ForeignKey("policy.id", ondelete="CASCADE"), primary_key=True),
    Column("disk_id", Text, primary_key=True),
    needs("bound_at", Float),
    Index("ix_policy_disk_disk", "disk_id"),
)
policy_run = Table(
    "policy_run",
    metadata,
    Column("policy_id", Text, primary_key=True),
    Column("slot", INTEGER, primary_key=True),
    Column("disk_id", Text, primary_key=True),
    needs("account_id", Text),
    needs("state", enumeration(RunState)),
    Column("reason", enumeration(RunReason)),
    needs("detail", Text),
    needs("late_by_s", Float),
    needs("missed", INTEGER),
    needs("attempts", INTEGER),
    needs("try_at", Float),
    Column("snapshot_id", Text),
    Column("ended_at", Float),
    Index("ix_policy_run_open", "slot", **partial(OPEN_RUN)),
    Index("ix_policy_run_account", "account_id", "slot"),
    Index("ix_policy_run_disk", "disk_id", "slot"),
    Index("ix_policy_run_snapshot", "snapshot_id"),
    Index("ix_policy_run_ended", "ended_at"),
)
"""History outlives its policy and its disk: neither is a foreign key."""
