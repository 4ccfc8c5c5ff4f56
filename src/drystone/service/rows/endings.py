"""How jobs end: the row's last state, and the disk's state put back, in one transaction (S21)."""

from drystone.catalog import disks, operations
from drystone.domain.disk import DiskState
from drystone.domain.errors import Refusal
from drystone.domain.event import EventKind, Facts, Trouble
from drystone.domain.operation import Operation, OperationKind, OperationState
from drystone.service.cancelling import cancelled
from drystone.service.rows import events
from drystone.service.transactions import Change

_TOLD_ELSEWHERE = frozenset({OperationKind.SNAPSHOT, OperationKind.SNAPSHOT_GROUP, OperationKind.PROVE})
"""Their failures are events of disks: of each member's, of the snapshot's that was to be opened."""
_MAKES_ITS_DISK = frozenset({OperationKind.CREATE_DISK, OperationKind.IMPORT})


def check_wanted(change: Change, operation: Operation) -> None:
    """Look whether an operation is still wanted; in the transaction from which on it can no longer be taken back.

    Raises:
        RefusalError: `CANCELLED`: the transaction must not be committed (S260).
    """
    now = operations.get(change.conn, operation.id)
    if now is not None and now.is_cancelled:
        raise cancelled()


def done(change: Change, operation: Operation) -> None:
    """End an operation as DONE; that one of its kind failed on the same resource is over (S220).

    Raises:
        RefusalError: As `check_wanted`.
    """
    check_wanted(change, operation)
    operations.update(change.conn, operation.id, updated_at=change.at, state=OperationState.DONE, percent=100)
    events.end(change, trouble_of(operation))


def failed(change: Change, operation: Operation, *, code: str, message: str) -> bool:
    """End an operation as FAILED, with its reason; return False if it had ended before: then nothing has changed.

    It is an event (S220), unless somebody cancelled it, or it has no code: then it is not needed any more.
    """
    ended = operations.update(
        change.conn, operation.id, updated_at=change.at, state=OperationState.FAILED, error_code=code, error=message
    )
    if ended and code not in {"", Refusal.CANCELLED} and operation.kind not in _TOLD_ELSEWHERE:
        facts = Facts(
            reason=message, operation_id=operation.id, operation_kind=operation.kind.value, disk_id=operation.disk_id,
            snapshot_id=operation.snapshot_id,
        )  # fmt: skip
        events.note(change, trouble_of(operation), facts)
    return ended


def trouble_of(operation: Operation) -> Trouble:
    """Return the trouble that it is if an operation fails: of this kind, on this resource."""
    resource = operation.disk_id or operation.snapshot_id or operation.instance_id or operation.id
    return Trouble(
        kind=EventKind.OPERATION_FAILED, account_id=operation.account_id, aspect=operation.kind.value,
        subject_id=operation.id if operation.kind in _MAKES_ITS_DISK else resource,
    )  # fmt: skip


def disk_done(change: Change, operation: Operation, *, was: DiskState, **values: object) -> bool:
    """End a disk's operation as DONE and set what it has made of the disk.

    Returns:
        False if the disk is not as the operation had it (S1): then nothing has changed.
    """
    values = {"error_prompt": "", **values}
    changed = disks.compare_and_set(change.conn, operation.on_disk, expected={"state": was}, values=values)
    if changed:
        done(change, operation)
    return changed


def disk_failed(change: Change, operation: Operation, *, code: str, message: str, **values: object) -> None:
    """End a disk's operation as FAILED and show the reason on the disk; `values` puts its state back.

    If it had ended before, nothing changes: the disk's state may be another operation's by now (S1).
    """
    if failed(change, operation, code=code, message=message):
        if code != Refusal.CANCELLED:
            values = {**values, "error_prompt": f"{operation.kind.value}: {message}"[:500]}
        disks.compare_and_set(change.conn, operation.on_disk, expected={}, values=values)


def settled_state(instance_id: str | None) -> DiskState:
    """Return the resting state of a disk: ATTACHED if an instance has it."""
    return DiskState.UNATTACHED if instance_id is None else DiskState.ATTACHED
