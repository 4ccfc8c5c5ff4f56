"""One snapshot from a frozen view into the store."""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Final, Literal

import msgspec
import structlog

from drystone.codec.manifest import Manifest, ManifestMap, ManifestPack, SnapshotRecord
from drystone.codec.wraps import Purpose
from drystone.domain.blocks import (
    BLOCK_BYTES,
    EMPTY,
    Ranges,
    count,
    normalize,
    union,
)
from drystone.domain.errors import DrystoneError
from drystone.nbd.client import NbdClient
from drystone.nbd.extents import STATE_DIRTY, dirty_bitmap
from drystone.nbd.vhost_user import Discarder
from drystone.objects.around import LISTED
from drystone.objects.noting import Noting
from drystone.objects.spooling import Spooling
from drystone.snapstore.expected import UNTRUSTED, KnownHashes
from drystone.snapstore.far import cache_at
from drystone.snapstore.manifests import seal_manifest
from drystone.snapstore.merge import MAPS_GOAL, apply_merge, merge_maps, plan_merge
from drystone.snapstore.packs import LISTING, encode_listing, session_prefix
from drystone.snapstore.seals import snapshots_purpose
from drystone.snapstore.store import RandomBits, Store
from drystone.snapstore.writer import SnapshotWriter, Written
from drystone.transfer.jobs import UploadJob, UploadResult
from drystone.transfer.plan import (
    READ_DEPTH,
    UploadPlan,
    byte_ranges,
    marked,
    plan_delta,
    plan_rescan,
    trimmable,
)
from drystone.transfer.sending import sent_ahead
from drystone.transfer.source import Frozen, Source, Tolerated, compared, connect, trusted, view_contexts
from drystone.transfer.tracking_audit import Audited, audit_tracking, describe_lies

TRIM_FROM_BYTES: Final = 256 << 20
"""Below this much to read, the upload is over before trimming could save scratch (F17)."""
_STATUS_FROM_BLOCKS: Final = 256
"""Marked stretches from 1 MiB on are worth a question whether they are zeros; shorter ones are just read."""
_LIES_MAX: Final = 1000
_SAID_MAX: Final = 400
"""Characters of each thing that was tolerated, in the snapshot's record."""

Report = Callable[[int, int], None]
"""Called with (bytes done, bytes in all)."""

log = structlog.get_logger(__name__)


def upload(job: UploadJob, store: Store, rng: RandomBits, report: Report) -> UploadResult:
    """Read the frozen view, write packs and map, in this order of durability, and seal the manifest over them.

    Args:
        job: What to write.
        store: The opened store of `job.store`.
        rng: Randomness for ids and salts.
        report: Progress.

    Returns:
        What is durable.

    Raises:
        SnapshotBrokenError: The view broke. Nothing refers to what was written; it is garbage of the session.
        DrystoneError: Anything else; as above.
    """
    noting = Noting(inner=store.objects)
    if job.spool is None:
        result = _upload(job, replace(store, objects=noting), rng, report)
        return msgspec.structs.replace(result, versions=noting.versions)
    spooling = Spooling(inner=noting, place=job.spool, apart=store.is_pack)
    ahead = contextlib.nullcontext() if store.far is None else sent_ahead(spooling, noting)
    with ahead:
        result = _upload(job, replace(store, objects=spooling), rng, report)
    # A copy: what is on its way still may arrive any time.
    return msgspec.structs.replace(result, spooled=tuple(spooling.spooled), versions=noting.versions.copy())


