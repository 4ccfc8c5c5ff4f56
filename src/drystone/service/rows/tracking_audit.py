"""The audit of tracking: how much each snapshot checks, and what a lie means for the rows (P8, A12)."""

from dataclasses import replace

from sqlalchemy import Connection

from drystone.catalog import snapshots
from drystone.domain import tracking as algebra
from drystone.domain.blocks import BLOCK_BYTES
from drystone.domain.disk import Disk
from drystone.domain.disk_types import GIB
from drystone.domain.ids import SnapshotId
from drystone.domain.suspicion import SURE, Taken, suspects
from drystone.domain.tracking import FrozenBase, Tracking, TrackingState
from drystone.transfer.jobs import AuditPlan, UploadResult

SAMPLE_BLOCKS_MIN = 256
"""Every delta checks 1 MiB of what was called clean: some milliseconds."""
SAMPLE_BLOCKS_MAX = 16_384
"""64 MiB: what a delta may read beyond what changed, however long ago the last one was (F22)."""
COVERED_SECONDS = 30 * 86_400.0
"""All of a disk is checked in this time, unless it is too large for that with `SAMPLE_BLOCKS_MAX` a snapshot."""
SAMPLE_DIVISOR = 16
"""A large delta checks a sixteenth of what it reads, if that is more."""
SPAN_BLOCKS_MAX = 8 << 20
"""32 GiB are looked over for allocated blocks at most: about 0.1 s, also where there are none (F17)."""


def audit_plan(disk: Disk, *, everything: bool, since_s: float) -> AuditPlan:
    """Return what the snapshot of a disk is to check.

    Args:
        disk: Its row.
        everything: Check all of the disk.
        since_s: Seconds since the snapshot before it: the longer, the more is checked.
    """
    if everything:
        return AuditPlan(cursor_block=disk.audit_cursor, blocks_max=None)
    size_blocks = disk.size_gib * GIB // BLOCK_BYTES
    share = int(size_blocks * since_s / COVERED_SECONDS)
    return AuditPlan(
        cursor_block=disk.audit_cursor, blocks_max=min(max(SAMPLE_BLOCKS_MIN, share), SAMPLE_BLOCKS_MAX),
        marked_divisor=SAMPLE_DIVISOR, span_blocks=SPAN_BLOCKS_MAX,
    )  # fmt: skip


def believed(conn: Connection, tracking: Tracking) -> Tracking:
    """Return what a freeze may believe of a row: nothing of a base that is suspect (A12, S27).

    The row itself stays as it is: if the snapshot fails, nothing has changed. If it succeeds it is a rescan, which
    heals.
    """
    base = None if tracking.base is None else snapshots.get(conn, tracking.base)
    if base is None or not base.suspect or tracking.state is TrackingState.LOST:
        return tracking
    return algebra.lost(tracking, tracking.bitmap)


def judge_audit(
    conn: Connection, disk: Disk, snapshot_id: SnapshotId, freeze: FrozenBase, result: UploadResult
) -> tuple[FrozenBase, tuple[SnapshotId, ...]]:
    """Mark what a lie makes suspect, in the transaction that commits the snapshot which found it.

    Args:
        conn: The transaction.
        disk: The disk's row in it.
        snapshot_id: The snapshot, which was made by rescan if there was a lie: it is right.
        freeze: What its operation recorded.
        result: What its worker answered.

    Returns:
        The freeze as the commit is to see it: a lie makes it one that believed nothing; and what was marked.
    """
    if not result.audit_lies:
        return freeze, ()
    tree = [] if freeze.base is None else snapshots.family(conn, freeze.base)
    taken = [
        Taken(
            id=row.id, parent=row.parent_id, disk=row.disk_id,
            sure=row.record.tracking in SURE or bool(row.record.audit_complete and not row.record.audit_lies),
        )
        for row in tree
        if row.id != snapshot_id
    ]  # fmt: skip
    doubtful = sorted(suspects(taken, disk.id, freeze.base))
    for one in doubtful:
        snapshots.compare_and_set(conn, one, expected={}, values={"suspect": True})
    # A daemon that lost tracking meanwhile has no bitmap that could be believed from here on.
    lost = replace(freeze, lost=True) if disk.tracking == TrackingState.LIVE else freeze
    return lost, tuple(doubtful)
