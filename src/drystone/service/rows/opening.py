"""What is recorded when a disk is opened in a storage daemon, and when it is closed (A10)."""

from drystone.domain import tracking as algebra
from drystone.domain.blocks import EMPTY, Ranges
from drystone.domain.disk import Disk
from drystone.domain.ids import DiskId
from drystone.domain.tracking import Checkpoint, TrackingState
from drystone.engine.volume import Recorded
from drystone.service.rows.carry_over import MISSING_REASON, carry_checkpoint
from drystone.service.rows.tracking import disk_row, set_tracking, tracking_of
from drystone.service.transactions import Change


def record_opening(change: Change, disk_id: DiskId, found: Recorded | None, *, daemon: str) -> Disk:
    """Begin a new epoch of a disk, with what its consumed checkpoint says.

    Args:
        change: The transaction.
        disk_id: The disk.
        found: Its checkpoint, the blocks that it marks, and the image that is there; None without one.
        daemon: Name of the daemon in which it will be open.

    Returns:
        The row as it is now; it names the bitmap that is to record.
    """
    now = disk_row(change, disk_id)
    state, why, ranges = _judge_checkpoint(now, found)
    bitmap = algebra.bitmap_name(now.epoch + 1, now.base_snapshot_id)
    opened = algebra.opened(tracking_of(now), state, bitmap=bitmap)
    extents = None if state is None else state.extents
    opened = carry_checkpoint(change.conn, disk_id, opened, extents, EMPTY if ranges is None else ranges)
    set_tracking(change, now, opened, reason=why or MISSING_REASON, daemon=daemon)
    return disk_row(change, disk_id)


def record_closed(change: Change, disk_id: DiskId, *, epoch: int, kept: bool) -> None:
    """Record that no daemon has the disk open, in order; `kept` if its checkpoint has what was tracked."""
    now = disk_row(change, disk_id)
    assert now.epoch == epoch
    state = tracking_of(now)
    stopped = algebra.lost(state) if not kept and state.state is TrackingState.LIVE else algebra.stopped(state)
    set_tracking(change, now, stopped, reason=now.tracking_reason or "unknown", daemon=None)


def _judge_checkpoint(disk: Disk, found: Recorded | None) -> tuple[Checkpoint | None, str, Ranges | None]:
    """Return the checkpoint if it is accepted, why not otherwise, and its ranges."""
    checkpoint, ranges, identity = found or (None, None, None)
    fault = algebra.checkpoint_fault(tracking_of(disk), disk.id, checkpoint, identity)
    if fault is None:
        return checkpoint, "", ranges
    if disk.tracking == TrackingState.LOST and disk.tracking_reason:
        return None, disk.tracking_reason, None
    return None, fault, None
