"""One snapshot from a frozen view into the store."""

import contextlib
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final, Literal

import msgspec
import structlog

from drystone.codec.manifest import Manifest, ManifestMap, ManifestPack, SnapshotRecord
from drystone.domain.blocks import (
    BLOCK_BYTES,
    EMPTY,
    Ranges,
    count,
    intersect,
    normalize,
    subtract,
    union,
)
from drystone.domain.errors import DrystoneError, ProtocolError
from drystone.domain.ids import PackId
from drystone.nbd.client import (
    ALLOCATION_DEPTH,
    BASE_ALLOCATION,
    STATE_DIRTY,
    STATE_ZERO,
    NbdClient,
    dirty_bitmap,
)
from drystone.nbd.vhost_user import Discarder
from drystone.snapstore.compare import differing
from drystone.snapstore.expected import UNTRUSTED, KnownHashes
from drystone.snapstore.layers import delta_addresses
from drystone.snapstore.manifests import write_manifest
from drystone.snapstore.merge import MAPS_GOAL, apply_merge, merge_maps, plan_merge
from drystone.snapstore.reader import SnapshotReader
from drystone.snapstore.store import RandomBits, Store
from drystone.snapstore.writer import SnapshotWriter, Written
from drystone.transfer.jobs import AuditPlan, Endpoint, UploadJob, UploadResult
from drystone.transfer.plan import (
    UploadPlan,
    byte_ranges,
    marked,
    plan_delta,
    plan_rescan,
    take_first,
    trimmable,
    wholly_equal,
    wholly_marked,
)
from drystone.transfer.ranges_file import read_ranges

TRIM_FROM_BYTES: Final = 256 << 20
"""Below this much to read, the upload is over before trimming could save scratch (F17)."""
_STATUS_FROM_BLOCKS: Final = 256
"""Marked stretches from 1 MiB on are worth a question whether they are zeros; shorter ones are just read."""
_AUDIT_STEP_BYTES: Final = (1 << 30, 64 << 30)
"""Allocation is asked for in steps that double from the first to the second until the sample is complete."""
_LIES_MAX: Final = 1000
_SAID_MAX: Final = 400
"""Characters of each thing that was tolerated, in the snapshot's record."""
_DEPTH: Final = 64
"""Scattered blocks are many small requests; of long pieces the window lets fewer fly."""

Report = Callable[[int, int], None]
"""Called with (bytes done, bytes in all)."""

log = structlog.get_logger(__name__)


def upload(job: UploadJob, store: Store, rng: RandomBits, report: Report) -> UploadResult:
    """Read the frozen view and write packs, map and manifest, in this order of durability.

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
    began_s = time.monotonic()
    tolerated = _Tolerated()
    source = _trusted(job, store, tolerated)
    with _connect(job, job.view, _view_contexts(source.job)) as view:
        frozen = _Frozen(source=source, view=view, size_blocks=view.size_bytes // BLOCK_BYTES)
        plan = _plan(frozen)
        audit = _audit(frozen, store, plan, tolerated)
        if count(audit.lies):
            # A12: nothing that tracking says of this disk can be believed. Nothing was trimmed yet, so the same
            # view is compared whole, and this snapshot is right.
            template = msgspec.structs.replace(job.template, tracking_reason=_lied(job, audit.lies))
            lied = msgspec.structs.replace(source.job, template=template)
            source = _compared(lied, source.base, tolerated)
            frozen = replace(frozen, source=source)
            plan = _plan(frozen)
        job, base = source.job, source.base
        known = None if base is None or job.mode != "rescan" else KnownHashes(base)
        # A full snapshot has no base, and one without base holds data only: zeros are what is absent.
        writer = SnapshotWriter(
            store=store,
            session=job.session,
            rng=rng,
            base=base,
            compare=known is not None,
            expect=known,
        )
        try:
            with _trimming(job, plan, frozen.size_blocks):
                _feed(view, writer, plan, report)
            written = writer.finish()
        except BaseException:
            writer.abort()
            raise
    if known is not None and (known.packs or known.maps):
        tolerated.say("what the base could not tell was stored anew", packs=known.packs, maps=known.maps)
    return _commit(source, store, rng, written, plan=plan, audit=audit, tolerated=tolerated, began_s=began_s)


@dataclass(slots=True, kw_only=True)
class _Tolerated:
    """What of the store could not be trusted, and what was done instead: nobody's snapshots end because of it (S38).

    What cannot be trusted is never taken for equal: it is compared, or stored anew.
    """

    said: list[str] = field(default_factory=list)
    packs: set[PackId] = field(default_factory=set)
    maps: set[str] = field(default_factory=set)
    alone: bool = False

    def say(self, what: str, *, packs: Iterable[PackId] = (), maps: Iterable[str] = ()) -> None:
        """Note it: for the snapshot's record, and for the scrub, which is to look at these objects."""
        self.said.append(what)
        self.packs.update(packs)
        self.maps.update(maps)
        log.warning("upload.tolerated", reason=what)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Source:
    """A job, and what was read of the store for it.

    Attributes:
        job: As it can be done.
        base: The snapshot below.
        ranges: Of a delta: the carry-over. Of a rescan: where the base holds data.
    """

    job: UploadJob
    base: SnapshotReader | None
    ranges: Ranges = field(default_factory=lambda: EMPTY)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Frozen:
    """The frozen view of a job."""

    source: _Source
    view: NbdClient
    size_blocks: int

    @property
    def job(self) -> UploadJob:
        """What is to be written."""
        return self.source.job

    @property
    def allocation(self) -> Endpoint | None:
        """See `usable_allocation`."""
        base = self.source.base
        return usable_allocation(self.job, None if base is None else base.manifest)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Audit:
    """What was checked of the blocks that tracking called clean, and which of them are not (A12)."""

    blocks: int = 0
    next_block: int
    complete: bool = False
    lies: Ranges = field(default_factory=lambda: EMPTY)


