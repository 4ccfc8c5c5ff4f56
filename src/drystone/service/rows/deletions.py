"""How deletions begin: a snapshot's, and a disk's with those of its snapshots that go along."""

from collections.abc import Sequence

from sqlalchemy import Connection

from drystone.catalog import disks, proofs, shares, snapshot_groups, snapshots
from drystone.domain import lineage
from drystone.domain import tracking as algebra
from drystone.domain.disk import Disk, DiskState
from drystone.domain.ids import DiskId
from drystone.domain.operation import OperationKind
from drystone.domain.payloads import DeletionPayload
from drystone.domain.snapshot import Snapshot, SnapshotState
from drystone.service.rows.tracking import set_tracking, tracking_of
from drystone.service.rows.trees import tree_of
from drystone.service.transactions import Change


def mark_deleting(change: Change, snapshot: Snapshot, *, request_id: str) -> bool:
    """L5's first transaction: NORMAL → DELETING, every base moves (A5), and the operation that goes on.

    Returns:
        Whether the snapshot was NORMAL and is not shared (S341); otherwise nothing has changed.
    """
    conn = change.conn
    if shares.of_snapshot(conn, snapshot.id):
        return False
    expected = {"state": SnapshotState.NORMAL, "rolling_back": False}
    values = {"state": SnapshotState.DELETING, "modified_at": change.at}
    if not snapshots.compare_and_set(conn, snapshot.id, expected=expected, values=values):
        return False
    proofs.delete(conn, snapshot.id)
    if snapshot.group_id is not None:
        snapshot_groups.forget_if_empty(conn, snapshot.group_id)
    move = lineage.base_after(tree_of(conn, snapshot.id), snapshot.id)
    for disk in disks.with_base(conn, snapshot.id):
        moved = algebra.base_deleted(tracking_of(disk), snapshot.id, move.base, move.delta_maps)
        reason = disk.tracking_reason or "the delta map of a deleted snapshot is unknown"
        set_tracking(change, disk, moved, reason=reason)
    change.begin(
        OperationKind.DELETE_SNAPSHOT, account_id=snapshot.account_id, snapshot_id=snapshot.id, phase="DELETING",
        request_id=request_id, payload=DeletionPayload(),
    )  # fmt: skip
    return True


def going_along(conn: Connection, disk_id: DiskId) -> list[Snapshot]:
    """Return the snapshots that go with their disk if that is asked for: neither permanent nor shared (S341)."""
    found = snapshots.of_disk(conn, disk_id, [SnapshotState.NORMAL])
    shared = shares.of_snapshots(conn, [snapshot.id for snapshot in found])
    seen = [snapshot for snapshot in found if snapshot.backup_id is None]
    return [snapshot for snapshot in seen if not snapshot.permanent and snapshot.id not in shared]


def mark_terminating(change: Change, disk: Disk, going: Sequence[Snapshot], *, request_id: str) -> None:
    """Begin to destroy a disk, which is as `disk` in this transaction, and to delete its backup points.

    Args:
        change: The transaction.
        disk: The disk.
        going: Which of its snapshots are deleted, too.
        request_id: Of the call.
    """
    # S343: its backup points go with it, whatever becomes of its snapshots.
    for one in (*going, *snapshots.backups(change.conn, [disk.id])[disk.id]):
        mark_deleting(change, one, request_id=request_id)
    expected, values = {"state": disk.state}, {"state": DiskState.TERMINATING}
    changed = disks.compare_and_set(change.conn, disk.id, expected=expected, values=values)
    assert changed, "rows do not change under a writing transaction"
    change.begin(OperationKind.TERMINATE, account_id=disk.account_id, disk_id=disk.id, request_id=request_id)
