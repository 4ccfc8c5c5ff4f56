"""A group of snapshots of one instance's disks, all of one instant."""

from dataclasses import dataclass
from enum import StrEnum

from drystone.domain.disk import UNNAMED
from drystone.domain.ids import AccountId, InstanceId, OperationId, SnapshotGroupId


class SnapshotGroupState(StrEnum):
    """CREATING until one transaction makes all members NORMAL; a group that fails disappears (S40)."""

    CREATING = "CREATING"
    NORMAL = "NORMAL"


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotGroup:
    """One row of the snapshot_group table. Times are seconds since the epoch, UTC.

    Its members are the snapshots that name it. They may be deleted one by one; the row goes with the last.
    """

    id: SnapshotGroupId
    account_id: AccountId
    instance_id: InstanceId
    name: str = UNNAMED
    state: SnapshotGroupState = SnapshotGroupState.CREATING
    tags: tuple[tuple[str, str], ...] = ()
    operation_id: OperationId
    """The operation that makes it."""
    pause_ms: float | None = None
    """How long the guests stood at the instant, for all disks together; None until then, or if a crash hid it."""
    taken_at: float | None = None
    created_at: float
    modified_at: float
