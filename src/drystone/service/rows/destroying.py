"""Destroying the data key of an encrypted disk: what keeps it from that, and what is recorded (S384)."""

from collections.abc import Collection, Iterator

from sqlalchemy import Connection

from drystone.catalog import destroyed_keys, disks, sessions, snapshots
from drystone.catalog.destroyed_keys import DestroyedKey
from drystone.domain import tracking as algebra
from drystone.domain.errors import Refusal, RefusalError
from drystone.domain.ids import AccountId, DiskId, KeyId, SnapshotId
from drystone.domain.snapshot import Snapshot, SnapshotState
from drystone.service.rows.deletions import mark_deleting
from drystone.service.rows.tracking import set_tracking, tracking_of
from drystone.service.transactions import Change

LIVING = frozenset({SnapshotState.CREATING, SnapshotState.NORMAL, SnapshotState.DELETING})
REASON = "the data key of its snapshots was destroyed"


def begin_destroying(
    change: Change, disk_id: DiskId, account: AccountId, keys: Collection[KeyId], *, request_id: str
) -> list[SnapshotId]:
    """Record that data keys of a disk are to be destroyed, and begin to delete its snapshots; return which.

    They become ghosts first, by what deletes any snapshot; then upkeep has the wraps go. May be repeated.

    Raises:
        RefusalError: Something needs what they seal; the message names all of it. Nothing was changed.
    """
    conn = change.conn
    found = list(blockers(conn, disk_id))
    if found:
        raise RefusalError(Refusal.IN_USE, f"The key of disk {disk_id} stays: {'; '.join(found)}.")
    rows = [row for row in snapshots.of_disk(conn, disk_id, [SnapshotState.NORMAL]) if row.encrypted]
    going = [row.id for row in rows if mark_deleting(change, row, request_id=request_id)]
    disk = disks.get(conn, disk_id)
    if disk is not None:
        # What it carries over of them could not be read.
        set_tracking(change, disk, algebra.base_refused(tracking_of(disk)), reason=REASON)
    known = {one.key for one in destroyed_keys.everything(conn)}
    destroyed_keys.put(
        conn, *(DestroyedKey(key=key, account=account, disk=disk_id) for key in keys if key not in known)
    )
    return going


def blockers(conn: Connection, disk_id: DiskId) -> Iterator[str]:
    """Yield what needs a data key of a disk, beside the disk and its own snapshots that are deleted along (S384).

    By the rows: a snapshot of another disk that descends from one of these may show its blocks, whatever was written
    since. One whose descent nobody knows may, too.
    """
    rows = snapshots.everything(conn)
    parents = {row.id: row.parent_id for row in rows}
    own = {row.id: row for row in rows if row.disk_id == disk_id}
    for row in own.values():
        if row.encrypted and (row.state is SnapshotState.CREATING or row.rolling_back):
            yield f"snapshot {row.id} of it is being created, or the disk is rolled back to it"
    for row in rows:
        if row.disk_id != disk_id and row.encrypted and row.state in LIVING and _descends(row, own, parents):
            yield f"snapshot {row.id} of disk {row.disk_id} may show its blocks: delete it"
    read = sessions.pinned(conn)
    for row in own.values():
        if row.encrypted and row.state in LIVING and row.id in read:
            yield f"snapshot {row.id} of it is being read by a disk that is filled, an export, a proof or a rollback"
    written = {row.session_id for row in own.values() if row.session_id is not None}
    for disk in disks.everything(conn):
        if disk.id == disk_id:
            continue
        if disk.base_snapshot_id in own or (disk.hydrating and disk.source_snapshot_id in own):
            yield f"disk {disk.id} was made from a snapshot of it and has no newer one of its own: delete it"
        elif any(name.split("/")[-2] in written for name in disk.carry if "/" in name):
            yield f"disk {disk.id} counts on a map of its snapshots: delete it"


def _descends(row: Snapshot, own: Collection[SnapshotId], parents: dict[SnapshotId, SnapshotId | None]) -> bool:
    """Tell whether a snapshot may show blocks of one of `own`: one is above it, or it ends where nobody knows on."""
    at = row.parent_id
    while at is not None:
        if at in own or at not in parents:
            return True
        at = parents[at]
    return False
