"""Make a detached disk equal to a snapshot by writing only what differs (A8, F26)."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from drystone.codec.nbd_wire import BASE_ALLOCATION, STATE_ZERO
from drystone.domain.blocks import (
    BLOCK_BYTES,
    EMPTY,
    Ranges,
    clip,
    count,
    intersect,
    normalize,
    split,
    subtract,
    union,
)
from drystone.domain.errors import ProtocolError
from drystone.nbd.client import NbdClient
from drystone.snapstore.comparison import differing
from drystone.snapstore.expected import ExpectedHashes
from drystone.snapstore.reader import Caches, SnapshotReader
from drystone.snapstore.store import Store
from drystone.transfer.jobs import RollbackJob, RollbackResult
from drystone.transfer.plan import byte_ranges, wholly_marked
from drystone.transfer.ranges_file import read_ranges

_WRITE_BLOCKS: Final = 256
"""1 MiB of target data in memory at a time, times the requests in flight."""
_WRITE_DEPTH: Final = 8
_FAR_CACHE_BYTES: Final = 256 << 20
"""Of a store over a network: what is read ahead is in it."""


def rollback(job: RollbackJob, store: Store, report: Callable[[int, int], None]) -> RollbackResult:
    """Read, compare and write where different; then flush.

    Idempotent: after any failure the same job finishes the work. Until it has returned, the disk is neither what
    it was nor the snapshot.

    Args:
        job: Disk, snapshot and plan.
        store: The opened store of `job.store`.
        report: Called with (bytes looked at, bytes in all).

    Raises:
        DrystoneError: The disk is partly rolled back.
    """
    began_s = time.monotonic()
    caches = None if store.far is None else Caches(_FAR_CACHE_BYTES)
    reader = SnapshotReader.open(store, job.manifest, caches)
    path, timeout_s = Path(job.disk.socket), job.disk.timeout_s
    # Two connections: many reads are in flight on one while the other writes what was read already.
    with (
        NbdClient(path, job.disk.export, contexts=(BASE_ALLOCATION,), timeout_s=timeout_s) as source,
        NbdClient(path, job.disk.export, timeout_s=timeout_s) as target,
    ):
        if source.size_bytes < reader.size_bytes or source.size_bytes % BLOCK_BYTES or target.read_only:
            raise ProtocolError(
                f"export {job.disk.export!r} of {source.size_bytes} bytes cannot take "
                f"{reader.manifest.snapshot} of {reader.size_bytes} bytes"
            )
        everything = normalize([(0, source.size_bytes // BLOCK_BYTES)])
        plan = everything if job.plan is None else clip(read_ranges(job.plan), int(everything[0, 1]))
        zero = _zeros(source, plan)
        read = subtract(plan, zero)
        data = reader.data_ranges()
        total_bytes = count(plan) * BLOCK_BYTES
        report(0, total_bytes)
        # Zeros on the disk differ exactly where the snapshot holds data; nothing of them need be read.
        missing = intersect(zero, data)
        differing_blocks = _write_data(reader, target, missing)
        done_bytes = count(zero) * BLOCK_BYTES
        report(done_bytes, total_bytes)
        # Of a plan that is narrow, only what it names is asked for.
        expect = ExpectedHashes(reader.hashes) if job.plan is None else reader.hashes
        for start, piece in source.read_ranges(byte_ranges(read)):
            unequal = differing(store.keys, expect, start // BLOCK_BYTES, piece)
            if len(unequal):
                held = intersect(unequal, data)
                _write_data(reader, target, held)
                for _ in target.zero_ranges(byte_ranges(subtract(unequal, held))):
                    pass
                differing_blocks += count(unequal)
            done_bytes += len(piece)
            report(done_bytes, total_bytes)
        target.flush()
    return RollbackResult(
        read_bytes=count(read) * BLOCK_BYTES,
        differing_bytes=differing_blocks * BLOCK_BYTES,
        written_bytes=differing_blocks * BLOCK_BYTES,
        seconds=time.monotonic() - began_s,
    )


def _zeros(client: NbdClient, ranges: Ranges) -> Ranges:
    """Return the blocks of `ranges` that the disk says are zeros."""
    if len(ranges) == 0:
        return EMPTY
    # One question over all: a plan of many short ranges must not become as many round trips.
    low, high = int(ranges[0, 0]), int(ranges[-1, 1])
    extents = client.extents(BASE_ALLOCATION, low * BLOCK_BYTES, high * BLOCK_BYTES)
    return intersect(ranges, union(wholly_marked(extents, STATE_ZERO)))


def _write_data(reader: SnapshotReader, target: NbdClient, ranges: Ranges) -> int:
    """Write the snapshot's content of `ranges`; return the number of blocks."""

    def items() -> Iterator[tuple[int, bytearray]]:
        for start, stop in split(ranges, _WRITE_BLOCKS):
            length = min(stop * BLOCK_BYTES, reader.size_bytes) - start * BLOCK_BYTES
            yield start * BLOCK_BYTES, reader.read(start * BLOCK_BYTES, length)

    for _ in target.write_ranges(items(), depth=_WRITE_DEPTH):
        pass
    return count(ranges)
