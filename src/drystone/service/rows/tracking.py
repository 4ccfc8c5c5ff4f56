"""The tracking columns of a disk's row, and what an operation recorded of a freeze, as values of the algebra."""

from drystone.domain.disk import Disk
from drystone.domain.operation import Operation, OperationKind
from drystone.domain.payloads import SnapshotPayload
from drystone.domain.settling import Flight, Phase
from drystone.domain.tracking import Tracking, TrackingState


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
