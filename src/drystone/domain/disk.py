"""A disk as the catalog keeps it: what the client set, where it stands, and how its changes are tracked."""

from dataclasses import dataclass
from enum import StrEnum

from drystone.domain.disk_types import GIB
from drystone.domain.ids import AccountId, DiskId, InstanceId, KeyId, SnapshotId
from drystone.domain.tracking import TrackingState

DATA_DISK = "DATA_DISK"
SYSTEM_DISK = "SYSTEM_DISK"
POSTPAID = "POSTPAID_BY_HOUR"
PREPAID = "PREPAID"
UNNAMED = "未命名"
"""The documented name of a disk or a snapshot that was given none."""


ENCRYPT_TYPES = ("ENCRYPT_V1", "ENCRYPT_V2")
"""The documented kinds; both are the same here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskEncryption:
    """How a disk is encrypted, for as long as it lives.

    Attributes:
        type: One of `ENCRYPT_TYPES`, as it was asked for.
        kek: The key-encryption key that wraps the key of its image, and the one of its snapshots.
        wrap: The key of its image, wrapped; empty until it is made.
    """

    type: str
    kek: KeyId
    wrap: str = ""


class DiskState(StrEnum):
    """The states of a disk; CREATING and TERMINATING are never shown to clients."""

    CREATING = "CREATING"
    UNATTACHED = "UNATTACHED"
    ATTACHING = "ATTACHING"
    ATTACHED = "ATTACHED"
    DETACHING = "DETACHING"
    EXPANDING = "EXPANDING"
    ROLLBACKING = "ROLLBACKING"
    TORECYCLE = "TORECYCLE"
    DUMPING = "DUMPING"
    TERMINATING = "TERMINATING"

    @property
    def passing(self) -> bool:
        """Whether an operation leaves this state within seconds."""
        return self in {DiskState.ATTACHING, DiskState.DETACHING, DiskState.EXPANDING}

    @property
    def copying(self) -> bool:
        """Whether an operation leaves this state by itself, but may take hours."""
        return self in {DiskState.ROLLBACKING, DiskState.DUMPING}

    @property
    def visible(self) -> bool:
        """Whether clients see a disk in this state."""
        return self not in {DiskState.CREATING, DiskState.TERMINATING}


@dataclass(frozen=True, slots=True, kw_only=True)
class Disk:
    """One row of the disk table. Times are seconds since the epoch, UTC."""

    id: DiskId
    account_id: AccountId
    name: str = UNNAMED
    state: DiskState
    size_gib: int
    type: str
    charge_type: str = POSTPAID
    zone: str
    project_id: int = 0
    usage: str = DATA_DISK
    portable: bool = True
    shareable: bool = False
    instance_id: InstanceId | None = None
    last_attach_instance_id: InstanceId | None = None
    delete_with_instance: bool = False
    delete_snapshot: bool = False
    """Whether terminating the disk also deletes its snapshots that are not permanent."""
    throughput_performance: int = 0
    """Bought throughput beyond the type's own, MiB/s."""
    burst_performance: bool = False
    renew_flag: str = "NOTIFY_AND_MANUAL_RENEW"
    prepaid_period: int | None = None
    """Months, for PREPAID."""
    backup_quota: int = 0
    tags: tuple[tuple[str, str], ...] = ()
    source_snapshot_id: SnapshotId | None = None
    created_at: float
    deadline_at: float | None = None
    error_prompt: str = ""
    """Text of the last operation on this disk that failed; empty when there is none."""
    base_snapshot_id: SnapshotId | None = None
    """A1's base; None is the all-zero disk."""
    carry: frozenset[str] = frozenset()
    """A1's C: ids of delta maps and extent maps. Meaningless while tracking is LOST."""
    epoch: int = 0
    tracking: TrackingState = TrackingState.LOST
    """LOST is what a row is until somebody knows better."""
    tracking_reason: str = ""
    bitmap: str | None = None
    """Name of the live dirty bitmap in the storage daemon."""
    daemon: str | None = None
    """Name of the storage daemon that has the disk open."""
    hydrating: bool = False
    hydration_percent: int = 100
    rollback_percent: int = 0
    nbd_socket: str | None = None
    device: str | None = None
    audit_cursor: int = 0
    """The block at which the next audit of what tracking called clean goes on (P8)."""
    encryption: DiskEncryption | None = None
    """How its image, its scratch and its snapshots are encrypted; None: it is a plain disk."""
    backup_day: int | None = None
    """The last day, counted from the epoch in UTC, of which a backup point was begun by itself (S344)."""

    @property
    def size_bytes(self) -> int:
        """Its size in bytes."""
        return self.size_gib * GIB
