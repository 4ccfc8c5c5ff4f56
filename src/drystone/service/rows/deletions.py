"""How deletions begin: a snapshot's, and a disk's with those of its snapshots that go along."""

from collections.abc import Sequence

from sqlalchemy import Connection

from drystone.catalog import disks, openings, operations, snapshot_groups, snapshots
from drystone.domain import lineage
from drystone.domain import tracking as algebra
from drystone.domain.disk import Disk, DiskState
from drystone.domain.ids import DiskId
from drystone.domain.operation import Operation, OperationKind
from drystone.domain.snapshot import Snapshot, SnapshotState
from drystone.service.installation import Installation
from drystone.service.rows.tracking import tracking_columns, tracking_of
from drystone.service.rows.trees import tree_of


def mark_deleting(
    conn: Connection, installation: Installation, snapshot: Snapshot, *, request_id: str, at: float
) -> Operation | None:
    """L5's first transaction: NORMAL → DELETING, every base moves (A5), and the operation that goes on.

    Returns:
        The operation to wake; None if the snapshot was not NORMAL, and nothing has changed.
    """
    expected = {"state": SnapshotState.NORMAL, "rolling_back": False}
    values = {"state": SnapshotState.DELETING, "modified_at": at}
    if not snapshots.compare_and_set(conn, snapshot.id, expected=expected, values=values):
        return None
    openings.delete(conn, snapshot.id)
    if snapshot.group_id is not None:
        snapshot_groups.forget_if_empty(conn, snapshot.group_id)
    move = lineage.base_after(tree_of(conn, snapshot.id), snapshot.id)
    for disk in disks.with_base(conn, snapshot.id):
        moved = algebra.base_deleted(tracking_of(disk), snapshot.id, move.base, move.delta_maps)
        reason = disk.tracking_reason or "the delta map of a deleted snapshot is unknown"
        columns = tracking_columns(moved, reason=reason)
        changed = disks.compare_and_set(conn, disk.id, expected={"epoch": disk.epoch}, values=columns)
        assert changed
    operation = Operation(
        id=installation.ids.operation(), kind=OperationKind.DELETE_SNAPSHOT, account_id=snapshot.account_id,
        disk_id=None, snapshot_id=snapshot.id, phase="DELETING", request_id=request_id, created_at=at, updated_at=at,
    )  # fmt: skip
    operations.insert(conn, operation)
    return operation


def going_along(conn: Connection, disk_id: DiskId) -> list[Snapshot]:
    """Return the snapshots that go with their disk if that is asked for: those that are not permanent."""
    found = snapshots.of_disk(conn, disk_id, [SnapshotState.NORMAL])
    return [snapshot for snapshot in found if not snapshot.permanent]


def mark_terminating(
    conn: Connection,
    installation: Installation,
    disk: Disk,
    going: Sequence[Snapshot],
    *,
    request_id: str,
    at: float,
) -> list[Operation]:
    """Begin to destroy a disk, which is as `disk` in this transaction, and to delete some of its snapshots.

    Returns:
        The operations to wake.
    """
    marked = [mark_deleting(conn, installation, one, request_id=request_id, at=at) for one in going]
    expected, values = {"state": disk.state}, {"state": DiskState.TERMINATING}
    changed = disks.compare_and_set(conn, disk.id, expected=expected, values=values)
    assert changed, "rows do not change under a writing transaction"
    terminate = Operation(
        id=installation.ids.operation(), kind=OperationKind.TERMINATE, account_id=disk.account_id, disk_id=disk.id,
        request_id=request_id, created_at=at, updated_at=at,
    )  # fmt: skip
    operations.insert(conn, terminate)
    return [*(operation for operation in marked if operation is not None), terminate]
