"""Scratch of snapshots is bounded: one that would take what belongs to the guests' disks is given up (P6, F15)."""

import asyncio
from dataclasses import dataclass

import msgspec
import structlog

from drystone.catalog import operations
from drystone.domain.ids import DiskId
from drystone.domain.payloads import SnapshotPayload
from drystone.domain.settling import Phase
from drystone.engine.space import allocated_bytes
from drystone.service.disk_locks import DiskLocks
from drystone.service.host.host import Host
from drystone.service.room import Room
from drystone.service.rounds import Bugs
from drystone.service.rows.tracking import flight_of
from drystone.service.transactions import Change, Transactions

log = structlog.get_logger()
BREAK_SECONDS_MAX = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ScratchGuard:
    """Looks how much the frozen views have taken."""

    transactions: Transactions
    locks: DiskLocks
    host: Host
    room: Room
    bugs: Bugs
    bytes_max: int

    async def once(self) -> None:
        """Break snapshots before their scratch takes what belongs to the guests' disks."""
        scratch = self.room.layout.scratch
        files = list(scratch.glob("disk-*.raw")) if scratch.is_dir() else []
        if not files:
            return
        sizes = {DiskId(file.stem): allocated_bytes(file) for file in files}
        over_budget = sum(sizes.values()) > self.bytes_max
        at_floor = self.room.look().above_floor_bytes <= 0
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
                self.bugs.note(error, "snapshot.not_broken", severe=True, disk_id=disk_id)

    async def break_snapshot(self, disk_id: DiskId, reason: str) -> bool:
        """Give a snapshot up: its view and scratch go at once; its operation ends with the reason (A4).

        Returns:
            Whether there was one to give up.
        """

        def note(change: Change) -> bool:
            pair = flight_of(operations.running_on_disk(change.conn, disk_id))
            if pair is None or pair[1].phase not in {Phase.FREEZING, Phase.FROZEN}:
                return False
            payload = msgspec.structs.replace(pair[0].payload_as(SnapshotPayload), break_reason=reason)
            operations.update(change.conn, pair[0].id, updated_at=change.at, payload=payload)
            return True

        async with self.locks.graph(disk_id):
            if not await self.transactions.change(note):
                return False
            log.error("snapshot.broken", disk_id=disk_id, reason=reason)
            disk = await self.host.row(disk_id)
            live = await self.host.running(disk)
            if live is not None:
                await live.unfreeze(scratch=self.room.layout.scratch_file(disk_id))
            return True
