"""A snapshot as the catalog keeps it, and the record of how it was taken (P7)."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from drystone.domain.disk import DATA_DISK, UNNAMED
from drystone.domain.ids import AccountId, DiskBackupId, DiskId, PolicyId, SessionId, SnapshotGroupId, SnapshotId


class SnapshotState(StrEnum):
    """The states of a snapshot (L4, L5); DELETING and GHOST are never shown to clients."""

    CREATING = "CREATING"
    NORMAL = "NORMAL"
    DELETING = "DELETING"
    GHOST = "GHOST"

    @property
    def visible(self) -> bool:
        """Whether clients see a snapshot in this state."""
        return self in {SnapshotState.CREATING, SnapshotState.NORMAL}


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotRecord:
    """How a snapshot was taken (P7). A field is None as long as it is not known."""

    tracking: str | None = None
    """delta, rescan or full."""
    tracking_reason: str | None = None
    read_bytes: int | None = None
    changed_bytes: int | None = None
    stored_bytes: int | None = None
    """Bytes of all objects written for it, maps and manifest included."""
    requests: int | None = None
    """Requests made to the object store."""
    freeze_ms: float | None = None
    duration_ms: float | None = None
    """From the call to NORMAL."""
    consistency: str | None = None
    """The level that was reached: crash, filesystem or application."""
    consistency_asked: str | None = None
    """The level that the profile asked for; None if nothing was asked, or there was nothing to hold."""
    quiesce_ms: float | None = None
    """How long applications and file systems were held, from the first step to the last thaw."""
    transcript: tuple[str, ...] = ()
    """What was done to hold them, and what they said, a line each."""
    taken_at: float | None = None
    """The instant (P1), seconds since the epoch, UTC."""
    audited_blocks: int | None = None
    """Blocks that the tracker called clean and that were compared all the same (P8)."""
    audit_complete: bool | None = None
    """Whether that were all of them: then nothing that tracking missed can be in it (A12)."""
    audit_lies: int | None = None
    """Blocks that the tracker had called clean wrongly; the snapshot was then made by rescan and is right."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """One row of the snapshot table. Times are seconds since the epoch, UTC."""

    id: SnapshotId
    account_id: AccountId
    disk_id: DiskId
    name: str = UNNAMED
    state: SnapshotState
    usage: str = DATA_DISK
    size_gib: int
    """Size of the disk at the instant, not what is stored."""
    percent: int = 0
    created_at: float
    modified_at: float
    deadline_at: float | None = None
    permanent: bool = True
    tags: tuple[tuple[str, str], ...] = ()
    zone: str
    project_id: int = 0
    parent_id: SnapshotId | None = None
    """L2: the base at the freeze."""
    session_id: SessionId | None = None
    manifest: str | None = None
    delta_map: str | None = None
    maps: tuple[str, ...] = ()
    """Object names of its maps, newest first."""
    record: SnapshotRecord = SnapshotRecord()
    stored_bytes: int = 0
    rolling_back: bool = False
    suspect: bool = False
    """A12: it may have inherited a block that tracking missed."""
    proven_at: float | None = None
    """When a scrub last read its manifest and maps whole."""
    damaged: bool = False
    """A scrub found that something it shows cannot be read any more (the damage table says what)."""
    group_id: SnapshotGroupId | None = None
    """The group that was taken at the same instant."""
    versions: Mapping[str, str] = field(default_factory=dict)
    """Which versions of its manifest and maps were written, by name, where that is known (S274)."""
    policy_id: PolicyId | None = None
    """The policy that had it taken; a snapshot outlives its policy."""
    slot: int | None = None
    """When that policy scheduled it, whole seconds."""
    policy_order: int | None = None
    """Its place among that policy's snapshots of the disk, in the order of their commits."""
    encrypted: bool = False
    """Whether its disk is: a data key of that disk alone seals it, and only encrypted disks are made from it (S380)."""
    backup_id: DiskBackupId | None = None
    """What clients call it while it is a backup point of its disk; then they see no snapshot (S343)."""
