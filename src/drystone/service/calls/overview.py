"""An account at a glance: its figures, and what was done lately."""

from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection

from drystone.catalog import accounts, disks, history, operations
from drystone.catalog.accounts import Usage
from drystone.catalog.operations import OperationSelection
from drystone.domain.disk_types import GIB
from drystone.service.caller import Caller
from drystone.service.calls.history import figures
from drystone.service.room import Room
from drystone.service.rows.quotas import DISKS, DiskLimits, SnapshotLimits, disk_limits, disk_use, snapshots_max
from drystone.service.transactions import Transactions
from drystone.service.views import OverviewView, QuotasView

OPERATIONS: Final = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Overview:
    """Sums up the caller's account. It costs the same however many snapshots there are."""

    transactions: Transactions
    room: Room
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
            return OverviewView(
                figures=figures(conn, caller.account_id, now),
                disks_attached=history.disk_sums(conn, caller.account_id).attached, free_bytes=free_bytes,
                operations=tuple(operations.find(conn, selection)[0]),
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
