"""Tracking that was lost heals by itself: comparisons are begun in the background (P3, A6)."""

import structlog
from sqlalchemy import Connection

from drystone.catalog import disks
from drystone.domain.disk import DiskState
from drystone.domain.ids import DiskId
from drystone.domain.operation import Operation
from drystone.service.installation import Installation
from drystone.service.rows.comparisons import begin_comparison, comparable

log = structlog.get_logger()


class Healing:
    """Begins a comparison of each disk that has been LOST for a while, so that its next snapshot is a delta."""

    def __init__(self, *, installation: Installation, after_s: float) -> None:
        self._in = installation
        self._after_s = after_s
        self._since: dict[DiskId, float] = {}
        """When each disk was first seen LOST, or last tried; by the monotonic clock (S121)."""

    async def begin_due(self) -> None:
        """Begin what is due; a comparison that could not be finished is begun again as late as the first."""
        now = self._in.monotonic()

        def begin(conn: Connection) -> tuple[list[Operation], dict[DiskId, float]]:
            lost = [disk for disk in disks.lost(conn) if comparable(disk) and disk.state is DiskState.ATTACHED]
            since = {disk.id: self._since.get(disk.id, now) for disk in lost}
            made = []
            for disk in lost:
                if now - since[disk.id] < self._after_s:
                    continue
                operation = begin_comparison(conn, self._in, disk)
                if operation is not None:
                    since[disk.id] = now
                    made.append(operation)
            return made, since

        if not await self._in.db.read(disks.lost):
            self._since.clear()
            return
        made, self._since = await self._in.db.write(begin)
        for operation in made:
            log.info("tracking.comparison_begun", disk_id=operation.disk_id)
            self._in.operations.wake(operation.id)