def _trusted(job: UploadJob, store: Store, tolerated: _Tolerated) -> _Source:
    """Read what a job relies on; what cannot be trusted makes it a rescan, or a snapshot without a base."""
    base = None
    if job.base_manifest is None:
        assert not job.template.ancestry, "a snapshot with ancestry needs its base"
    else:
        # δ(x) must hold every address at which x differs from its base; a full map cannot say that (A1).
        assert job.mode != "full", "a full snapshot has no base"
        try:
            base = SnapshotReader.open(store, job.base_manifest)
        except UNTRUSTED as error:
            return _alone(job, None, tolerated, error)
        assert job.template.ancestry[:1] == (base.manifest.snapshot,), (job.template.ancestry, job.base_manifest)
    if job.mode == "delta":
        try:
            carry = union(
                *(delta_addresses(store, name) for name in job.carry_maps),
                *(read_ranges(file) for file in job.carry_ranges),
            )
        except UNTRUSTED as error:
            # As if tracking were LOST (A6): any block may differ.
            tolerated.say(f"everything was compared, for the carry-over cannot be read ({error})", maps=job.carry_maps)
            return _compared(job, base, tolerated)
        return _Source(job=job, base=base, ranges=carry)
    return _compared(job, base, tolerated)


def _compared(job: UploadJob, base: SnapshotReader | None, tolerated: _Tolerated) -> _Source:
    """Return the job as a rescan, without a base if nobody can say what that shows."""
    if base is None:
        return _Source(job=job if job.mode == "full" else msgspec.structs.replace(job, mode="rescan"), base=None)
    try:
        data = base.data_ranges()
    except UNTRUSTED as error:
        return _alone(job, base, tolerated, error)
    return _Source(job=msgspec.structs.replace(job, mode="rescan"), base=base, ranges=data)


def _alone(job: UploadJob, base: SnapshotReader | None, tolerated: _Tolerated, error: DrystoneError) -> _Source:
    """Return the job as a full snapshot: on maps that cannot be read nothing can be built that can."""
    tolerated.alone = True
    maps = () if base is None else [part.object for part in base.manifest.maps]
    tolerated.say(f"everything was stored, without {job.template.ancestry[0]}, for that cannot be read ({error})",
                  maps=maps)  # fmt: skip
    template = msgspec.structs.replace(job.template, ancestry=())
    alone = msgspec.structs.replace(job, mode="full", base_manifest=None, base_maps=None, template=template)
    return _Source(job=alone, base=None)


def usable_allocation(job: UploadJob, base: Manifest | None) -> Endpoint | None:
    """Return the job's allocation export if what is not in the disk's own layer surely equals the base.

    It does if the base was taken of this disk (its layer only grows), or is what the disk hydrates from.
    """
    if base is None or (base.disk != job.template.disk and base.snapshot != job.hydrates_from):
        return None
    return job.allocation


