"""The transactions that begin work on snapshots: what is recorded before anything is touched.

Each is called within the transaction of a use case, which has checked what its own documentation wants checked.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from sqlalchemy import Connection

from drystone.catalog import destroyed_keys, disks, operations, snapshots
from drystone.domain import tracking as algebra
from drystone.domain.disk import Disk, DiskState
from drystone.domain.errors import PassingError, Refusal, RefusalError
from drystone.domain.ids import DiskId, SnapshotGroupId, SnapshotId
from drystone.domain.operation import Operation, OperationKind
from drystone.domain.payloads import RollbackPayload, SnapshotPayload
from drystone.domain.settling import Phase
from drystone.domain.snapshot import Snapshot, SnapshotState
from drystone.domain.tracking import FrozenBase, TrackingState
from drystone.service.rows.tracking import flight_of, snapshot_under_way, tracking_of
from drystone.service.rows.tracking_audit import believed
from drystone.service.transactions import Change


@dataclass(frozen=True, slots=True, kw_only=True)
class Begun:
    """What the first transaction of a snapshot recorded."""

    operation: Operation
    freeze: FrozenBase
    disk: Disk


@dataclass(frozen=True, slots=True, kw_only=True)
class Scheduled:
    """What is done for a run of a policy in the transactions of its snapshot."""

    record: Callable[[Change, Snapshot], Snapshot]
    """Note in the run that this snapshot is begun, and return it with what the policy gives it.

    It raises a `RefusalError` if the run no longer waits.
    """
    unchanged: Callable[[Change, Sequence[tuple[Disk, bool]]], bool] | None
    """Given the disks as they are held, and whether any block of each is marked: note in the runs that nothing needs to
    be taken, and tell whether that is so. None: all are taken in any case.
    """


def new_snapshot(change: Change, disk: Disk, snapshot_id: SnapshotId) -> Snapshot:
    """Return the row of a snapshot that is begun now, as a disk's is when nobody asks for anything else."""
    return Snapshot(
        id=snapshot_id, account_id=disk.account_id, disk_id=disk.id, state=SnapshotState.CREATING, usage=disk.usage,
        size_gib=disk.size_gib, created_at=change.at, modified_at=change.at, zone=disk.zone,
        project_id=disk.project_id,
    )  # fmt: skip


def begin_snapshot(
    change: Change,
    disk: Disk,
    template: Snapshot,
    *,
    request_id: str,
    group: SnapshotGroupId | None = None,
    audit_everything: bool = False,
) -> Begun:
    """Record a snapshot, its session and what A2 wants recorded, before anything is frozen.

    Args:
        change: The transaction, in which the disk was found fit.
        disk: The disk, open in a daemon, as it is in this transaction.
        template: The snapshot; its parent, and whether it is encrypted, are filled in here.
        request_id: Of the call.
        group: The group that it is a member of.
        audit_everything: Check all that tracking calls clean.
    """
    if destroyed_keys.is_pending(change.conn, disk.id):
        raise RefusalError(Refusal.BUSY, f"The key of disk {disk.id}'s snapshots is being destroyed; try again.")
    tracking = believed(change.conn, tracking_of(disk))
    bitmap = algebra.bitmap_name(tracking.epoch, tracking.base, template.id)
    freeze = algebra.frozen(tracking, new_bitmap=bitmap)
    pinned = [] if freeze.base is None else [freeze.base]
    session = change.open_session("snapshot", pinned, snapshot_id=template.id)
    snapshots.insert(change.conn, replace(template, parent_id=freeze.base, encrypted=disk.encryption is not None))
    operation = change.begin(
        OperationKind.SNAPSHOT, account_id=disk.account_id, disk_id=disk.id, snapshot_id=template.id,
        phase=Phase.FREEZING.value, request_id=request_id,
        payload=SnapshotPayload(
            freeze=freeze, session=session, tracking_reason=_reason(disk, freeze), group=group,
            audit="everything" if audit_everything else None,
        ),
    )  # fmt: skip
    return Begun(operation=operation, freeze=freeze, disk=disk)


