"""Scratch and spool are bounded: a snapshot that takes what belongs to the guests' disks is given up (P6, F15)."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

import msgspec
import structlog
from sqlalchemy import Connection

from drystone.catalog import operations
from drystone.domain.ids import DiskId, SessionId
from drystone.domain.operation import OperationKind
from drystone.domain.payloads import SnapshotPayload
from drystone.domain.settling import Phase
from drystone.engine.space import allocated_bytes
from drystone.service.disk_locks import DiskLocks
from drystone.service.host.host import Host
from drystone.service.room import Room
from drystone.service.rounds import Bugs
from drystone.service.rows.tracking import flight_of
from drystone.service.spool import Spool
from drystone.service.transactions import Change, Transactions

log = structlog.get_logger()
BREAK_SECONDS_MAX = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ScratchGuard:
    """Looks how much the frozen views, and what is to be sent of others, have taken."""

    transactions: Transactions
    locks: DiskLocks
    host: Host
    room: Room
    spool: Spool
    bugs: Bugs
    bytes_max: int

    async def once(self) -> None:
        """Break snapshots before their scratch takes what belongs to the guests' disks."""
        scratch = self.room.layout.scratch
        files = list(scratch.glob("disk-*.raw")) if scratch.is_dir() else []
        if not files and not self.spool.in_use():
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
        # Scratch grows while guests write; what is to be sent shrinks.
        if not await self._break_largest(sizes, reason) and at_floor:
            sent = await self.transactions.read(_sessions_sent)
            await self._break_largest({disk: self.spool.bytes_of(session) for disk, session in sent.items()}, reason)

    async def _break_largest(self, sizes: Mapping[DiskId, int], reason: str) -> bool:
        """Break the largest that can be; one whose daemon does not answer must not shield the others."""
        for disk_id in sorted(sizes, key=lambda disk_id: sizes[disk_id], reverse=True):
            try:
                async with asyncio.timeout(BREAK_SECONDS_MAX):
                    if await self.break_snapshot(disk_id, reason):
                        return True
            except Exception as error:  # noqa: BLE001 - noted: the next is tried, whatever is wrong with this one
                self.bugs.note(error, "snapshot.not_broken", severe=True, disk_id=disk_id)
        return False

    async def break_snapshot(self, disk_id: DiskId, reason: str) -> bool:
        """Give a snapshot up: its view and scratch, or its spool, go at once; its operation ends with the reason (A4).

        Returns:
            Whether there was one to give up.
        """

        def note(change: Change) -> SnapshotPayload | None:
            pair = flight_of(operations.running_on_disk(change.conn, disk_id))
            if pair is None or pair[1].phase not in {Phase.FREEZING, Phase.FROZEN, Phase.SPOOLED}:
                return None
            payload = pair[0].payload_as(SnapshotPayload)
            if payload.break_reason and payload.spooled is not None:
                return None  # It is on its way out, and holds nothing any more.
            payload = msgspec.structs.replace(payload, break_reason=reason)
            operations.update(change.conn, pair[0].id, updated_at=change.at, payload=payload)
            return payload

        async with self.locks.graph(disk_id):
            payload = await self.transactions.change(note)
            if payload is None:
                return False
            log.error("snapshot.broken", disk_id=disk_id, reason=reason)
            disk = await self.host.row(disk_id)
            live = await self.host.running(disk)
            if live is not None:
                await live.unfreeze(scratch=self.room.layout.scratch_file(disk_id))
            if payload.spooled is not None:
                await asyncio.to_thread(self.spool.remove, payload.session)
            return True


def _sessions_sent(conn: Connection) -> dict[DiskId, SessionId]:
    """Return whose snapshots are sent, and their sessions."""
    return {
        one.on_disk: one.payload_as(SnapshotPayload).session
        for one in operations.unfinished(conn)
        if one.kind is OperationKind.SNAPSHOT and one.phase == Phase.SPOOLED
    }
