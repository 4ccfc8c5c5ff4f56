"""How much of anything an account may have, and one call may ask. The decisions are pure."""

from dataclasses import dataclass

from sqlalchemy import Connection

from drystone.catalog import accounts, disks, operations, snapshots
from drystone.domain.disk_types import DISK_TYPES, GIB
from drystone.domain.errors import Refusal, RefusalError
from drystone.domain.ids import AccountId, DiskId, InstanceId
from drystone.domain.operation import OperationKind
from drystone.domain.payloads import ResizePayload

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
class DiskLimits:
    """How many disks an account may have, and how large together; 0 is no limit."""

    disks: int = 500
    gib: int = 262_144


DISKS = DiskLimits()
"""The quota of disks unless the configuration says another."""


def disk_limits(conn: Connection, account_id: AccountId, configured: DiskLimits) -> DiskLimits:
    """Return an account's quota of disks: what the administrator set for it, otherwise what is configured."""
    own = accounts.get_quota(conn, account_id)
    if own is None:
        return configured
    return DiskLimits(
        disks=configured.disks if own.disks is None else own.disks,
        gib=configured.gib if own.disk_gib is None else own.disk_gib,
    )


def disk_use(conn: Connection, account_id: AccountId) -> DiskLimits:
    """Return what an account has of disks: also what is being made or destroyed, and what resizes will add."""
    count, size_gib = disks.held(conn, account_id)
    for operation in operations.running_of_account(conn, account_id, OperationKind.RESIZE):
        disk = None if operation.disk_id is None else disks.get(conn, operation.disk_id)
        if disk is not None:
            size_gib += max(0, operation.payload_as(ResizePayload).size_gib - disk.size_gib)
    return DiskLimits(disks=count, gib=size_gib)


def check_disks(conn: Connection, account_id: AccountId, configured: DiskLimits, *, adding: int, gib: int) -> None:
    """Refuse more disks, or larger ones, than an account may have; in the transaction that records them (S157).

    Raises:
        RefusalError: `DISK_QUOTA`.
    """
    limits, use = disk_limits(conn, account_id, configured), disk_use(conn, account_id)  # S157
    if adding and limits.disks and use.disks + adding > limits.disks:
        raise RefusalError(
            Refusal.DISK_QUOTA,
            f"The account has {use.disks} disks; with {adding} more it would have over {limits.disks}, its quota. "
            "Terminate some, or ask the administrator for more.",
        )
    if limits.gib and use.gib + gib > limits.gib:
        raise RefusalError(
            Refusal.DISK_QUOTA,
            f"The account's disks have {use.gib} GiB; with {gib} more they would have over {limits.gib}, its quota. "
            "Terminate some, or ask the administrator for more.",
        )


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
        RefusalError: `SNAPSHOT_QUOTA`.
    """
    if use.of_disk >= limits.per_disk:
        raise RefusalError(
            Refusal.SNAPSHOT_QUOTA,
            f"Disk {disk_id} has {use.of_disk} snapshots; {limits.per_disk} are allowed. Delete some first.",
        )
    per_region = snapshots_max(limits, use.disks)
    if use.of_account >= per_region:
        raise RefusalError(
            Refusal.SNAPSHOT_QUOTA,
            f"There are {use.of_account} snapshots in this region; {per_region} are allowed. Delete some first.",
        )
    if limits.gib_per_region and use.stored_bytes >= limits.gib_per_region * GIB:
        raise RefusalError(
            Refusal.SNAPSHOT_QUOTA,
            f"Snapshots hold {use.stored_bytes / GIB:.2f} GiB; {limits.gib_per_region} GiB are allowed. "
            "Delete some first.",
        )


def check_instance(instance_id: InstanceId, *, attached: int, adding: int, attached_max: int) -> None:
    """Refuse more disks than an instance may have.

    Raises:
        RefusalError: `INSTANCE_FULL`.
    """
    if attached + adding > attached_max:
        raise RefusalError(
            Refusal.INSTANCE_FULL,
            f"Instance {instance_id} has {attached} disks; with {adding} more it would have over {attached_max}.",
        )


def check_descriptors(instance_id: InstanceId, *, adding: int, more: int) -> None:
    """Refuse more disks than the instance's storage daemon may have files open for.

    Raises:
        RefusalError: `INSTANCE_FULL`.
    """
    if adding > more:
        raise RefusalError(
            Refusal.INSTANCE_FULL,
            f"The storage daemon of instance {instance_id} may open files for {more} more disks, not for "
            f"{adding}: raise the server's limit of open files (LimitNOFILE, ulimit -n), or use another instance.",
        )


def check_per_call(parameter: str, count: int, count_max: int) -> None:
    """Refuse a call that names too many things, or none.

    Raises:
        RefusalError: `MISSING` for none, `TOO_MANY` for too many.
    """
    if count < 1:
        raise RefusalError(Refusal.MISSING, f"{parameter} is empty; give at least one.")
    if count > count_max:
        raise RefusalError(
            Refusal.TOO_MANY,
            f"{parameter} has {count} entries; one call takes at most {count_max}.",
        )


def check_size(disk_type: str, size_gib: int) -> None:
    """Refuse a size that the type does not have.

    Raises:
        RefusalError: `BAD_VALUE`.
    """
    kind = DISK_TYPES[disk_type]
    if not kind.size_gib_min <= size_gib <= kind.size_gib_max:
        raise RefusalError(
            Refusal.BAD_VALUE,
            f"DiskSize is {size_gib} GiB; {disk_type} has {kind.size_gib_min} to {kind.size_gib_max} GiB.",
        )
