"""How jobs end: the row's last state, and the disk's state put back, in one transaction (S21)."""

from sqlalchemy import Connection

from drystone.catalog import disks, operations
from drystone.domain.disk import DiskState
from drystone.domain.operation import Operation, OperationState


def done(conn: Connection, operation: Operation, *, at: float) -> None:
    """End an operation as DONE."""
    operations.update(conn, operation.id, updated_at=at, state=OperationState.DONE, percent=100)


def failed(conn: Connection, operation: Operation, *, at: float, code: str, message: str) -> bool:
    """End an operation as FAILED, with its reason; return False if it had ended before: then nothing has changed."""
    return operations.update(
        conn, operation.id, updated_at=at, state=OperationState.FAILED, error_code=code, error=message
    )


def disk_failed(
    conn: Connection, operation: Operation, *, at: float, code: str, message: str, **values: object
) -> None:
    """End a disk's operation as FAILED and show the reason on the disk; `values` puts its state back.

    If it had ended before, nothing changes: the disk's state may be another operation's by now (S1).
    """
    if failed(conn, operation, at=at, code=code, message=message) and operation.disk_id is not None:
        prompt = {"error_prompt": f"{operation.kind.value}: {message}"[:500]}
        disks.compare_and_set(conn, operation.disk_id, expected={}, values={**values, **prompt})


def settled_state(instance_id: str | None) -> DiskState:
    """Return the resting state of a disk: ATTACHED if an instance has it."""
    return DiskState.UNATTACHED if instance_id is None else DiskState.ATTACHED
