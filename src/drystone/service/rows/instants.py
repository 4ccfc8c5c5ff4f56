"""The instant of a snapshot, recorded once it is over."""

from collections.abc import Iterable

import msgspec

from drystone.catalog import operations, snapshot_groups
from drystone.domain.operation import Operation
from drystone.domain.payloads import SnapshotPayload
from drystone.domain.quiesce import Quiesced
from drystone.domain.settling import Phase
from drystone.domain.snapshot_group import SnapshotGroupState
from drystone.service.transactions import Change


def record_frozen(
    change: Change, taken: Iterable[Operation], *, pause_ms: float | None = None, said: Quiesced | None = None
) -> None:
    """Record the instant, which is the change's time, with every snapshot that still waits for it, and its group.

    Args:
        change: The transaction.
        taken: The operations of snapshots of one instant.
        pause_ms: How long the guests stood; None if a crash hid it.
        said: What was held still, for the snapshots' records.
    """
    for operation in taken:
        payload = operation.payload_as(SnapshotPayload)
        now = operations.get(change.conn, operation.id)
        if now is not None and now.phase == Phase.FREEZING:
            frozen = now.payload_as(SnapshotPayload)
            if said is not None:
                frozen = frozen.with_quiesced(said)
            frozen = msgspec.structs.replace(frozen, taken_at=change.at, freeze_ms=pause_ms)
            operations.update(change.conn, now.id, updated_at=change.at, phase=Phase.FROZEN.value, payload=frozen)
        if payload.group is not None:
            expected = {"state": SnapshotGroupState.CREATING, "taken_at": None}
            values = {"taken_at": change.at, "pause_ms": pause_ms}
            snapshot_groups.compare_and_set(change.conn, payload.group, expected=expected, values=values)
