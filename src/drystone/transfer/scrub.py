"""Scrubbing and mending in a worker: paced reading, and the running disks that damaged blocks may be had from."""

import contextlib
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Final

import numpy as np
import structlog

from drystone.codec.hashes import block_hash
from drystone.domain.blocks import BLOCK_BYTES, Ranges, clip, from_blocks
from drystone.domain.errors import DrystoneError, UnavailableError
from drystone.objects.contract import NotFoundError
from drystone.objects.noting import Noting
from drystone.snapstore.mend import mend_pack
from drystone.snapstore.reader import Caches, SnapshotReader
from drystone.snapstore.scrub import check_manifest, check_map, check_pack, coarse, hidden
from drystone.snapstore.store import RandomBits, Store
from drystone.transfer.addresses import Look
from drystone.transfer.look import Looked, looking
from drystone.transfer.store_jobs import Fault, MendJob, MendResult, ScrubJob, ScrubResult
from drystone.transfer.upload import Report

RANGES_MAX: Final = 1000
"""Ranges of one fault: more are told as fewer, wider ones."""
_CREDIT_S: Final = 0.1
_CACHE_BYTES: Final = 8 << 20

log = structlog.get_logger(__name__)


class _Pace:
    """Counts what is read, and waits where it was more than the rate allows."""

    def __init__(self, bytes_per_s: int) -> None:
        self._rate = bytes_per_s
        self._due_s = time.monotonic()
        self.read_bytes = 0

    def __call__(self, length: int) -> None:
        self.read_bytes += length
        if self._rate <= 0:
            return
        now_s = time.monotonic()
        self._due_s = max(self._due_s, now_s - _CREDIT_S) + length / self._rate
        if self._due_s > now_s:
            time.sleep(self._due_s - now_s)


def scrub(job: ScrubJob, store: Store, report: Report) -> ScrubResult:
    """Prove each object of a job. What the store does not answer for is in neither list of the result."""
    pace = _Pace(job.bytes_per_s)
    whole: list[str] = []
    faults: list[Fault] = []
    unsure: set[str] = set()
    total, done = len(job.packs) + len(job.maps) + len(job.manifests), 0
    for check, names in ((_pack, job.packs), (_map, job.maps), (_manifest, job.manifests)):
        for name in names:
            report(done, total)
            done += 1
            try:
                found, sure = check(job, store, name, pace)
            except (UnavailableError, NotFoundError) as error:
                # Also an object that went while it was read: it was written again, or deleted.
                log.warning("scrub.not_reached", object=name, error=str(error))
                continue
            faults += found
            if not found:
                whole.append(name)
            if not sure:
                unsure.add(name)
    return ScrubResult(
        whole=tuple(whole), faults=tuple(faults), read_bytes=pace.read_bytes, unsure=tuple(sorted(unsure))
    )


_Checked = tuple[list[Fault], bool]
"""What is wrong with an object, and whether all who may show it were asked."""


def _pack(job: ScrubJob, store: Store, name: str, pace: _Pace) -> _Checked:
    fault = check_pack(store, name, pace)
    if fault is None:
        return [], True
    sure = True
    told = [Fault(object=name, reason=fault.reason)]
    for manifest in job.living:
        try:
            lost = hidden(fault, SnapshotReader.open(store, manifest, Caches(_CACHE_BYTES)))
        except UnavailableError:
            raise
        except DrystoneError as error:
            # A damaged map or manifest is a fault of its own; what it hides behind it cannot be told.
            log.warning("scrub.snapshot_not_read", manifest=manifest, error=str(error))
            sure = False
            continue
        if len(lost):
            told.append(Fault(object=name, reason=fault.reason, manifest=manifest, ranges=_told(lost)))
    return told, sure


def _map(_job: ScrubJob, store: Store, name: str, pace: _Pace) -> _Checked:
    found = check_map(store, name, pace)
    if found is None:
        return [], True
    reason, lost = found
    return [Fault(object=name, reason=reason, ranges=None if lost is None else _told(lost))], True


def _manifest(_job: ScrubJob, store: Store, name: str, _pace: _Pace) -> _Checked:
    reason = check_manifest(store, name)
    return ([] if reason is None else [Fault(object=name, reason=reason)]), True


def _told(ranges: Ranges) -> tuple[tuple[int, int], ...]:
    return tuple((int(start), int(stop)) for start, stop in coarse(ranges, RANGES_MAX).tolist())


def mend(job: MendJob, store: Store, rng: RandomBits) -> MendResult:
    """Write a damaged pack again, as far as running disks still hold what is damaged.

    Raises:
        DrystoneError: As `mend_pack`; nothing refers to what was written.
    """
    with contextlib.ExitStack() as stack:
        disks = [disk for look in job.disks for disk in _connected(stack, look)]

        def find(wanted: Mapping[int, bytes]) -> Mapping[int, bytes]:
            found: dict[int, bytes] = {}
            for disk in disks:
                missing = [block for block in wanted if block not in found]
                found |= {
                    block: content
                    for block, content in _read(disk, missing)
                    if block_hash(store.keys, content) == wanted[block]
                }
            return found

        noting = Noting(inner=store.objects)
        done = mend_pack(replace(store, objects=noting), job.pack, job.attempt, rng, find)
    return MendResult(
        object=done.object, bytes=done.bytes, mended_blocks=done.mended_blocks, lost_blocks=done.lost_blocks,
        version=None if done.object is None else noting.versions.get(done.object),
    )  # fmt: skip


def _connected(stack: contextlib.ExitStack, look: Look) -> Iterator[Looked]:
    """Yield a disk, or nothing: one that cannot be reached has nothing to give."""
    try:
        yield stack.enter_context(looking(look))
    except DrystoneError as error:
        log.warning("mend.disk_not_reached", error=str(error))


def _read(disk: Looked, blocks: Sequence[int]) -> Iterator[tuple[int, bytes]]:
    """Yield the content of each of some blocks that the disk has; what cannot be read is left out."""
    wanted = clip(from_blocks(np.array(blocks, dtype=np.int64)), disk.size_bytes // BLOCK_BYTES)
    try:
        for start, data in disk.read(wanted):
            for at in range(len(data) // BLOCK_BYTES):
                yield start + at, bytes(data[at * BLOCK_BYTES : (at + 1) * BLOCK_BYTES])
    except DrystoneError as error:
        log.warning("mend.disk_not_read", error=str(error))
