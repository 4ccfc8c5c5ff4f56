"""Tracking that was lost heals by itself: comparisons are begun in the background (P3, A6)."""

from collections.abc import Callable

import structlog

from drystone.catalog import disks
from drystone.domain.disk import DiskState
from drystone.domain.ids import DiskId
from drystone.service.operations import Operations
from drystone.service.rows.comparisons import begin_comparison, comparable
from drystone.service.transactions import Change, Transactions

log = structlog.get_logger()


class Healing:
    """Begins a comparison of each disk that has been LOST for a while, so that its next snapshot is a delta.

    Args:
        transactions: The catalog's.
        operations: What runs the comparisons.
        monotonic: Seconds by a clock that is never set (S121).
        after_s: How long a disk is left LOST.
    """

    def __init__(
        self, *, transactions: Transactions, operations: Operations, monotonic: Callable[[], float], after_s: float
    ) -> None:
        self._transactions = transactions
        self._operations = operations
        self._monotonic = monotonic
        self._after_s = after_s
        self._since: dict[DiskId, float] = {}
        """When each disk was first seen LOST, or last tried; by the monotonic clock."""

    async def begin_due(self) -> None:
        """Begin what is due; a comparison that could not be finished is begun again as late as the first."""
        now, since = self._monotonic(), self._since

        def begin(change: Change) -> tuple[list[DiskId], list[DiskId]]:
            lost = [disk for disk in disks.lost(change.conn) if comparable(disk) and disk.state is DiskState.ATTACHED]
            due = [disk for disk in lost if now - since.get(disk.id, now) >= self._after_s]
            return [disk.id for disk in lost], [disk.id for disk in due if begin_comparison(change, disk)]

        if not await self._transactions.read(disks.lost):
            self._since = {}
            return
        lost, begun = await self._operations.begin(begin)
        self._since = {disk_id: now if disk_id in begun else since.get(disk_id, now) for disk_id in lost}
        for disk_id in begun:
            log.info("tracking.comparison_begun", disk_id=disk_id)
