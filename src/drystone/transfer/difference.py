"""Where two snapshots differ, told by a worker: large maps must not be read on the event loop."""

from drystone.domain.blocks import BLOCK_BYTES
from drystone.snapstore.difference import difference
from drystone.snapstore.reader import SnapshotReader
from drystone.snapstore.store import Store
from drystone.transfer.jobs import DifferenceJob, DifferenceResult


def differences(job: DifferenceJob, store: Store) -> DifferenceResult:
    """Count the bytes in which two snapshots differ, in equal stretches of the disk.

    Raises:
        DrystoneError: As `difference`.
    """
    older = None if job.older is None else SnapshotReader.open(store, job.older)
    newer = SnapshotReader.open(store, job.newer)
    found = difference(older, newer, job.buckets_max)
    return DifferenceResult(
        size_bytes=max(newer.size_bytes, 0 if older is None else older.size_bytes),
        bucket_bytes=found.bucket_blocks * BLOCK_BYTES,
        buckets=tuple(count * BLOCK_BYTES for count in found.buckets),
    )
