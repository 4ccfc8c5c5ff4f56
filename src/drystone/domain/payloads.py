"""What each kind of operation remembers across a restart, as values.

A catalog keeps them as JSON objects. Fields that an older version did not write have defaults, and what it wrote
beyond these is passed over.
"""

from collections.abc import Mapping
from typing import Literal

import msgspec

from drystone.domain.ids import DiskId, OperationId, PackId, SessionId, SnapshotGroupId
from drystone.domain.quiesce import Quiesced
from drystone.domain.tracking import FrozenBase


class Payload(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Nothing to remember; the base of those that have something."""


class CreateDiskPayload(Payload, frozen=True, kw_only=True):
    """Of a disk that is made: the call that it belongs to, and the session that pins its source."""

    disk_ids: tuple[DiskId, ...] = ()
    client_token: str | None = None
    session: SessionId | None = None


class Spooled(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What of a snapshot lies in the spool: bytes in all, how many were sent, and the hash of the note about them."""

    sha256: str
    bytes: int
    sent_bytes: int = 0


class SnapshotPayload(Payload, frozen=True, kw_only=True):
    """Of a snapshot: what A2 wants recorded before the instant, and what the instant brought."""

    freeze: FrozenBase
    session: SessionId
    """Of the attempt that is under way."""
    session_used: bool = False
    maybe_trimmed: bool = False
    """An attempt before this one may have discarded parts of the frozen view."""
    audit: Literal["everything"] | None = None
    """All of the disk is checked against what tracking says."""
    tracking_reason: str = ""
    group: SnapshotGroupId | None = None
    taken_at: float | None = None
    freeze_ms: float | None = None
    consistency: str = "crash"
    consistency_asked: str | None = None
    quiesce_ms: float | None = None
    transcript: tuple[str, ...] = ()
    break_reason: str = ""
    spooled: Spooled | None = None
    """What it sends, once its view was let go."""

    def with_quiesced(self, reached: Quiesced) -> "SnapshotPayload":
        """Return this with what was held still, and how well."""
        return msgspec.structs.replace(
            self, consistency=reached.consistency.value, quiesce_ms=reached.quiesce_ms, transcript=reached.transcript,
            consistency_asked=None if reached.asked is None else reached.asked.value,
        )  # fmt: skip


class GroupPayload(Payload, frozen=True, kw_only=True):
    """Of a group of snapshots: its members' operations, in order."""

    group: SnapshotGroupId
    members: tuple[OperationId, ...]


class DeletionPayload(Payload, frozen=True, kw_only=True):
    """Of a snapshot's deletion: what dies with it, once it was counted."""

    dead: Mapping[PackId, int | tuple[int, int]] | None = None
    """Blocks and bytes by pack; the first version counted blocks alone."""
    deaths_unknown: str = ""
    """Why nobody can say what dies."""


class PlanFile(msgspec.Struct, frozen=True, kw_only=True):
    """A file of block ranges, and its hash."""

    path: str
    sha256: str


class RollbackPayload(Payload, frozen=True, kw_only=True):
    """Of a rollback: where its plan is, and what it came to."""

    session: SessionId
    plan: PlanFile | None = None
    """None: everything is compared."""
    read_bytes: int = 0
    written_bytes: int = 0
    differing_bytes: int = 0


class SessionPayload(Payload, frozen=True, kw_only=True):
    """Of a hydration or a comparison: the session that pins what it reads."""

    session: SessionId


class InitializePayload(Payload, frozen=True, kw_only=True):
    """Of a disk that begins anew: the session that pins its source, if it has one."""

    session: SessionId | None = None


class ResizePayload(Payload, frozen=True, kw_only=True):
    """Of a resize: the new size."""

    size_gib: int


class ExportPayload(Payload, frozen=True, kw_only=True):
    """Of an export: the session that pins the snapshot, and the file."""

    session: SessionId
    path: str
    format: str
    identity: tuple[int, ...] | None = None
    """Of the file that was finished, before it was given its name."""


class ImportPayload(Payload, frozen=True, kw_only=True):
    """Of an import: the file."""

    path: str
    format: str
    file: tuple[int, ...] | None = None
    """Which file it was that the call looked at."""


class CompactionOutcome(msgspec.Struct, frozen=True, kw_only=True):
    """What a compaction did, as the API shows it."""

    rewritten_packs: int
    removed_packs: int
    faulty_packs: int
    freed_bytes: int
    waiting_bytes: int
    note: str


class CompactPayload(Payload, frozen=True, kw_only=True):
    """Of a compaction: the share of a pack that must be dead, and what was done."""

    dead_percent: int | None = None
    result: CompactionOutcome | None = None


class ProofOutcome(msgspec.Struct, frozen=True, kw_only=True):
    """What a proof found, as the API shows it."""

    finding: str
    reason: str


class ProvePayload(Payload, frozen=True, kw_only=True):
    """Of a proof: the session that pins the snapshot, and its clone."""

    session: SessionId
    clone: DiskId
    size_gib: int
    databases: tuple[str, ...] = ()
    result: ProofOutcome | None = None
