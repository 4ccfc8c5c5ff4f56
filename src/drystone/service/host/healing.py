"""Tracking that was lost heals by itself: comparisons are begun in the background (P3, A6)."""

from collections.abc import Callable
from dataclasses import dataclass, field

import structlog

from drystone.catalog import disks
from drystone.domain.disk import DiskState
from drystone.domain.ids import DiskId
from drystone.service.operations import Operations
from drystone.service.rows.comparisons import begin_comparison, comparable
from drystone.service.transactions import Change, Transactions

log = structlog.get_logger()


@dataclass(slots=True, kw_only=True, eq=False)
class Healing:
    """Begins a comparison of each disk that has been LOST for a while, so that its next snapshot is a delta."""

    transactions: Transactions
    operations: Operations
    monotonic: Callable[[], float]
    after_s: float
    """How long a disk is left LOST."""
    _since: dict[DiskId, float] = field(init=False, default_factory=dict)
    """When each disk was first seen LOST, or last tried; by the monotonic clock."""

    async def begin_due(self) -> None:
        """Begin what is due; a comparison that could not be finished is begun again as late as the first."""
        now, since = self.monotonic(), self._since

        def begin(change: Change) -> tuple[list[DiskId], list[DiskId]]:
            lost = [disk for disk in disks.lost(change.conn) if comparable(disk) and disk.state is DiskState.ATTACHED]
            due = [disk for disk in lost if now - since.get(disk.id, now) >= self.after_s]
            return [disk.id for disk in lost], [disk.id for disk in due if begin_comparison(change, disk)]

        if not await self.transactions.read(disks.lost):
            self._since = {}
            return
        lost, begun = await self.operations.begin(begin)
        self._since = {disk_id: now if disk_id in begun else since.get(disk_id, now) for disk_id in lost}
        for disk_id in begun:
            log.info("tracking.comparison_begun", disk_id=disk_id)
