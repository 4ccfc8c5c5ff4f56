"""S11: the base of a disk is NORMAL, or null."""

import structlog
from sqlalchemy import Connection

from drystone.catalog import disks, snapshots
from drystone.domain import lineage
from drystone.domain import tracking as algebra
from drystone.domain.disk import Disk
from drystone.domain.snapshot import SnapshotState
from drystone.domain.tracking import Tracking
from drystone.service.rows.tracking import set_tracking, tracking_of
from drystone.service.rows.trees import tree_of
from drystone.service.transactions import Change, Transactions

log = structlog.get_logger()
MOVE_REASON = "the delta map of a deleted snapshot is unknown"
"""Why a disk is LOST whose base cannot move otherwise."""


def with_living_base(conn: Connection, tracking: Tracking) -> Tracking:
    """Return a row whose base is NORMAL: its own, or the one that it would have moved to when that was deleted (A5).

    For whoever makes a snapshot the base that was pinned meanwhile, and so may be DELETING: the deletion has moved the
    bases that there were then.
    """
    base = tracking.base
    row = None if base is None else snapshots.get(conn, base)
    if base is None or (row is not None and row.state is SnapshotState.NORMAL):
        return tracking
    if row is None:
        return algebra.base_refused(tracking)
    move = lineage.base_after(tree_of(conn, base), base)
    return algebra.base_deleted(tracking, base, move.base, move.delta_maps)


def misplaced(conn: Connection) -> list[tuple[Disk, Tracking]]:
    """Return the disks whose base is not NORMAL, and what their tracking is to be instead.

    An earlier version let InitializeDisks set one, and no snapshot of such a disk could be begun any more.
    """
    wanted = [(disk, with_living_base(conn, tracking_of(disk))) for disk in disks.everything(conn)]
    return [(disk, after) for disk, after in wanted if after != tracking_of(disk)]


async def mend_bases(transactions: Transactions) -> int:
    """At a start: move every base that is not NORMAL, as its deletion should have; return how many there were.

    Nothing is written if there is none: another program may hold the catalog.
    """
    if not await transactions.read(misplaced):
        return 0
    moved = await transactions.change(_move)
    for disk, after in moved:
        log.warning("disk.base_moved", disk_id=disk.id, old_base=disk.base_snapshot_id, new_base=after.base)
    return len(moved)


def _move(change: Change) -> list[tuple[Disk, Tracking]]:
    found = misplaced(change.conn)
    for disk, after in found:
        set_tracking(change, disk, after, reason=disk.tracking_reason or MOVE_REASON)
    return found