def _view_contexts(job: UploadJob) -> tuple[str, ...]:
    if job.mode != "delta":
        return ()
    assert job.bitmap is not None, "a delta needs its bitmap"
    return (dirty_bitmap(job.bitmap),)


@contextlib.contextmanager
def _connect(job: UploadJob, endpoint: Endpoint, contexts: Sequence[str]) -> Iterator[NbdClient]:
    """Connect to an export of the disk and make sure that it has the disk's size."""
    with NbdClient(Path(endpoint.socket), endpoint.export, contexts=contexts, timeout_s=endpoint.timeout_s) as client:
        if client.size_bytes != job.template.size_bytes or client.size_bytes % BLOCK_BYTES:
            raise ProtocolError(
                f"{job.template.disk}: export {endpoint.export!r} has {client.size_bytes} bytes, "
                f"the disk has {job.template.size_bytes}"
            )
        yield client


def _plan(frozen: _Frozen) -> UploadPlan:
    job = frozen.job
    if job.mode == "delta":
        assert job.bitmap is not None
        extents = frozen.view.extents(dirty_bitmap(job.bitmap), 0, frozen.view.size_bytes)
        dirty = marked(extents, STATE_DIRTY)
        carry = frozen.source.ranges
        everything = plan_delta(dirty=dirty, carry=carry, zero=EMPTY, size_blocks=frozen.size_blocks).read
        long = everything[everything[:, 1] - everything[:, 0] >= _STATUS_FROM_BLOCKS]
        zero = _zeros(frozen, long)
        return plan_delta(dirty=dirty, carry=carry, zero=zero, size_blocks=frozen.size_blocks)
    everything = normalize([(0, frozen.size_blocks)])
    zero = _zeros(frozen, everything)
    own = _own_layer(frozen, everything)
    if frozen.source.base is None:
        # Without a base the disk must stand alone: what is below its own layer counts, too.
        return plan_rescan(zero=zero, own=everything, base_data=EMPTY)
    return plan_rescan(zero=zero, own=own, base_data=frozen.source.ranges)


def _zeros(frozen: _Frozen, ranges: Ranges) -> Ranges:
    """Return the blocks of `ranges` that the frozen view says are zeros."""
    if len(ranges) == 0:
        return EMPTY
    parts = []
    with _connect(frozen.job, frozen.job.view, (BASE_ALLOCATION,)) as client:
        for start, stop in ranges.tolist():
            extents = client.extents(BASE_ALLOCATION, start * BLOCK_BYTES, stop * BLOCK_BYTES)
            parts.append(wholly_marked(extents, STATE_ZERO))
    return union(*parts)


def _own_layer(frozen: _Frozen, ranges: Ranges) -> Ranges:
    """Return the blocks of `ranges` that may be the disk's own: all, or while it hydrates its top layer.

    It is asked of the running disk, where the layer only grows: a superset of what it was at the freeze.
    """
    allocation = frozen.allocation
    if allocation is None:
        return ranges
    parts = []
    with _connect(frozen.job, allocation, (ALLOCATION_DEPTH,)) as client:
        for start, stop in ranges.tolist():
            extents = client.extents(ALLOCATION_DEPTH, start * BLOCK_BYTES, stop * BLOCK_BYTES)
            # Depth 0 is nothing at all, 1 the disk's own layer, more its backing (= the base).
            whole = normalize([(start, stop)])
            foreign = wholly_equal(extents, 0)
            deep = extents[extents[:, 2] > 1]
            foreign = union(foreign, wholly_marked(deep, -1))
            parts.append(subtract(whole, foreign))
    return union(*parts)


def _feed(view: NbdClient, writer: SnapshotWriter, plan: UploadPlan, report: Report) -> None:
    """Read what is to be read and hand it, with the known zeros between, to the writer in address order."""
    total_bytes = count(plan.read) * BLOCK_BYTES
    done_bytes = 0
    report(0, total_bytes)
    zeros = iter(plan.zero.tolist())
    zero = next(zeros, None)
    for start, data in view.read_ranges(byte_ranges(plan.read), depth=_DEPTH):
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


