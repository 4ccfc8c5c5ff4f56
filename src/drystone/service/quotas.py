"""How much of anything an account may have, and one call may ask. The decisions are pure."""

from dataclasses import dataclass

from sqlalchemy import Connection

from drystone.catalog import accounts, disks, snapshots
from drystone.domain.disk_types import GIB
from drystone.domain.errors import RefusalError
from drystone.domain.ids import AccountId, DiskId, InstanceId

SNAPSHOTS_PER_REGION_BASE = 64
SNAPSHOTS_PER_REGION_PER_DISK = 64
"""The documented quota of a region: 64 + 64 x the number of disks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotLimits:
    """The configured quota of snapshots."""

    per_disk: int = 64
    per_region: int = 0
    """0 means the documented 64 + 64 x disks."""
    gib_per_region: int = 0
    """Stored GiB; 0 means no limit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotUse:
    """What there is when a snapshot is asked for; CREATING ones count."""

    of_disk: int
    of_account: int
    disks: int
    stored_bytes: int


def snapshot_use(conn: Connection, account_id: AccountId, disk_id: DiskId) -> SnapshotUse:
    """Return what `check_snapshot` decides on, as of the caller's transaction."""
    usage = accounts.usage(conn, account_id)
    return SnapshotUse(
        of_disk=snapshots.totals(conn, [disk_id])[disk_id].count,
        of_account=usage.snapshots,
        disks=disks.count(conn, account_id),
        stored_bytes=usage.stored_bytes,
    )


def snapshots_max(limits: SnapshotLimits, disk_count: int) -> int:
    """Return how many snapshots an account with so many disks may have."""
    return limits.per_region or SNAPSHOTS_PER_REGION_BASE + SNAPSHOTS_PER_REGION_PER_DISK * disk_count


def at_quota(use: SnapshotUse, limits: SnapshotLimits) -> bool:
    """Tell whether one more snapshot of that disk would be refused."""
    try:
        check_snapshot(DiskId(""), use, limits)
    except RefusalError:
        return True
    return False


def check_snapshot(disk_id: DiskId, use: SnapshotUse, limits: SnapshotLimits) -> None:
    """Refuse one more snapshot of a disk when a quota is used up.

    Raises:
        RefusalError: `InsufficientSnapshotQuota`.
    """
    if use.of_disk >= limits.per_disk:
        raise RefusalError(
            "InsufficientSnapshotQuota",
            f"Disk {disk_id} has {use.of_disk} snapshots; {limits.per_disk} are allowed. Delete some first.",
        )
    per_region = snapshots_max(limits, use.disks)
    if use.of_account >= per_region:
        raise RefusalError(
            "InsufficientSnapshotQuota",
            f"There are {use.of_account} snapshots in this region; {per_region} are allowed. Delete some first.",
        )
    if limits.gib_per_region and use.stored_bytes >= limits.gib_per_region * GIB:
        raise RefusalError(
            "InsufficientSnapshotQuota",
            f"Snapshots hold {use.stored_bytes / GIB:.2f} GiB; {limits.gib_per_region} GiB are allowed. "
            "Delete some first.",
        )


def check_instance(instance_id: InstanceId, *, attached: int, adding: int, attached_max: int) -> None:
    """Refuse more disks than an instance may have.

    Raises:
        RefusalError: `LimitExceeded.InstanceAttachedDisk`.
    """
    if attached + adding > attached_max:
        raise RefusalError(
            "LimitExceeded.InstanceAttachedDisk",
            f"Instance {instance_id} has {attached} disks; with {adding} more it would have over {attached_max}.",
        )


def check_per_call(parameter: str, count: int, count_max: int) -> None:
    """Refuse a call that names too many things, or none.

    Raises:
        RefusalError: `MissingParameter` for none, `InvalidParameterValue.LimitExceeded` for too many.
    """
    if count < 1:
        raise RefusalError("MissingParameter", f"{parameter} is empty; give at least one.")
    if count > count_max:
        raise RefusalError(
            "InvalidParameterValue.LimitExceeded",
            f"{parameter} has {count} entries; one call takes at most {count_max}.",
        )
