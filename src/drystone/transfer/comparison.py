"""Which blocks of a running disk differ from a snapshot, found out without a freeze (A6)."""

import time
from pathlib import Path
from typing import Final

from drystone.domain.blocks import BLOCK_BYTES, EMPTY, Ranges, intersect, normalize, split, subtract, union
from drystone.domain.errors import ProtocolError
from drystone.snapstore.comparison import Expect, differing
from drystone.snapstore.expected import ExpectedHashes, KnownHashes
from drystone.snapstore.reader import SnapshotReader
from drystone.snapstore.store import Store
from drystone.transfer.jobs import CompareJob, CompareResult
from drystone.transfer.look import Looked, looking
from drystone.transfer.ranges_file import write_ranges

WINDOW_BLOCKS: Final = 2048
"""8 MiB are read at once; then the guest has its turn."""
STEP_BLOCKS: Final = 1 << 18
"""What is a hole is asked for 1 GiB at a time."""
REST_IDLE: Final = 0.5
"""Rest of this part of the time that a window took, while windows are as quick as the quickest: nobody else reads."""
REST_BUSY: Final = 4.0
"""The same while they are slow: somebody else wants the disk or the processor."""
BUSY_FROM: Final = 2.0
"""A window is slow from this many times the quickest on."""


def compare(job: CompareJob, store: Store) -> CompareResult:
    """Compare a stretch of a disk with a snapshot: one of the slices that together cover the disk.

    The bitmap that the result is to be used with recorded before the first slice began (A6): a block that is written
    while or after it was looked at is in the bitmap, one that was written before is found here if it differs.

    Args:
        job: Where from, and how long.
        store: The opened store of `job.store`.

    Returns:
        What differs between `job.start_block` and `next_block`.

    Raises:
        DrystoneError: Nothing is known of the stretch.
    """
    reader = SnapshotReader.open(store, job.manifest)
    # What the store cannot tell is taken for different: the next snapshot stores it anew.
    known = KnownHashes(reader)
    expect = ExpectedHashes(known)
    began_s = time.monotonic()
    parts, read_bytes, quickest_s = [EMPTY], 0, job.quickest_s
    with looking(job.disk) as disk:
        size = disk.size_bytes // BLOCK_BYTES
        if disk.size_bytes % BLOCK_BYTES or disk.size_bytes < reader.size_bytes:
            raise ProtocolError(
                f"a disk of {disk.size_bytes} bytes cannot be compared with "
                f"{reader.manifest.snapshot} of {reader.size_bytes} bytes"
            )
        at = job.start_block
        # At least one step, however late it is: each slice gets on.
        while at < size and (at == job.start_block or time.monotonic() - began_s < job.seconds_max):
            stop = min(at + STEP_BLOCKS, size)
            zero = disk.zeros(at, stop)
            held = subtract(normalize([(at, stop)]), zero)
            for first, last in split(held, WINDOW_BLOCKS):
                window_began_s = time.monotonic()
                parts.append(_differing(disk, store, expect, first, last))
                took_s = (time.monotonic() - window_began_s) / (last - first)
                read_bytes += (last - first) * BLOCK_BYTES
                quickest_s = took_s if quickest_s is None else min(quickest_s, took_s)
                rest = REST_BUSY if took_s > BUSY_FROM * quickest_s else REST_IDLE
                if job.yielding:
                    time.sleep(rest * took_s * (last - first))
                if time.monotonic() - began_s >= job.seconds_max:
                    stop = last
                    break
            looked_at = normalize([(at, stop)])
            # Zeros differ where the snapshot holds data; nothing need be read for that.
            holes = intersect(zero, looked_at)
            parts.append(intersect(holes, reader.data_ranges(at, stop)))
            at = stop
    found = union(*parts)
    return CompareResult(
        next_block=at, size_blocks=size, found=write_ranges(Path(job.found), found),
        read_bytes=read_bytes, quickest_s=quickest_s, doubtful_packs=tuple(sorted(known.packs)),
    )  # fmt: skip


def _differing(disk: Looked, store: Store, expect: Expect, first: int, last: int) -> Ranges:
    parts = [EMPTY]
    for start, data in disk.read(normalize([(first, last)])):
        parts.append(differing(store.keys, expect, start, data))
    return union(*parts)