def check_no_snapshot(conn: Connection, disk_id: DiskId) -> None:
    """Refuse a disk of which a snapshot is being created (S2).

    Raises:
        RefusalError: One is. It is a `PassingError` until it is frozen, and once it fails: both take moments.
    """
    running = operations.running_on_disk(conn, disk_id)
    if not snapshot_under_way(running):
        return
    flight = flight_of(running)
    assert flight is not None
    kind = RefusalError if flight[1].phase in {Phase.FROZEN, Phase.SPOOLED} else PassingError
    raise kind(Refusal.SNAPSHOT_CREATING, f"A snapshot of disk {disk_id} is being created; wait until it is NORMAL.")


def check_auto_start(*, auto_stop: bool, auto_start: bool) -> None:
    """Refuse a rollback that is to start an instance which it does not stop.

    Raises:
        RefusalError: `BAD_VALUE`.
    """
    if auto_start and not auto_stop:
        raise RefusalError(Refusal.BAD_VALUE, "AutoStartInstance needs AutoStopInstance.")


def _check_rollback(conn: Connection, disk: Disk, snapshot: Snapshot) -> None:
    """Refuse a rollback that cannot be begun now.

    Raises:
        RefusalError: With ApplySnapshot's documented codes.
    """
    if snapshot.disk_id != disk.id:
        raise RefusalError(
            Refusal.BAD_VALUE,
            f"Snapshot {snapshot.id} is of disk {snapshot.disk_id}; make a new disk from it instead.",
        )
    if snapshot.state is not SnapshotState.NORMAL:
        raise RefusalError(Refusal.SNAPSHOT_CREATING, f"Snapshot {snapshot.id} is still being created.")
    if disk.state is DiskState.ROLLBACKING:
        raise RefusalError(Refusal.ROLLING_BACK, f"Disk {disk.id} is being rolled back already.")
    if disk.state is DiskState.ATTACHED:
        raise RefusalError(
            Refusal.DISK_UNFIT,
            f"Disk {disk.id} is attached to {disk.instance_id}; detach it before it is rolled back.",
        )
    if disk.state.passing:
        raise PassingError(Refusal.BUSY, f"Disk {disk.id} is {disk.state.value}; try again when it is not.")
    if disk.state is not DiskState.UNATTACHED:
        code = Refusal.BUSY if disk.state.copying else Refusal.DISK_UNFIT
        raise RefusalError(code, f"Disk {disk.id} is {disk.state.value}.")
    check_no_snapshot(conn, disk.id)
    if disk.hydrating:
        raise RefusalError(
            Refusal.BUSY,
            f"Disk {disk.id} is still being filled from its snapshot ({disk.hydration_percent} %).",
        )
    if snapshot.size_gib != disk.size_gib:
        raise RefusalError(
            Refusal.SIZES_DIFFER,
            f"Snapshot {snapshot.id} has {snapshot.size_gib} GiB, disk {disk.id} has {disk.size_gib}; "
            "make a new disk from it instead.",
        )


def begin_rollback(change: Change, disk: Disk, snapshot: Snapshot, *, request_id: str) -> None:
    """Make the disk ROLLBACKING and begin the operation that goes on (S1).

    Raises:
        RefusalError: With ApplySnapshot's documented codes: it cannot be begun now.
    """
    _check_rollback(change.conn, disk, snapshot)
    session = change.open_session("rollback", [snapshot.id])
    changed = snapshots.compare_and_set(
        change.conn, snapshot.id, expected={"state": SnapshotState.NORMAL}, values={"rolling_back": True}
    )
    assert changed
    values = {"state": DiskState.ROLLBACKING, "rollback_percent": 0}
    changed = disks.compare_and_set(change.conn, disk.id, expected={"state": DiskState.UNATTACHED}, values=values)
    assert changed
    change.begin(
        OperationKind.ROLLBACK, account_id=disk.account_id, disk_id=disk.id, snapshot_id=snapshot.id,
        phase="PLANNING", payload=RollbackPayload(session=session), request_id=request_id,
    )  # fmt: skip


def _reason(disk: Disk, freeze: FrozenBase) -> str:
    """Say why it is tracked as it is (P7)."""
    if freeze.base is None:
        return "the disk has no snapshot to be compared with"
    if freeze.lost and disk.tracking != TrackingState.LOST:
        return "the parent is suspect: an audit found that tracking had missed changes"
    if freeze.lost:
        return f"tracking was lost: {disk.tracking_reason or 'for an unknown reason'}"
    return "changes were tracked since the parent"
