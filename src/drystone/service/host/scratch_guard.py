"""Scratch of snapshots is bounded: one that would take what belongs to the guests' disks is given up (P6, F15)."""

import asyncio

import msgspec
import structlog
from sqlalchemy import Connection

from drystone.catalog import operations
from drystone.domain.ids import DiskId
from drystone.domain.payloads import SnapshotPayload
from drystone.domain.settling import Phase
from drystone.engine.space import allocated_bytes
from drystone.service.host.host import Host
from drystone.service.installation import Installation
from drystone.service.rows.tracking import flight_of

log = structlog.get_logger()
BREAK_SECONDS_MAX = 5.0


class ScratchGuard:
    """Looks how much the frozen views have taken."""

    def __init__(self, *, installation: Installation, host: Host) -> None:
        self._in = installation
        self._host = host

    async def once(self) -> None:
        """Break snapshots before their scratch takes what belongs to the guests' disks."""
        scratch = self._in.layout.scratch
        files = list(scratch.glob("disk-*.raw")) if scratch.is_dir() else []
        if not files:
            return
        sizes = {DiskId(file.stem): allocated_bytes(file) for file in files}
        over_budget = sum(sizes.values()) > self._in.scratch_bytes_max
        at_floor = self._in.space().above_floor_bytes <= 0
        if not over_budget and not at_floor:
            return
        reason = (
            "the scratch space of snapshots is used up"
            if over_budget
            else "free space reached the floor that belongs to the disks"
        )
        # The largest that can be broken; one whose daemon does not answer must not shield the others.
        for disk_id in sorted(sizes, key=lambda disk_id: sizes[disk_id], reverse=True):
            try:
                async with asyncio.timeout(BREAK_SECONDS_MAX):
                    if await self.break_snapshot(disk_id, reason):
                        return
            except Exception as error:  # noqa: BLE001 - noted: the next is tried, whatever is wrong with this one
                self._in.bugs.note(error, "snapshot.not_broken", severe=True, disk_id=disk_id)

    async def break_snapshot(self, disk_id: DiskId, reason: str) -> bool:
        """Give a snapshot up: its view and scratch go at once; its operation ends with the reason (A4).

        Returns:
            Whether there was one to give up.
        """

        def note(conn: Connection) -> bool:
            pair = flight_of(operations.running_on_disk(conn, disk_id))
            if pair is None or pair[1].phase not in {Phase.FREEZING, Phase.FROZEN}:
                return False
            payload = msgspec.structs.replace(pair[0].payload_as(SnapshotPayload), break_reason=reason)
            operations.update(conn, pair[0].id, updated_at=self._in.clock(), payload=payload)
            return True

        async with self._in.locks.graph(disk_id):
            if not await self._in.db.write(note):
                return False
            log.error("snapshot.broken", disk_id=disk_id, reason=reason)
            disk = await self._host.row(disk_id)
            live = await self._host.running(disk)
            if live is not None:
                await live.unfreeze(scratch=self._in.layout.scratch_file(disk_id))
            return True
