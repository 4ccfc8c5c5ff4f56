"""Writing a detached disk's image anew in today's form; what the disk holds stays as it is."""

import asyncio

from sqlalchemy import Connection

from drystone.catalog import disks, operations
from drystone.domain import tracking as algebra
from drystone.domain.disk import Disk, DiskState
from drystone.domain.errors import IntegrityError, UnavailableError
from drystone.domain.ids import DiskId
from drystone.domain.operation import Operation
from drystone.domain.tracking import TrackingState
from drystone.engine.volume import Recorded, Volume, volume_of
from drystone.service.host.host import Host
from drystone.service.installation import Installation
from drystone.service.jobs.copying import Copying
from drystone.service.rows import endings
from drystone.service.rows.tracking import tracking_columns, tracking_of

DRAFT = "rewrite"
COPYING, COMPARING, REPLACING = "COPYING", "COMPARING", "REPLACING"
INTERRUPTED = "the disk's image was written anew, and that was interrupted"


class Rewrite:
    """DUMPING → UNATTACHED: COPYING → COMPARING → REPLACING → done.

    The image is as it was until its copy was compared with it, byte for byte, and is durable; then the copy takes its
    name (S110). A restart copies again where it has not; otherwise there is only the row to set.
    """

    def __init__(self, installation: Installation, host: Host) -> None:
        self._in = installation
        self._host = host

    async def run(self, operation: Operation) -> None:
        """Close the disk, copy, compare, replace, and say what is known of tracking."""
        assert operation.disk_id is not None
        disk_id = operation.disk_id
        async with self._in.locks.image(disk_id), self._in.locks.graph(disk_id):
            await self._host.close(disk_id)
            volume = volume_of(self._in.layout, disk_id)
            if await asyncio.to_thread(volume.is_outdated):
                draft = volume.draft(DRAFT)
                before = await asyncio.to_thread(volume.identity)
                await self._copy(operation, volume, draft)
                await self._enter(operation, REPLACING)
                if await asyncio.to_thread(volume.identity) != before:
                    raise IntegrityError(f"the image of {disk_id} was written while it was copied")
                disk = await self._host.row(disk_id)
                await asyncio.to_thread(self._replace, disk, volume, draft)
            lost = await self._is_lost(disk_id)

            def show(conn: Connection) -> None:
                values = {"state": DiskState.UNATTACHED, "error_prompt": "", **_tracking(conn, disk_id, lost=lost)}
                changed = disks.compare_and_set(conn, disk_id, expected={"state": DiskState.DUMPING}, values=values)
                assert changed, "DUMPING has a RUNNING operation, and this is it"  # S1
                endings.done(conn, operation, at=self._in.clock())

            await self._in.db.write(show)

    async def _copy(self, operation: Operation, volume: Volume, draft: Volume) -> None:
        await self._enter(operation, COPYING)
        await draft.create(await asyncio.to_thread(volume.size_bytes))
        copying = Copying(self._in, operation, draft.identity().device)
        with volume.opened(self._in.layout.scratch) as file:
            await draft.copy_from(file, on_percent=lambda percent: copying.note(percent // 2), guard=copying.guard)
            await self._enter(operation, COMPARING)
            same = await draft.same_as(
                file, on_percent=lambda percent: copying.note(50 + percent // 2), guard=copying.guard
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
        at = self._in.clock()
        if not await self._in.db.write(lambda conn: operations.update(conn, operation.id, updated_at=at, phase=phase)):
            raise UnavailableError(f"{operation.id} has ended")

    async def _is_lost(self, disk_id: DiskId) -> bool:
        """Tell whether the row counts on a checkpoint and none is good: an earlier attempt ended between the two."""
        disk = await self._host.row(disk_id)
        found = await asyncio.to_thread(volume_of(self._in.layout, disk_id).recorded)
        return disk.tracking == TrackingState.STOPPED and _fault(disk, found) is not None

    async def fail(self, operation: Operation, code: str, message: str) -> None:
        """Take the copy away; the image, whichever of the two it is, holds what the disk holds."""
        assert operation.disk_id is not None
        disk_id = operation.disk_id
        async with self._in.locks.image(disk_id), self._in.locks.graph(disk_id):
            await asyncio.to_thread(volume_of(self._in.layout, disk_id).draft(DRAFT).discard_draft)
            lost = await self._is_lost(disk_id)

            def end(conn: Connection) -> None:
                values = {"state": DiskState.UNATTACHED, **_tracking(conn, disk_id, lost=lost)}
                endings.disk_failed(conn, operation, at=self._in.clock(), code=code, message=message, **values)

            await self._in.db.write(end)


def _fault(disk: Disk, found: Recorded | None) -> str | None:
    """Return why an opening would refuse what is recorded."""
    checkpoint, _ranges, identity = found or (None, None, None)
    return algebra.checkpoint_fault(tracking_of(disk), disk.id, checkpoint, identity)


def _tracking(conn: Connection, disk_id: DiskId, *, lost: bool) -> dict[str, object]:
    """Return the tracking columns to set: none if tracking stays as it is."""
    now = disks.get(conn, disk_id)
    return tracking_columns(algebra.lost(tracking_of(now)), reason=INTERRUPTED) if lost and now is not None else {}
