"""What sharing a snapshot lets other accounts do: make disks from it (S341, S342)."""

from sqlalchemy import Connection

from drystone.catalog import shares, snapshots
from drystone.domain import tracking as algebra
from drystone.domain.disk import Disk
from drystone.domain.errors import Refusal, RefusalError
from drystone.domain.ids import AccountId, SnapshotId
from drystone.domain.snapshot import Snapshot, SnapshotState
from drystone.domain.tracking import Tracking

APART_REASON = "the disk was made from a snapshot of another account"
"""Why tracking of such a disk is LOST until its first snapshot."""


def usable(conn: Connection, account_id: AccountId, snapshot: Snapshot | None) -> bool:
    """Tell whether an account may make disks from a snapshot: its own, or one that is shared with it and NORMAL."""
    if snapshot is None or not snapshot.state.visible or snapshot.backup_id is not None:
        return False
    if snapshot.account_id == account_id:
        return True
    return snapshot.state is SnapshotState.NORMAL and shares.get(conn, snapshot.id, account_id) is not None


def usable_snapshot(conn: Connection, account_id: AccountId, snapshot_id: str) -> Snapshot:
    """Return a snapshot that an account may make disks from.

    Raises:
        RefusalError: `NO_SUCH_SNAPSHOT`, the same for one that is another's.
    """
    snapshot = snapshots.get(conn, SnapshotId(snapshot_id))
    if not usable(conn, account_id, snapshot):
        raise RefusalError(Refusal.NO_SUCH_SNAPSHOT, f"There is no snapshot {snapshot_id[:60]}.")
    assert snapshot is not None
    return snapshot


def revoked(conn: Connection, disk: Disk) -> bool:
    """Tell whether what a disk is to be made from is another account's, who shares it no longer."""
    source = None if disk.source_snapshot_id is None else snapshots.get(conn, disk.source_snapshot_id)
    if source is None or source.account_id == disk.account_id:
        return False
    return shares.get(conn, source.id, disk.account_id) is None


def tracking_of_content(conn: Connection, account_id: AccountId, tracking: Tracking) -> Tracking:
    """Return the row of a disk that holds what its base, its source, does; without a base if that is another account's.

    So no snapshot of an account ever builds on one of another's (S342).
    """
    source = None if tracking.base is None else snapshots.get(conn, tracking.base)
    if source is None or source.account_id == account_id:
        return tracking
    return algebra.base_refused(tracking)
