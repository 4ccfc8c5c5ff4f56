"""What a world of schedules is made of."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from drystone.domain import retention, runs, schedule
from drystone.domain.disk import Disk, DiskState
from drystone.domain.errors import Refusal
from drystone.domain.ids import AccountId, DiskId, InstanceId, PolicyId, SnapshotId
from drystone.domain.policy import Policy, Run
from drystone.domain.retention import Plan, PolicySnapshot
from drystone.domain.schedule import Due
from drystone.domain.tracking import TrackingState

Key = tuple[PolicyId, int, DiskId]


class ViolationError(Exception):
    """A rule was broken."""


class KilledError(Exception):
    """The server was killed."""


@dataclass(frozen=True, kw_only=True)
class Rules:
    """What a planted mistake changes."""

    due: Callable[[Policy, float, float], Due] = schedule.due
    opened: Callable[..., runs.Opening] = runs.opened
    reviewed: Callable[..., Run] = runs.reviewed
    thwarted: Callable[..., Run] = runs.thwarted
    answering: Callable[..., SnapshotId | None] = runs.answering
    unchanged: Callable[..., tuple[Run, ...] | None] = runs.unchanged
    plan: Callable[[Policy, Sequence[PolicySnapshot], float], Plan] = retention.plan_retention
    rows_with_cursor: bool = True
    """The rows of a slot come to be in the transaction that moves the cursor."""
    row_with_snapshot: bool = True
    """A run is RUNNING in the transaction that begins its snapshot."""


@dataclass(kw_only=True)
class Shot:
    """A snapshot, and what it really shows."""

    row: PolicySnapshot
    content: int
    ends: float
    """When its upload ends, by the true clock."""
    refusal: Refusal | None
    """How that fails, if it does."""


@dataclass(kw_only=True)
class Drive:
    """A disk, and what it really holds."""

    row: Disk
    content: int = 0
    marked: bool = True
    """Whether its bitmap has a block, of all that was written since the base."""
    busy_until: float = 0.0
    shots: dict[SnapshotId, Shot] = field(default_factory=dict)
    making: Shot | None = None


def a_drive(disk_id: DiskId, instance: InstanceId | None) -> Drive:
    return Drive(row=Disk(
        id=disk_id, account_id=AccountId("1"), size_gib=10, type="CLOUD_SSD", zone="z", created_at=0.0,
        state=DiskState.ATTACHED if instance else DiskState.UNATTACHED, instance_id=instance,
        tracking=TrackingState.LIVE, bitmap="b",
    ))  # fmt: skip
