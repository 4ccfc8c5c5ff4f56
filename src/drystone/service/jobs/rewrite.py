"""Writing a detached disk's image anew in today's form; what the disk holds stays as it is."""

import asyncio
from dataclasses import dataclass

from sqlalchemy import Connection

from drystone.catalog import disks, operations
from drystone.domain import tracking as algebra
from drystone.domain.disk import Disk, DiskState
from drystone.domain.errors import IntegrityError, UnavailableError
from drystone.domain.ids import DiskId
from drystone.domain.operation import Operation
from drystone.domain.tracking import TrackingState
from drystone.engine.volume import Recorded, Volume, volume_of
from drystone.service.cancelling import breakable
from drystone.service.disk_locks import DiskLocks
from drystone.service.host.host import Host
from drystone.service.jobs.copying import Copying
from drystone.service.room import Room
from drystone.service.rows import endings
from drystone.service.rows.tracking import tracking_columns, tracking_of
from drystone.service.transactions import Change, Transactions

DRAFT = "rewrite"
COPYING, COMPARING, REPLACING = "COPYING", "COMPARING", "REPLACING"
INTERRUPTED = "the disk's image was written anew, and that was interrupted"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rewrite:
    """DUMPING → UNATTACHED: COPYING → COMPARING → REPLACING → done.

    The image is as it was until its copy was compared with it, byte for byte, and is durable; then the copy takes its
    name (S110). A restart copies again where it has not; otherwise there is only the row to set.
    """

    transactions: Transactions
    locks: DiskLocks
    room: Room
    host: Host

    async def run(self, operation: Operation) -> None:
        """Close the disk, copy, compare, replace, and say what is known of tracking."""
        disk_id = operation.on_disk
        async with self.locks.image(disk_id), self.locks.graph(disk_id):
            await self.host.close(disk_id)
            volume = await self.host.volume(await self.host.row(disk_id))
            if await asyncio.to_thread(volume.is_outdated):
                draft = volume.draft(DRAFT)
                before = await asyncio.to_thread(volume.identity)
                await self._copy(operation, volume, draft)
                await self._enter(operation, REPLACING)
                if await asyncio.to_thread(volume.identity) != before:
                    raise IntegrityError(f"the image of {disk_id} was written while it was copied")
                disk = await self.host.row(disk_id)
                await asyncio.to_thread(self._replace, disk, volume, draft)
            lost = await self._is_lost(disk_id)

            def show(change: Change) -> None:
                values = {"state": DiskState.UNATTACHED, **_tracking(change.conn, disk_id, lost=lost)}
                changed = endings.disk_done(change, operation, was=DiskState.DUMPING, **values)
                assert changed, "DUMPING has a RUNNING operation, and this is it"  # S1

            await self.transactions.change(show)

    async def _copy(self, operation: Operation, volume: Volume, draft: Volume) -> None:
        await self._enter(operation, COPYING)
        await draft.create(await asyncio.to_thread(volume.size_bytes))
        copying = Copying(operation, draft.identity().device, transactions=self.transactions, room=self.room)
        with volume.opened(self.room.layout.scratch) as file:
            await breakable(
                draft.copy_from(file, on_percent=lambda percent: copying.note(percent // 2), guard=copying.guard)
            )
            await self._enter(operation, COMPARING)
            same = await breakable(
                draft.same_as(file, on_percent=lambda percent: copying.note(50 + percent // 2), guard=copying.guard)
            )
        if not same:
            raise IntegrityError(f"the copy of {file.name} differs from it")

    def _replace(self, disk: Disk, volume: Volume, draft: Volume) -> None:
        """Let the copy be the image; a checkpoint that was good for the one is then bound to the other (S111)."""
        found = volume.take_recorded()
        fault = _fault(disk, found)
        volume.replace_by(draft)
        if found is not None and fault is None:
            volume.record(disk.epoch, found.ranges)

    async def _enter(self, operation: Operation, phase: str) -> None:
        def enter(change: Change) -> bool:
            endings.check_wanted(change, operation)
            return operations.update(change.conn, operation.id, updated_at=change.at, phase=phase)

        if not await self.transactions.change(enter):
            raise UnavailableError(f"{operation.id} has ended")

    async def _is_lost(self, disk_id: DiskId) -> bool:
        """Tell whether the row counts on a checkpoint and none is good: an earlier attempt ended between the two."""
        disk = await self.host.row(disk_id)
        found = await asyncio.to_thread(volume_of(self.room.layout, disk_id).recorded)
        return disk.tracking == TrackingState.STOPPED and _fault(disk, found) is not None

    async def fail(self, operation: Operation, code: str, message: str) -> None:
        """Take the copy away; the image, whichever of the two it is, holds what the disk holds."""
        disk_id = operation.on_disk
        async with self.locks.image(disk_id), self.locks.graph(disk_id):
            await asyncio.to_thread(volume_of(self.room.layout, disk_id).draft(DRAFT).discard_draft)
            lost = await self._is_lost(disk_id)

            def end(change: Change) -> None:
                values = {"state": DiskState.UNATTACHED, **_tracking(change.conn, disk_id, lost=lost)}
                endings.disk_failed(change, operation, code=code, message=message, **values)

            await self.transactions.change(end)


def _fault(disk: Disk, found: Recorded | None) -> str | None:
    """Return why an opening would refuse what is recorded."""
    checkpoint, _ranges, identity = found or (None, None, None)
    return algebra.checkpoint_fault(tracking_of(disk), disk.id, checkpoint, identity)


def _tracking(conn: Connection, disk_id: DiskId, *, lost: bool) -> dict[str, object]:
    """Return the tracking columns to set: none if tracking stays as it is."""
    now = disks.get(conn, disk_id)
    return tracking_columns(algebra.lost(tracking_of(now)), reason=INTERRUPTED) if lost and now is not None else {}
