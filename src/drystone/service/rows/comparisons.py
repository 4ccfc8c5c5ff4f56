"""How a comparison of a disk with its base begins (A6)."""

from drystone.catalog import operations
from drystone.domain.disk import Disk
from drystone.domain.operation import OperationKind
from drystone.domain.payloads import SessionPayload
from drystone.domain.tracking import TrackingState
from drystone.service.transactions import Change


def comparable(disk: Disk) -> bool:
    """Tell whether a comparison could make the disk's tracking LIVE: it is open, recorded, and has a base."""
    return (
        disk.tracking == TrackingState.LOST
        and disk.base_snapshot_id is not None
        and disk.bitmap is not None
        and disk.daemon is not None
        and not disk.hydrating
    )


def begin_comparison(change: Change, disk: Disk) -> bool:
    """Begin a comparison of a disk whose tracking is LOST, unless something runs on it; return whether it was."""
    if not comparable(disk) or operations.running_on_disk(change.conn, disk.id):
        return False
    assert disk.base_snapshot_id is not None
    session = change.open_session("compare", [disk.base_snapshot_id])
    change.begin(
        OperationKind.COMPARE, account_id=disk.account_id, disk_id=disk.id, phase="COMPARING",
        payload=SessionPayload(session=session), request_id="background",
    )  # fmt: skip
    return True
