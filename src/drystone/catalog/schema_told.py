"""The tables of what people are told: events, and what was asked of the store."""

from sqlalchemy import Column, Float, Index, Table, Text, text

from drystone.catalog.columns import FACTS, enumeration
from drystone.catalog.dialect import INTEGER, partial
from drystone.catalog.schema_base import metadata, needs
from drystone.domain.event import EventKind

UNRESOLVED = text("resolved_at IS NULL")
"""The clause of the partial index; a query must repeat it word for word to use it."""
event = Table(
    "event",
    metadata,
    Column("id", Text, primary_key=True),
    needs("kind", enumeration(EventKind)),
    needs("account_id", Text),
    needs("subject_id", Text),
    needs("aspect", Text),
    needs("facts", FACTS),
    needs("first_seen_at", Float),
    needs("last_seen_at", Float),
    needs("count", INTEGER),
    Column("resolved_at", Float),
    Column("acknowledged_at", Float),
    needs("acknowledged_by", Text),
    needs("revision", INTEGER),
    Index("ix_event_unresolved", "kind", "account_id", "subject_id", "aspect", unique=True, **partial(UNRESOLVED)),
    Index("ix_event_account", "account_id", "last_seen_at"),
    Index("ix_event_seen", "last_seen_at"),
    Index("ix_event_revision", "revision"),
)
"""`account_id` is empty for what is the installation's, and no foreign key."""
store_traffic = Table(
    "store_traffic",
    metadata,
    Column("day", Text, primary_key=True),
    Column("kind", Text, primary_key=True),
    needs("requests", INTEGER),
    needs("bytes", INTEGER),
    needs("errors", INTEGER),
)
space_day = Table(
    "space_day",
    metadata,
    Column("day", Text, primary_key=True),
    needs("stored_bytes", INTEGER),
    needs("free_bytes", INTEGER),
)
disk_day = Table(
    "disk_day",
    metadata,
    Column("disk_id", Text, primary_key=True),
    Column("day", Text, primary_key=True),
    needs("bytes", INTEGER),
    Index("ix_disk_day_day", "day"),
)
"""What the store held of a disk at the end of a day on which that became another; no foreign key: disks go earlier."""
