"""An account at a glance: its figures, what was done lately, and what needs a person."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection

from drystone.catalog import accounts, disks, history, operations, snapshots
from drystone.catalog.accounts import Usage
from drystone.catalog.operations import OperationSelection
from drystone.domain.clock import recent
from drystone.domain.disk_types import GIB
from drystone.domain.errors import Refusal
from drystone.domain.ids import AccountId
from drystone.domain.operation import OperationState
from drystone.domain.tracking import TrackingState
from drystone.service.caller import Caller
from drystone.service.calls.history import figures
from drystone.service.room import Room
from drystone.service.rows.quotas import DISKS, DiskLimits, SnapshotLimits, disk_limits, disk_use, snapshots_max
from drystone.service.transactions import Transactions
from drystone.service.upkeep.clock import SteadyClock
from drystone.service.upkeep.confirmation import held
from drystone.service.views import AttentionView, ClockView, OverviewView, QuotasView

OPERATIONS: Final = 10
EACH_MAX: Final = 20
"""Of one kind; the lists have them all."""
FAILED_S: Final = 86_400.0
"""How long a failed operation needs attention."""
LOW_BYTES: Final = 1 << 30
"""Below this much above the floor the next snapshot may be broken (P6)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Overview:
    """Sums up the caller's account. It costs the same however many snapshots there are."""

    transactions: Transactions
    room: Room
    clock: SteadyClock
    limits: SnapshotLimits
    disks_per_instance: int
    disks_per_call: int
    disk_limits: DiskLimits = DISKS

    async def describe(self, caller: Caller) -> OverviewView:
        """Return the account at a glance."""
        now = self.transactions.clock()
        free_bytes = max(0, self.room.look().above_floor_bytes) if caller.admin else None

        def look(conn: Connection) -> OverviewView:
            selection = OperationSelection(account_id=caller.account_id, limit=OPERATIONS)
            attention = [] if free_bytes is None else list(_house(conn, free_bytes, now, self.clock.view()))
            attention += _attention(conn, caller.account_id, now)
            return OverviewView(
                figures=figures(conn, caller.account_id, now),
                disks_attached=history.disk_sums(conn, caller.account_id).attached, free_bytes=free_bytes,
                operations=tuple(operations.find(conn, selection)[0]), attention=tuple(attention),
            )  # fmt: skip

        return await self.transactions.read(look)

    async def quotas(self, caller: Caller) -> QuotasView:
        """Return how much the account has and may have."""

        def look(conn: Connection) -> tuple[Usage, int, DiskLimits, DiskLimits]:
            account_id = caller.account_id
            return (
                accounts.usage(conn, account_id), disks.count(conn, account_id), disk_use(conn, account_id),
                disk_limits(conn, account_id, self.disk_limits),
            )  # fmt: skip

        usage, disk_count, use, most = await self.transactions.read(look)
        return QuotasView(
            disks_max=most.disks, disks=use.disks, disk_gib_max=most.gib, disk_gib=use.gib,
            snapshots_per_disk_max=self.limits.per_disk, snapshots_max=snapshots_max(self.limits, disk_count),
            snapshots=usage.snapshots, snapshot_bytes_max=self.limits.gib_per_region * GIB,
            snapshot_bytes=usage.stored_bytes, disks_per_instance_max=self.disks_per_instance,
            disks_per_call_max=self.disks_per_call,
        )  # fmt: skip


def _house(conn: Connection, free_bytes: int, now: float, clock: ClockView) -> Iterator[AttentionView]:
    """Yield what is for whoever runs the installation."""
    reason = held(conn)
    if reason is not None:
        yield AttentionView(
            kind="store_held", resource_id="", at=now,
            message=f"Nothing expires and nothing is collected until it is confirmed: {reason}.",
        )  # fmt: skip
    if clock.doubted_since is not None:
        yield AttentionView(
            kind="clock_doubted", resource_id="", at=clock.doubted_since,
            message=f"It leapt by {round(clock.machine_at - clock.steady_at)} s. Nothing expires for another "
            f"{round(clock.waits_s / 3600, 1)} hours, unless it is set right or confirmed.",
        )  # fmt: skip
    if free_bytes < LOW_BYTES:
        yield AttentionView(
            kind="space_low", resource_id="", at=now,
            message=f"{free_bytes} bytes are left above the floor that belongs to the disks; snapshots may fail.",
        )  # fmt: skip


def _attention(conn: Connection, account_id: AccountId, now: float) -> Iterator[AttentionView]:
    for snapshot in snapshots.doubtful(conn, account_id, EACH_MAX):
        damaged = snapshot.damaged
        yield AttentionView(
            kind="snapshot_damaged" if damaged else "snapshot_suspect", resource_id=snapshot.id, at=snapshot.created_at,
            message="Some of its blocks can no longer be read." if damaged
            else "It may lack changes that tracking missed.",
        )  # fmt: skip
    for disk in disks.troubled(conn, account_id, EACH_MAX):
        if disk.error_prompt:
            yield AttentionView(
                kind="disk_error", resource_id=disk.id, at=disk.created_at, message=disk.error_prompt
            )  # fmt: skip
        if disk.tracking is TrackingState.LOST and disk.base_snapshot_id is not None:
            yield AttentionView(
                kind="tracking_lost", resource_id=disk.id, at=disk.created_at, message=disk.tracking_reason
            )  # fmt: skip
    failed = OperationSelection(
        account_id=account_id, states=((OperationState.FAILED,),), no_codes=(Refusal.CANCELLED,), limit=EACH_MAX
    )
    for operation in operations.find(conn, failed)[0]:
        if recent(operation.updated_at, now, FAILED_S):
            yield AttentionView(
                kind="operation_failed", resource_id=operation.id, at=operation.updated_at,
                message=f"{operation.kind.value} failed: {operation.error}",
            )  # fmt: skip
