"""What workers are asked and what they answer: frozen values, one line of JSON each.

Paths and names are absolute and complete: a worker knows nothing but its job. Block ranges travel in files
(`ranges_file`), since they may be large.
"""

from typing import Literal

import msgspec

from drystone.codec.manifest import DiskAttributes, ManifestMap, ManifestPack
from drystone.domain.ids import AccountId, DiskId, SessionId, SnapshotId, StoreId


class StoreAddress(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A store in a directory; `floor_bytes` of free space stay untouched (None: the store's default)."""

    root: str
    store_id: StoreId
    floor_bytes: int | None = None


class Endpoint(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An NBD export on a unix socket, and the longest wait for any sign of life of its server."""

    socket: str
    export: str
    timeout_s: float = 30.0


class RangesFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Block ranges in a file, and the SHA-256 that its content must have."""

    path: str
    sha256: str


class ManifestTemplate(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the manifest says that only the service knows; `ancestry` begins with the base, at most 64 ids."""

    account: AccountId
    disk: DiskId
    size_bytes: int
    taken_at: str
    ancestry: tuple[SnapshotId, ...]
    tracking_reason: str
    freeze_ms: float
    consistency: str
    disk_attributes: DiskAttributes


class AuditPlan(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which clean blocks to check (P8, F22): allocated ones, from `cursor_block` on.

    Attributes:
        cursor_block: Where the audit before this one ended.
        blocks_max: Most blocks to check, whatever has changed; None checks all of the disk.
        marked_divisor: Beyond `blocks_max`, up to this part of the blocks that are marked may be checked (0: none).
        span_blocks: How far at most to look for allocated blocks, so that a disk of holes costs no more.
    """

    cursor_block: int
    blocks_max: int | None
    marked_divisor: int = 0
    span_blocks: int = 1 << 51


class UploadJob(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="upload"):
    """Write one snapshot from a frozen view: packs, map, manifest, durable in that order.

    Attributes:
        store: Where to.
        session: The writer's session; names of all objects carry it.
        snapshot: Id of the new snapshot.
        template: The rest of the manifest.
        view: The frozen view. `trim` needs it writable.
        mode: `delta` reads carry-over and bitmap; `rescan` reads what is allocated and keeps what equals the
            base; `full` reads what is allocated and has no base.
        base_manifest: Object name of the base's manifest; None writes a full map.
        base_maps: The base's maps if some were merged since its manifest was written, newest first.
        bitmap: Name of the frozen dirty bitmap on the view's export; needed for `delta`, else not looked at.
        carry_maps: Map objects whose addresses are in the carry-over.
        carry_ranges: Further addresses of the carry-over (loaded checkpoints).
        allocation: An export with `qemu:allocation-depth` of the disk, while it hydrates: only what is in its
            own layer is looked at by a rescan and by the audit. It counts only where the rest equals the base by
            construction: the base was taken of this disk, or is `hydrates_from`. Else all is looked at: after
            the source was deleted, the base is an ancestor that differs from it (A5).
        hydrates_from: The snapshot that the disk hydrates from.
        trim: Trim what will not be read, beside the reading, when that is expected to be long.
        audit: Check clean blocks against the base; for `delta` only.
    """

    store: StoreAddress
    session: SessionId
    snapshot: SnapshotId
    template: ManifestTemplate
    view: Endpoint
    mode: Literal["delta", "full", "rescan"]
    base_manifest: str | None = None
    base_maps: tuple[ManifestMap, ...] | None = None
    bitmap: str | None = None
    carry_maps: tuple[str, ...] = ()
    carry_ranges: tuple[RangesFile, ...] = ()
    allocation: Endpoint | None = None
    hydrates_from: SnapshotId | None = None
    trim: bool = False
    audit: AuditPlan | None = None


class UploadResult(msgspec.Struct, frozen=True, kw_only=True, tag="uploaded"):
    """What was written, all of it durable.

    Attributes:
        manifest: Object name.
        tracking: How it was tracked, as the manifest says.
        tracking_reason: Why so, as the manifest says.
        map: The snapshot's own map.
        maps: Object names of all maps that the manifest lists, newest first; some may be merged ones of this session.
        packs: Packs of this session.
        read_bytes: Read from the frozen view, without the audit.
        changed_bytes: Whole blocks marked relative to the base (delta), found different (rescan) or holding
            data (full).
        stored_bytes: Packs and map.
        requests: To the object store.
        seconds: From the job's start to the manifest.
        audited_blocks: Clean blocks that were compared.
        audit_complete: Whether these were all that the disk holds.
        audit_next_block: Where the next audit goes on.
        audit_lies: Block ranges that the tracker called clean but that differ from the base (at most 1,000). If there
            are any, the snapshot was made by rescan instead (A12): it is right all the same.
        audit_lie_blocks: How many blocks these are, all of them.
    """

    manifest: str
    tracking: Literal["full", "delta", "rescan"]
    tracking_reason: str
    map: ManifestMap
    maps: tuple[str, ...]
    packs: tuple[ManifestPack, ...]
    data_blocks: int
    zero_blocks: int
    read_bytes: int
    changed_bytes: int
    stored_bytes: int
    requests: int
    seconds: float
    audited_blocks: int = 0
    audit_next_block: int = 0
    audit_complete: bool = False
    audit_lies: tuple[tuple[int, int], ...] = ()
    audit_lie_blocks: int = 0


class RollbackJob(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="rollback"):
    """Make a detached disk equal to a snapshot: `plan` holds every block that may differ; None is all of them."""

    store: StoreAddress
    manifest: str
    disk: Endpoint
    plan: RangesFile | None


class RollbackResult(msgspec.Struct, frozen=True, kw_only=True, tag="rolled-back"):
    """Disk and snapshot agree in all of the plan, and the disk was flushed."""

    read_bytes: int
    differing_bytes: int
    written_bytes: int
    seconds: float


class DeathsJob(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="deaths"):
    """Count what dies with a snapshot (L4).

    Attributes:
        store: Where it is.
        manifest: The snapshot that goes.
        near: Manifests of the nearest living snapshots, through ghosts only.
        candidate_maps: Only addresses of these maps can die; None looks at all of the snapshot.
    """

    store: StoreAddress
    manifest: str
    near: tuple[str, ...]
    candidate_maps: tuple[str, ...] | None = None


class DeathsResult(msgspec.Struct, frozen=True, kw_only=True, tag="died"):
    """Dead blocks by pack id, and an estimate of the stored bytes that they hold."""

    blocks_by_pack: dict[str, int]
    bytes_estimate: int


class CollectJob(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="collect"):
    """Find which packs have no living block left (L7); deleting them is the service's business.

    Attributes:
        store: Where they are.
        packs: Pack object names.
        living: Manifests of every living snapshot, of all disks (a clone of a clone may see a block, too).
    """

    store: StoreAddress
    packs: tuple[str, ...]
    living: tuple[str, ...]


class CollectResult(msgspec.Struct, frozen=True, kw_only=True, tag="collected"):
    """Object names of the packs that are dead."""

    dead: tuple[str, ...]


Job = UploadJob | RollbackJob | DeathsJob | CollectJob
Result = UploadResult | RollbackResult | DeathsResult | CollectResult


class Progress(msgspec.Struct, frozen=True, kw_only=True, tag="progress"):
    """How far a job is, in bytes looked at."""

    done_bytes: int
    total_bytes: int


class Failure(msgspec.Struct, frozen=True, kw_only=True, tag="failure"):
    """A job that failed: the name of the error's class, its text, and the wire code of a refusal."""

    kind: str
    message: str
    code: str = ""


Message = UploadResult | RollbackResult | DeathsResult | CollectResult | Progress | Failure
"""A line of a worker's output."""
