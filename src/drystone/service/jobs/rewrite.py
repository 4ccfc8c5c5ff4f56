"""Writing a detached disk's image anew in today's form; what the disk holds stays as it is."""

import asyncio
import os
from pathlib import Path

from sqlalchemy import Connection

from drystone.catalog import disks, operations
from drystone.domain import tracking as algebra
from drystone.domain.disk import Disk, DiskState
from drystone.domain.errors import IntegrityError, UnavailableError
from drystone.domain.ids import DiskId
from drystone.domain.operation import Operation
from drystone.domain.tracking import TrackingState
from drystone.engine import checkpoints, convert, images
from drystone.service.host.host import Host
from drystone.service.installation import Installation
from drystone.service.jobs.copying import Copying
from drystone.service.rows import endings
from drystone.service.rows.tracking import tracking_columns, tracking_of

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
            image = self._in.layout.image(disk_id)
            if await asyncio.to_thread(images.is_outdated, image):
                copied = copy_of(image)
                before = await asyncio.to_thread(checkpoints.identity, image)
                await self._copy(operation, image, copied)
                await self._enter(operation, REPLACING)
                if await asyncio.to_thread(checkpoints.identity, image) != before:
                    raise IntegrityError(f"{image} was written while it was copied")
                disk = await self._host.row(disk_id)
                await asyncio.to_thread(self._replace, disk, image, copied)
            lost = await self._is_lost(disk_id)

            def show(conn: Connection) -> None:
                values = {"state": DiskState.UNATTACHED, "error_prompt": "", **_tracking(conn, disk_id, lost=lost)}
                changed = disks.compare_and_set(conn, disk_id, expected={"state": DiskState.DUMPING}, values=values)
                assert changed, "DUMPING has a RUNNING operation, and this is it"  # S1
                endings.done(conn, operation, at=self._in.clock())

            await self._in.db.write(show)

    async def _copy(self, operation: Operation, image: Path, copied: Path) -> None:
        await self._enter(operation, COPYING)
        await images.create(copied, await asyncio.to_thread(images.virtual_size, image))
        copying = Copying(self._in, operation, copied.stat().st_dev)
        descriptor = os.open(image, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            file = convert.ImageFile(
                name=str(image), descriptor=descriptor, format="qcow2", scratch=self._in.layout.scratch
            )
            await convert.import_into(
                file, copied, on_percent=lambda percent: copying.note(percent // 2), guard=copying.guard
            )
            await self._enter(operation, COMPARING)
            same = await convert.same_content(
                file, copied, on_percent=lambda percent: copying.note(50 + percent // 2), guard=copying.guard
            )
        finally:
            os.close(descriptor)
        if not same:
            raise IntegrityError(f"the copy of {image} differs from it")

    def _replace(self, disk: Disk, image: Path, copied: Path) -> None:
        """Give the copy the image's name; a checkpoint that was good for the one is then bound to the other (S111)."""
        path = self._in.layout.checkpoint(disk.id)
        found = checkpoints.consume(path)
        fault = algebra.checkpoint_fault(
            tracking_of(disk), disk.id, None if found is None else found[0], checkpoints.identity(image)
        )
        images.sync_file(copied)
        copied.replace(image)
        images.sync_file(image.parent)
        if found is not None and fault is None:
            checkpoints.write(path, disk_id=disk.id, epoch=disk.epoch, image=image, ranges=found[1])

    async def _enter(self, operation: Operation, phase: str) -> None:
        at = self._in.clock()
        if not await self._in.db.write(lambda conn: operations.update(conn, operation.id, updated_at=at, phase=phase)):
            raise UnavailableError(f"{operation.id} has ended")

    async def _is_lost(self, disk_id: DiskId) -> bool:
        """Tell whether the row counts on a checkpoint and none is good: an earlier attempt ended between the two."""

        def judge(disk: Disk) -> str | None:
            found = checkpoints.read(self._in.layout.checkpoint(disk_id))
            identity = checkpoints.identity(self._in.layout.image(disk_id))
            return algebra.checkpoint_fault(tracking_of(disk), disk_id, None if found is None else found[0], identity)

        disk = await self._host.row(disk_id)
        return disk.tracking == TrackingState.STOPPED and await asyncio.to_thread(judge, disk) is not None

    async def fail(self, operation: Operation, code: str, message: str) -> None:
        """Take the copy away; the image, whichever of the two it is, holds what the disk holds."""
        assert operation.disk_id is not None
        disk_id = operation.disk_id
        async with self._in.locks.image(disk_id), self._in.locks.graph(disk_id):
            copied = copy_of(self._in.layout.image(disk_id))
            for file in (copied, copied.with_suffix(".part")):
                await asyncio.to_thread(file.unlink, missing_ok=True)
            lost = await self._is_lost(disk_id)

            def end(conn: Connection) -> None:
                values = {"state": DiskState.UNATTACHED, **_tracking(conn, disk_id, lost=lost)}
                endings.disk_failed(conn, operation, at=self._in.clock(), code=code, message=message, **values)

            await self._in.db.write(end)


def copy_of(image: Path) -> Path:
    """Return where an image is copied to, beside it."""
    return image.with_suffix(".rewrite")


def _tracking(conn: Connection, disk_id: DiskId, *, lost: bool) -> dict[str, object]:
    """Return the tracking columns to set: none if tracking stays as it is."""
    now = disks.get(conn, disk_id)
    return tracking_columns(algebra.lost(tracking_of(now)), reason=INTERRUPTED) if lost and now is not None else {}
