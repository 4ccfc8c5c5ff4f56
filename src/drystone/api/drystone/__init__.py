"""The second service, 2026-11-01: what CBS has no action for. Times are ISO 8601 in UTC. `DRYSTONE` has its actions."""

from drystone.api.drystone import (
    accounts,
    disks,
    events,
    host,
    instances,
    operations,
    overview,
    policies,
    protection,
    quiescing,
    snapshots,
    store,
)
from drystone.api.drystone.service import DRYSTONE

__all__ = [
    "DRYSTONE",
    "accounts",
    "disks",
    "events",
    "host",
    "instances",
    "operations",
    "overview",
    "policies",
    "protection",
    "quiescing",
    "snapshots",
    "store",
]