def _audit(frozen: _Frozen, store: Store, plan: UploadPlan, tolerated: _Tolerated) -> _Audit:
    """Compare some clean blocks of the frozen view with the base (P8, A12), before anything is trimmed.

    What the base cannot tell is left out, and the next audit goes on behind it: it is no lie, and no proof either.
    """
    asked, base = frozen.job.audit, frozen.source.base
    if asked is None or frozen.job.mode != "delta" or base is None:
        return _Audit(next_block=0 if asked is None else asked.cursor_block)
    known = union(plan.read, plan.zero)
    sample, next_block = _sample(frozen, asked, known)
    hashes = KnownHashes(base)
    parts = []
    for start, data in frozen.view.read_ranges(byte_ranges(sample), depth=_DEPTH):
        parts.append(differing(store.keys, hashes, start // BLOCK_BYTES, data))
    told = subtract(sample, hashes.unknown)
    lies = intersect(union(*parts), told)
    complete = asked.blocks_max is None
    if complete:
        # What is a hole now and was data then is a change too; it is seen without reading it.
        holes = _zeros(frozen, normalize([(0, frozen.size_blocks)]))
        try:
            data_ranges = base.data_ranges()
        except UNTRUSTED:
            complete, data_ranges = False, EMPTY
            hashes.maps.update(part.object for part in base.manifest.maps)
        lies = union(lies, subtract(intersect(intersect(holes, _own_layer(frozen, holes)), data_ranges), known))
    left_out = count(sample) - count(told)
    if left_out or hashes.maps:
        complete = False
        tolerated.say(f"the audit left out {left_out} blocks of which the base cannot tell the hashes",
                      packs=hashes.packs, maps=hashes.maps)  # fmt: skip
    if count(lies):
        log.error("audit.tracker_lied", base=base.manifest.snapshot, blocks=count(lies), first_block=int(lies[0, 0]))
    return _Audit(blocks=count(told), next_block=next_block, complete=complete, lies=lies)


def _lied(job: UploadJob, lies: Ranges) -> str:
    return (
        f"the audit found {count(lies)} blocks that had changed since {job.template.ancestry[0]} "
        f"and were not marked, the first is block {int(lies[0, 0])}"
    )


def _sample(frozen: _Frozen, asked: AuditPlan, known: Ranges) -> tuple[Ranges, int]:
    """Choose the clean blocks to audit (F22), and say where the next audit goes on."""
    size = frozen.size_blocks
    cursor = asked.cursor_block if 0 <= asked.cursor_block < size else 0
    left = size if asked.blocks_max is None else asked.blocks_max
    if asked.marked_divisor:
        left = max(left, count(known) // asked.marked_divisor)
    # From the cursor to the end, then from the beginning to the cursor.
    stretches = [(cursor, size), (0, cursor)]
    step, step_max = (size // BLOCK_BYTES for size in _AUDIT_STEP_BYTES)
    span = asked.span_blocks
    chosen, reached = EMPTY, cursor
    for low, high in stretches:
        reached = low
        while reached < high:
            if left <= 0 or span <= 0:
                return chosen, reached % size
            stretch = normalize([(reached, min(reached + min(step, span), high))])
            step = min(2 * step, step_max)
            held = subtract(_own_layer(frozen, stretch), _zeros(frozen, stretch))
            taken = take_first(subtract(held, known), left)
            chosen, left, span = union(chosen, taken), left - count(taken), span - count(stretch)
            reached = int(stretch[-1, 1])
            if left <= 0 and len(taken):
                return chosen, int(taken[-1, 1]) % size
    return chosen, reached % size


def _shortened(
    job: UploadJob, store: Store, rng: RandomBits, maps: tuple[ManifestMap, ...], tolerated: _Tolerated
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
        merged = merge_maps(store, job.session, rng, part)
    except UNTRUSTED as error:
        tolerated.say(f"maps of the base could not be merged ({error})", maps=[one.object for one in part])
        return maps
    return apply_merge(maps, part, merged)


def _commit(
    source: _Source,
    store: Store,
    rng: RandomBits,
    written: Written,
    *,
    plan: UploadPlan,
    audit: _Audit,
    tolerated: _Tolerated,
    began_s: float,
) -> UploadResult:
    """Write the manifest over the durable packs and map."""
    job, base = source.job, source.base
    own = ManifestMap(object=written.map_object, kind=written.kind, entries=written.entries, bytes=written.map_bytes)
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
    return UploadResult(
        manifest=write_manifest(store, manifest),
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
