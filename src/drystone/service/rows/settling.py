"""What is recorded when the rows of a disk and what its daemon has are brought together."""

from drystone.catalog import disks, operations, sessions, snapshots
from drystone.domain import tracking as algebra
from drystone.domain.errors import Refusal
from drystone.domain.event import EventKind, Facts, Trouble
from drystone.domain.ids import DiskId
from drystone.domain.operation import Operation, OperationKind, OperationState
from drystone.domain.payloads import SnapshotPayload
from drystone.domain.settling import DaemonPlan, Phase, Verdict
from drystone.domain.snapshot import SnapshotState
from drystone.domain.tracking import TrackingState
from drystone.service.rows import events
from drystone.service.rows.tracking import disk_row, flight_of, set_tracking, tracking_of
from drystone.service.transactions import Change

_NOWHERE = {"daemon": None, "nbd_socket": None, "device": None}


def record_failing(change: Change, operation: Operation, plan: DaemonPlan) -> None:
    """Record that a snapshot in flight will not commit, and what is lost with it (S34)."""
    now = operations.get(change.conn, operation.id)
    if now is None or now.phase == Phase.COMMITTED:
        return  # It was committed after it was looked at, which needs no lock.
    values: dict[str, object] = {"phase": Phase.FAILING.value}
    if not now.error_code:
        values |= {"error_code": Refusal.INTERNAL, "error": plan.lost or "the snapshot's frozen view is gone"}
    operations.update(change.conn, operation.id, updated_at=change.at, **values)
    if plan.lost and operation.disk_id is not None:
        disk = disk_row(change, operation.disk_id)
        set_tracking(change, disk, algebra.lost(tracking_of(disk), plan.bitmap), reason=plan.lost)


def record_settled(
    change: Change,
    disk_id: DiskId,
    operation: Operation | None,
    plan: DaemonPlan,
    recording: str | None,
    *,
    is_open: bool,
) -> None:
    """Record what a disk is after its daemon was brought to rest, and end the snapshot that ends with it."""
    disk = disk_row(change, disk_id)
    now = tracking_of(disk)
    if not is_open:
        after = now if now.state is TrackingState.STOPPED else algebra.lost(now)
        reason = plan.lost or disk.tracking_reason or "the storage daemon is not running"
        set_tracking(change, disk, after, reason=reason, **_NOWHERE)
    elif plan.lost:
        set_tracking(change, disk, algebra.lost(now, recording), reason=plan.lost)
    elif plan.verdict is Verdict.FAILED or now.bitmap != recording:
        set_tracking(change, disk, algebra.failed(now, recording), reason=disk.tracking_reason or "unknown")
    if operation is not None and plan.verdict is Verdict.FAILED:
        end_failed_snapshot(change, operation)
    if operation is not None and plan.verdict is Verdict.CLEAN:
        operations.update(change.conn, operation.id, updated_at=change.at, state=OperationState.DONE, percent=100)


def record_lost(change: Change, disk_id: DiskId, reason: str, *, daemon: str | None) -> None:
    """Record that no daemon serves the disk, which `daemon` may have open, and that its tracking is LOST."""
    disk = disk_row(change, disk_id)
    values = {**_NOWHERE, "daemon": daemon}
    set_tracking(change, disk, algebra.lost(tracking_of(disk)), reason=reason, **values)


def end_failed_snapshot(change: Change, operation: Operation) -> None:
    """Let a snapshot that will never be NORMAL disappear: its row, its session's claim, its operation."""
    assert operation.kind is OperationKind.SNAPSHOT
    current = operations.get(change.conn, operation.id)
    assert current is not None
    if operation.snapshot_id is not None:
        row = snapshots.get(change.conn, operation.snapshot_id)
        if row is not None and row.state is SnapshotState.CREATING:
            snapshots.delete(change.conn, row.id)
    sessions.fence(change.conn, current.payload_as(SnapshotPayload).session, at=change.at)
    why = current.failure or "its storage daemon died"
    code = current.error_code or Refusal.INTERNAL
    operations.update(
        change.conn, operation.id, updated_at=change.at, state=OperationState.FAILED, error_code=code, error=why
    )
    if code == Refusal.CANCELLED:
        return
    trouble = Trouble(kind=EventKind.SNAPSHOT_FAILED, account_id=current.account_id, subject_id=current.on_disk)
    facts = Facts(reason=why, operation_id=current.id, disk_id=current.disk_id, snapshot_id=current.snapshot_id)
    events.note(change, trouble, facts)
    if disks.get(change.conn, current.on_disk) is not None:
        prompt = f"snapshot {operation.snapshot_id} failed: {why}"[:500]
        disks.compare_and_set(change.conn, current.on_disk, expected={}, values={"error_prompt": prompt})


def give_flight_up(change: Change, disk_id: DiskId, *, why: str) -> bool:
    """Record that a snapshot in flight is not to commit; return whether there was one that needs its view."""
    pair = flight_of(operations.running_on_disk(change.conn, disk_id))
    if pair is None or pair[1].phase in {Phase.COMMITTED, Phase.SPOOLED}:
        return False
    return operations.update(change.conn, pair[0].id, updated_at=change.at, error_code=Refusal.INTERNAL, error=why)
