"""The tracking columns of a disk's row, and what an operation recorded of a freeze, as values of the algebra."""

from drystone.catalog import disks
from drystone.domain.disk import Disk
from drystone.domain.ids import DiskId
from drystone.domain.operation import Operation, OperationKind
from drystone.domain.payloads import SnapshotPayload
from drystone.domain.settling import Flight, Phase
from drystone.domain.tracking import Tracking, TrackingState
from drystone.service.transactions import Change


def tracking_of(disk: Disk) -> Tracking:
    """Return the tracking columns of a row."""
    return Tracking(
        base=disk.base_snapshot_id,
        carry=disk.carry,
        epoch=disk.epoch,
        state=TrackingState(disk.tracking),
        bitmap=disk.bitmap,
    )


def tracking_columns(tracking: Tracking, *, reason: str = "") -> dict[str, object]:
    """Return what to store in the row; `reason` says why it is LOST."""
    assert tracking.state is not TrackingState.LOST or reason, "LOST says why"
    return {
        "base_snapshot_id": tracking.base,
        "carry": tracking.carry,
        "epoch": tracking.epoch,
        "tracking": tracking.state.value,
        "tracking_reason": reason if tracking.state is TrackingState.LOST else "",
        "bitmap": tracking.bitmap,
    }


def disk_row(change: Change, disk_id: DiskId) -> Disk:
    """Return the row of a disk, which is there as long as its operation runs."""
    found = disks.get(change.conn, disk_id)
    assert found is not None, disk_id
    return found


def set_tracking(change: Change, disk: Disk, tracking: Tracking, *, reason: str = "", **values: object) -> None:
    """Store tracking, and further values, in the row of a disk that was read in this transaction."""
    values = {**tracking_columns(tracking, reason=reason), **values}
    changed = disks.compare_and_set(change.conn, disk.id, expected={"epoch": disk.epoch}, values=values)
    assert changed, "rows do not change under a writing transaction"


def snapshot_under_way(operations: list[Operation]) -> bool:
    """Tell whether a snapshot is being created: one that is NORMAL and only cleans up does not count."""
    flight = flight_of(operations)
    return flight is not None and flight[1].phase is not Phase.COMMITTED


def flight_of(operations: list[Operation]) -> tuple[Operation, Flight] | None:
    """Return the snapshot operation in flight among a disk's running ones, and what the algebra sees of it."""
    for operation in operations:
        if operation.kind is OperationKind.SNAPSHOT:
            return operation, Flight(freeze=operation.payload_as(SnapshotPayload).freeze, phase=Phase(operation.phase))
    return None
