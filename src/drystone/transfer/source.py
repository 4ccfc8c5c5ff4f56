"""What a snapshot is made from: the frozen view, and what of the store can be trusted below it."""

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import structlog

from drystone.codec.manifest import Manifest
from drystone.codec.nbd_wire import BASE_ALLOCATION, STATE_ZERO
from drystone.domain.blocks import BLOCK_BYTES, EMPTY, Ranges, normalize, subtract, union
from drystone.domain.errors import DrystoneError, ProtocolError
from drystone.domain.ids import PackId
from drystone.nbd.client import NbdClient
from drystone.nbd.extents import ALLOCATION_DEPTH, dirty_bitmap
from drystone.snapstore.expected import UNTRUSTED
from drystone.snapstore.layers import delta_addresses
from drystone.snapstore.reader import SnapshotReader
from drystone.snapstore.store import Store
from drystone.transfer.addresses import Endpoint
from drystone.transfer.jobs import UploadJob
from drystone.transfer.plan import wholly_equal, wholly_marked
from drystone.transfer.ranges_file import read_ranges

log = structlog.get_logger(__name__)


@dataclass(slots=True, kw_only=True)
class Tolerated:
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
class Source:
    """A job, and what was read of the store for it."""

    job: UploadJob
    """As it can be done."""
    base: SnapshotReader | None
    ranges: Ranges = field(default_factory=lambda: EMPTY)
    """Of a delta: the carry-over. Of a rescan: where the base holds data."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Frozen:
    """The frozen view of a job."""

    source: Source
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

    def zeros(self, ranges: Ranges) -> Ranges:
        """Return the blocks of `ranges` that the frozen view says are zeros."""
        if len(ranges) == 0:
            return EMPTY
        parts = []
        with connect(self.job, self.job.view, (BASE_ALLOCATION,)) as client:
            for start, stop in ranges.tolist():
                extents = client.extents(BASE_ALLOCATION, start * BLOCK_BYTES, stop * BLOCK_BYTES)
                parts.append(wholly_marked(extents, STATE_ZERO))
        return union(*parts)

    def own_layer(self, ranges: Ranges) -> Ranges:
        """Return the blocks of `ranges` that may be the disk's own: all, or while it hydrates its top layer.

        It is asked of the running disk, where the layer only grows: a superset of what it was at the freeze.
        """
        allocation = self.allocation
        if allocation is None:
            return ranges
        parts = []
        with connect(self.job, allocation, (ALLOCATION_DEPTH,)) as client:
            for start, stop in ranges.tolist():
                extents = client.extents(ALLOCATION_DEPTH, start * BLOCK_BYTES, stop * BLOCK_BYTES)
                # Depth 0 is nothing at all, 1 the disk's own layer, more its backing (= the base).
                whole = normalize([(start, stop)])
                foreign = wholly_equal(extents, 0)
                deep = extents[extents[:, 2] > 1]
                foreign = union(foreign, wholly_marked(deep, -1))
                parts.append(subtract(whole, foreign))
        return union(*parts)


def trusted(job: UploadJob, store: Store, tolerated: Tolerated) -> Source:
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
            return compared(job, base, tolerated)
        return Source(job=job, base=base, ranges=carry)
    return compared(job, base, tolerated)


def compared(job: UploadJob, base: SnapshotReader | None, tolerated: Tolerated) -> Source:
    """Return the job as a rescan, without a base if nobody can say what that shows."""
    if base is None:
        return Source(job=job if job.mode == "full" else msgspec.structs.replace(job, mode="rescan"), base=None)
    try:
        data = base.data_ranges()
    except UNTRUSTED as error:
        return _alone(job, base, tolerated, error)
    return Source(job=msgspec.structs.replace(job, mode="rescan"), base=base, ranges=data)


def _alone(job: UploadJob, base: SnapshotReader | None, tolerated: Tolerated, error: DrystoneError) -> Source:
    """Return the job as a full snapshot: on maps that cannot be read nothing can be built that can."""
    tolerated.alone = True
    maps = () if base is None else [part.object for part in base.manifest.maps]
    tolerated.say(f"everything was stored, without {job.template.ancestry[0]}, for that cannot be read ({error})",
                  maps=maps)  # fmt: skip
    template = msgspec.structs.replace(job.template, ancestry=())
    alone = msgspec.structs.replace(job, mode="full", base_manifest=None, base_maps=None, template=template)
    return Source(job=alone, base=None)


def usable_allocation(job: UploadJob, base: Manifest | None) -> Endpoint | None:
    """Return the job's allocation export if what is not in the disk's own layer surely equals the base.

    It does if the base was taken of this disk (its layer only grows), or is what the disk hydrates from.
    """
    if base is None or (base.disk != job.template.disk and base.snapshot != job.hydrates_from):
        return None
    return job.allocation


def view_contexts(job: UploadJob) -> tuple[str, ...]:
    """Return the metadata contexts of the frozen view that the job reads."""
    if job.mode != "delta":
        return ()
    assert job.bitmap is not None, "a delta needs its bitmap"
    return (dirty_bitmap(job.bitmap),)


@contextlib.contextmanager
def connect(job: UploadJob, endpoint: Endpoint, contexts: Sequence[str]) -> Iterator[NbdClient]:
    """Connect to an export of the disk and make sure that it has the disk's size."""
    with NbdClient(Path(endpoint.socket), endpoint.export, contexts=contexts, timeout_s=endpoint.timeout_s) as client:
        if client.size_bytes != job.template.size_bytes or client.size_bytes % BLOCK_BYTES:
            raise ProtocolError(
                f"{job.template.disk}: export {endpoint.export!r} has {client.size_bytes} bytes, "
                f"the disk has {job.template.size_bytes}"
            )
        yield client
