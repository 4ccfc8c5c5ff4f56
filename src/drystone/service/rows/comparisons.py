"""How a comparison of a disk with its base begins (A6)."""

from sqlalchemy import Connection

from drystone.catalog import operations, sessions
from drystone.domain.disk import Disk
from drystone.domain.operation import Operation, OperationKind
from drystone.domain.payloads import SessionPayload
from drystone.domain.session import Session
from drystone.domain.tracking import TrackingState
from drystone.service.installation import Installation


def comparable(disk: Disk) -> bool:
    """Tell whether a comparison could make the disk's tracking LIVE: it is open, recorded, and has a base."""
    return (
        disk.tracking == TrackingState.LOST
        and disk.base_snapshot_id is not None
        and disk.bitmap is not None
        and disk.daemon is not None
        and not disk.hydrating
    )


def begin_comparison(conn: Connection, installation: Installation, disk: Disk) -> Operation | None:
    """Record a comparison of a disk whose tracking is LOST, unless something runs on it.

    Returns:
        The operation to wake, or None.
    """
    if not comparable(disk) or operations.running_on_disk(conn, disk.id):
        return None
    assert disk.base_snapshot_id is not None
    at = installation.clock()
    session = Session(id=installation.ids.session(), kind="compare", created_at=at)
    sessions.open(conn, session, [disk.base_snapshot_id])
    operation = Operation(
        id=installation.ids.operation(), kind=OperationKind.COMPARE, account_id=disk.account_id, disk_id=disk.id,
        phase="COMPARING", payload=SessionPayload(session=session.id), request_id="background",
        created_at=at, updated_at=at,
    )  # fmt: skip
    operations.insert(conn, operation)
    return operation
