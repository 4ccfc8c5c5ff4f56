"""What workers are asked and what they answer: frozen values, one line of JSON each.

Paths and names are absolute and complete: a worker knows nothing but its job. Block ranges travel in files
(`ranges_file`), since they may be large. Jobs on disks and snapshots are here, those on a store in `store_jobs`.
"""

from typing import Literal

import msgspec

from drystone.codec.manifest import DiskAttributes, ManifestMap, ManifestPack
from drystone.domain.ids import AccountId, DiskId, PackId, SessionId, SnapshotId
from drystone.objects.measured import Count
from drystone.objects.spooling import SpooledObject, SpoolPlace
from drystone.transfer.addresses import Endpoint, Look, RangesFile, StoreAddress
from drystone.transfer.store_jobs import (
    CollectJob,
    CollectResult,
    CompactJob,
    CompactResult,
    DeathsJob,
    DeathsResult,
    MendJob,
    MendResult,
    ScrubJob,
    ScrubResult,
    SpaceJob,
    SpaceResult,
)


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
        view: The frozen view.
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
        trim: Socket on which what will not be read of the view is discarded, beside the reading, when that is expected
            to be long; None: nothing is.
        audit: Check clean blocks against the base; for `delta` only.
        spool: Where packs and maps may lie until they are sent; None: all goes into the store at once.
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
    trim: str | None = None
    audit: AuditPlan | None = None
    spool: SpoolPlace | None = None


class UploadResult(msgspec.Struct, frozen=True, kw_only=True, tag="uploaded"):
    """What was written, all of it durable, and the manifest over it, which is not yet in the store (S201).

    What lies in the spool is sent before the manifest (I1).

    Attributes:
        manifest: Its object's name.
        sealed: Its bytes.
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
        alone: The base could not be trusted, so the snapshot was made without it: its map is full, it has no parent.
        doubtful_packs: Packs of the base that could not be trusted, or are gone; the snapshot was made all the same.
        doubtful_maps: Maps of which that is true, or which are in one list with such a one.
        spooled: What is not in the store but in the spool, in the order in which it is to be sent.
        versions: By name, of what is in the store already, where the store gave one (S274).
    """

    manifest: str
    sealed: bytes
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
    alone: bool = False
    doubtful_packs: tuple[PackId, ...] = ()
    doubtful_maps: tuple[str, ...] = ()
    spooled: tuple[SpooledObject, ...] = ()
    versions: dict[str, str] = {}


class SendJob(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="send"):
    """Bring what an upload left in the spool into the store, in order."""

    store: StoreAddress
    directory: str
    objects: tuple[SpooledObject, ...]


class SendResult(msgspec.Struct, frozen=True, kw_only=True, tag="sent"):
    """All of it is in the store, durably, and nothing of it in the spool."""

    sent_bytes: int
    versions: dict[str, str] = {}
    """By name, where they are known (S274)."""


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


class CompareJob(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="compare"):
    """Compare a stretch of a running disk with a snapshot, while its tracking is LOST (A6).

    Attributes:
        store: Where the snapshot is.
        manifest: The snapshot: the disk's base.
        disk: Where the disk can be read.
        start_block: Where the slice before this one ended.
        seconds_max: How long the slice may take, beyond one window.
        found: File to be written with the ranges that differ.
        yielding: Rest between windows, longer while they are slow, so that the guest comes first.
        quickest_s: Seconds per block of the quickest window so far.
    """

    store: StoreAddress
    manifest: str
    disk: Look
    start_block: int
    seconds_max: float
    found: str
    yielding: bool = True
    quickest_s: float | None = None


class CompareResult(msgspec.Struct, frozen=True, kw_only=True, tag="compared"):
    """What differs from `start_block` to `next_block`, which is `size_blocks` when all was looked at.

    What `doubtful_packs` of the snapshot could not tell counts as different.
    """

    next_block: int
    size_blocks: int
    found: RangesFile
    read_bytes: int
    quickest_s: float | None
    doubtful_packs: tuple[PackId, ...] = ()


class DifferenceJob(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="difference"):
    """Tell where two snapshots differ, by their maps.

    Attributes:
        store: Where they are.
        older: A manifest; None compares with nothing.
        newer: Another.
        buckets_max: Into how many stretches at most the disk is divided.
    """

    store: StoreAddress
    older: str | None
    newer: str
    buckets_max: int


class DifferenceResult(msgspec.Struct, frozen=True, kw_only=True, tag="different"):
    """Bytes that differ, by stretches of `bucket_bytes` of the larger of the two."""

    size_bytes: int
    bucket_bytes: int
    buckets: tuple[int, ...]


Job = (
    UploadJob
    | SendJob
    | RollbackJob
    | DeathsJob
    | CollectJob
    | CompactJob
    | SpaceJob
    | CompareJob
    | ScrubJob
    | MendJob
    | DifferenceJob
)
Result = (
    UploadResult
    | SendResult
    | RollbackResult
    | DeathsResult
    | CollectResult
    | CompactResult
    | SpaceResult
    | CompareResult
    | ScrubResult
    | MendResult
    | DifferenceResult
)


class Progress(msgspec.Struct, frozen=True, kw_only=True, tag="progress"):
    """How far a job is, in bytes looked at."""

    done_bytes: int
    total_bytes: int


class Failure(msgspec.Struct, frozen=True, kw_only=True, tag="failure"):
    """A job that failed: the name of the error's class, its text, and why a refusal was one."""

    kind: str
    message: str
    refused: str = ""


class Counts(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="counts"):
    """What a job has asked of its store; sent before its answer."""

    counts: tuple[Count, ...]


Message = Result | Progress | Counts | Failure
"""A line of a worker's output."""
