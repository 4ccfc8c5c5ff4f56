"""Sessions, which pin what they read and own what they write (L6), and the packs they wrote."""

from dataclasses import dataclass
from enum import StrEnum

from drystone.domain.ids import AccountId, DiskId, OperationId, PackId, SessionId, SnapshotId


class SessionState(StrEnum):
    """OPEN until it is COMMITTED or FENCED, and then for ever that."""

    OPEN = "OPEN"
    COMMITTED = "COMMITTED"
    FENCED = "FENCED"
    ADOPTED = "ADOPTED"
    """Of a catalog that is gone, taken over by a recovery (L11): never running here, in force as COMMITTED is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """One reader or writer of snapshots. Its id is part of the name of every object that it writes."""

    id: SessionId
    kind: str
    """What it is for: snapshot, rollback, hydrate, and so on."""
    state: SessionState = SessionState.OPEN
    operation_id: OperationId | None = None
    created_at: float
    ended_at: float | None = None
    snapshot_id: SnapshotId | None = None
    """The snapshot whose manifest it may write; None if it writes none, or nobody knows."""
    deleted_at: float | None = None
    """When this catalog last deleted something that it wrote, its snapshot or a pack, by the steady clock."""


class PackState(StrEnum):
    """DELETING once a pack was found dead and its object may go."""

    LIVE = "LIVE"
    DELETING = "DELETING"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pack:
    """One pack: its identity outlives compaction, the name of its object does not (L8)."""

    id: PackId
    session_id: SessionId
    object: str
    """Name in the object store."""
    bytes: int
    blocks: int
    dead_blocks: int = 0
    """A count that only chooses candidates (L7); never a proof of death. Compaction takes what it dropped off both."""
    state: PackState = PackState.LIVE
    dead_bytes: int = 0
    """The dead blocks' share of `bytes`, likewise."""
    proven_at: float | None = None
    """When a scrub last read every living block of it."""
    disk_id: DiskId | None = None
    """The disk whose snapshot wrote it; None if nobody knows any more."""
    account_id: AccountId | None = None
    """Whose that snapshot was."""
    version: str | None = None
    """Which version of the object was written (S274); None if its store keeps none, or nobody knows."""