def _upload(job: UploadJob, store: Store, rng: RandomBits, report: Report) -> UploadResult:
    began_s = time.monotonic()
    tolerated = Tolerated()
    source = trusted(job, store, tolerated)
    with connect(job, job.view, view_contexts(source.job)) as view:
        frozen = Frozen(source=source, view=view, size_blocks=view.size_bytes // BLOCK_BYTES)
        plan = _plan(frozen)
        audit = audit_tracking(frozen, store, plan, tolerated)
        if count(audit.lies):
            # A12: nothing that tracking says of this disk can be believed. Nothing was trimmed yet, so the same
            # view is compared whole, and this snapshot is right.
            template = msgspec.structs.replace(job.template, tracking_reason=describe_lies(job, audit.lies))
            lied = msgspec.structs.replace(source.job, template=template)
            source = compared(lied, source.base, tolerated)
            frozen = replace(frozen, source=source)
            plan = _plan(frozen)
        job, base = source.job, source.base
        known = None if base is None or job.mode != "rescan" else KnownHashes(base)
        cache = cache_at(job.store.objects)
        # A full snapshot has no base, and one without base holds data only: zeros are what is absent.
        writer = SnapshotWriter(
            store=store,
            session=job.session,
            rng=rng,
            base=base,
            compare=known is not None,
            expect=known,
            purpose=_purpose(job),
            remember=cache,
        )
        try:
            with _trimming(job, plan, frozen.size_blocks):
                _feed(view, writer, plan, report)
            written = writer.finish()
        except BaseException:
            writer.abort()
            raise
    if cache is not None:
        told = encode_listing((pack.object, pack.bytes) for pack in written.packs[:LISTED])
        cache.put(session_prefix(store, job.session), LISTING, told)
    if known is not None and (known.packs or known.maps):
        tolerated.say("what the base could not tell was stored anew", packs=known.packs, maps=known.maps)
    return _commit(source, store, rng, written, plan=plan, audit=audit, tolerated=tolerated, began_s=began_s)


def _purpose(job: UploadJob) -> Purpose:
    told = job.template
    return snapshots_purpose(told.account, told.disk, encrypted=told.disk_attributes.encrypted)


def _plan(frozen: Frozen) -> UploadPlan:
    job = frozen.job
    if job.mode == "delta":
        assert job.bitmap is not None
        extents = frozen.view.extents(dirty_bitmap(job.bitmap), 0, frozen.view.size_bytes)
        dirty = marked(extents, STATE_DIRTY)
        carry = frozen.source.ranges
        everything = plan_delta(dirty=dirty, carry=carry, zero=EMPTY, size_blocks=frozen.size_blocks).read
        long = everything[everything[:, 1] - everything[:, 0] >= _STATUS_FROM_BLOCKS]
        zero = frozen.zeros(long)
        return plan_delta(dirty=dirty, carry=carry, zero=zero, size_blocks=frozen.size_blocks)
    everything = normalize([(0, frozen.size_blocks)])
    zero = frozen.zeros(everything)
    own = frozen.own_layer(everything)
    if frozen.source.base is None:
        # Without a base the disk must stand alone: what is below its own layer counts, too.
        return plan_rescan(zero=zero, own=everything, base_data=EMPTY)
    return plan_rescan(zero=zero, own=own, base_data=frozen.source.ranges)


def _feed(view: NbdClient, writer: SnapshotWriter, plan: UploadPlan, report: Report) -> None:
    """Read what is to be read and hand it, with the known zeros between, to the writer in address order."""
    total_bytes = count(plan.read) * BLOCK_BYTES
    done_bytes = 0
    report(0, total_bytes)
    zeros = iter(plan.zero.tolist())
    zero = next(zeros, None)
    for start, data in view.read_ranges(byte_ranges(plan.read), depth=READ_DEPTH):
        first_block = start // BLOCK_BYTES
        while zero is not None and zero[0] < first_block:
            writer.zero(*zero)
            zero = next(zeros, None)
        writer.write(first_block, data)
        done_bytes += len(data)
        report(done_bytes, total_bytes)
    assert done_bytes == total_bytes
    while zero is not None:
        writer.zero(*zero)
        zero = next(zeros, None)


@contextlib.contextmanager
def _trimming(job: UploadJob, plan: UploadPlan, size_blocks: int) -> Iterator[None]:
    """Trim beside the body what nobody will read, so that guest writes there need no copy.

    Only for deltas: a full snapshot and a rescan need all that is allocated (F2).
    """
    read_bytes = count(plan.read) * BLOCK_BYTES
    if job.trim is None or job.mode != "delta" or read_bytes < TRIM_FROM_BYTES:
        yield
        return
    ranges = trimmable(union(plan.read, plan.zero), size_blocks)
    stop = threading.Event()
    thread = threading.Thread(target=_trim, args=(job, job.trim, ranges, stop), name="trim", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def _trim(job: UploadJob, socket: str, ranges: Ranges, stop: threading.Event) -> None:
    try:
        with Discarder(Path(socket), timeout_s=job.view.timeout_s) as discarder:
            discarder.discard(byte_ranges(ranges), stop=stop.is_set)
    except DrystoneError as error:
        # Trimming saves scratch and changes nothing else; if the view is gone, the reader finds out.
        if not stop.is_set():
            log.warning("upload.trim_failed", snapshot_id=job.snapshot, error=str(error))


def _shortened(
    job: UploadJob, store: Store, rng: RandomBits, maps: tuple[ManifestMap, ...], tolerated: Tolerated
) -> tuple[ManifestMap, ...]:
    """Merge some of the base's maps when there are many (L10): readers open each one that a manifest lists.

    The merged map is this session's: garbage with it if the snapshot is never committed. Merging is size-tiered, so
    that an entry is rewritten a logarithmic number of times. Maps that cannot be read stay as they are, however many.
    """
    if len(maps) < MAPS_GOAL:
        return maps
    part = plan_merge(maps)
    if not part:
        return maps
    try:
        merged = merge_maps(store, job.session, rng, part, _purpose(job))
    except UNTRUSTED as error:
        tolerated.say(f"maps of the base could not be merged ({error})", maps=[one.object for one in part])
        return maps
    return apply_merge(maps, part, merged)


def _commit(
    source: Source,
    store: Store,
    rng: RandomBits,
    written: Written,
    *,
    plan: UploadPlan,
    audit: Audited,
    tolerated: Tolerated,
    began_s: float,
) -> UploadResult:
    """Seal the manifest over the durable packs and map."""
    job, base = source.job, source.base
    own = ManifestMap(
        object=written.map_object, kind=written.kind, entries=written.entries, bytes=written.map_bytes,
        commitment=written.commitment,
    )  # fmt: skip
    below = () if base is None else base.manifest.maps if job.base_maps is None else job.base_maps
    below = _shortened(job, store, rng, below, tolerated)
    reasons = (job.template.tracking_reason, *(said[:_SAID_MAX] for said in tolerated.said))
    reason = "; ".join(filter(None, reasons))
    packs = tuple(
        ManifestPack(pack=pack.pack, object=pack.object, bytes=pack.bytes, blocks=pack.blocks) for pack in written.packs
    )
    tracking: Literal["full", "delta", "rescan"] = "full" if base is None and job.mode == "rescan" else job.mode
    read_bytes = count(plan.read) * BLOCK_BYTES
    # "Changed" counts whole blocks marked relative to the base, whatever they hold (F20).
    changed = count(plan.read) + count(plan.zero) if job.mode == "delta" else written.changed_blocks
    template = job.template
    manifest = Manifest(
        format=store.version,
        store=store.store_id,
        snapshot=job.snapshot,
        session=job.session,
        account=template.account,
        disk=template.disk,
        size_bytes=template.size_bytes,
        taken_at=template.taken_at,
        base=None if base is None else base.manifest.snapshot,
        ancestry=template.ancestry,
        maps=(own, *below),
        packs=packs,
        record=SnapshotRecord(
            tracking=tracking,
            tracking_reason=reason,
            read_bytes=read_bytes,
            changed_bytes=changed * BLOCK_BYTES,
            stored_bytes=written.stored_bytes,
            requests=written.requests,
            freeze_ms=template.freeze_ms,
            consistency=template.consistency,
        ),
        disk_attributes=template.disk_attributes,
    )
    name, sealed = seal_manifest(store, manifest)
    return UploadResult(
        manifest=name,
        sealed=sealed,
        tracking=tracking,
        tracking_reason=reason,
        map=own,
        maps=tuple(part.object for part in manifest.maps),
        packs=packs,
        data_blocks=written.changed_blocks - written.zero_blocks,
        zero_blocks=written.zero_blocks,
        read_bytes=read_bytes,
        changed_bytes=changed * BLOCK_BYTES,
        stored_bytes=written.stored_bytes,
        requests=written.requests + 1,
        seconds=time.monotonic() - began_s,
        audited_blocks=audit.blocks,
        audit_next_block=audit.next_block,
        audit_complete=audit.complete,
        audit_lies=tuple((int(start), int(stop)) for start, stop in audit.lies[:_LIES_MAX].tolist()),
        audit_lie_blocks=count(audit.lies),
        alone=tolerated.alone,
        doubtful_packs=tuple(sorted(tolerated.packs)),
        doubtful_maps=tuple(sorted(tolerated.maps)),
    )
