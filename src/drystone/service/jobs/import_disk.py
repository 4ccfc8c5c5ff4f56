"""Making a disk of an image file that somebody brought."""

import asyncio
import os
from pathlib import Path

from sqlalchemy import Connection

from drystone.catalog import disks
from drystone.domain import tracking as algebra
from drystone.domain.disk import Disk, DiskState
from drystone.domain.errors import ProtocolError, RefusalError, UnavailableError
from drystone.domain.operation import Operation
from drystone.domain.payloads import ImportPayload
from drystone.engine import convert, host_files
from drystone.engine.volume import volume_of
from drystone.service.host.host import Host
from drystone.service.installation import Installation
from drystone.service.jobs.copying import Copying
from drystone.service.rows import endings
from drystone.service.rows.tracking import tracking_columns, tracking_of

REASON = "the disk was imported and has no snapshot yet"


class ImportDisk:
    """CREATING → UNATTACHED; after a crash it begins again. The file is only ever read."""

    def __init__(self, installation: Installation, host: Host) -> None:
        self._in = installation
        self._host = host

    async def run(self, operation: Operation) -> None:
        """Look at the file again, check it, copy it into the disk's image, and show the disk.

        What the disk holds is no snapshot's, nor zeros: tracking is LOST (A1), and the first snapshot is full.
        """
        assert operation.disk_id is not None
        disk = await self._host.row(operation.disk_id)
        wanted = operation.payload_as(ImportPayload)
        path = Path(wanted.path)
        volume = volume_of(self._in.layout, disk.id)
        draft = volume.draft("import")
        descriptor = await asyncio.to_thread(host_files.open_file, path)
        try:
            if wanted.file is not None and wanted.file != tuple(host_files.file_id(descriptor)):
                raise ProtocolError(f"{path} is another file than the one that was looked at")
            file = convert.ImageFile(
                name=str(path), descriptor=descriptor, format=wanted.format,
                scratch=self._in.layout.scratch,
            )  # fmt: skip
            found = await convert.examine(file)
            if found.size_bytes > disk.size_bytes:
                raise RefusalError(
                    "InvalidParameterValue", f"{path} has grown to {found.size_bytes} bytes, beyond the disk's size."
                )
            await convert.check(file)
            await self._host.describe(disk)
            await draft.create(disk.size_bytes)
            copying = Copying(self._in, operation, draft.identity().device)
            await draft.copy_from(file, on_percent=copying.note, guard=copying.guard)
        finally:
            os.close(descriptor)
        await asyncio.to_thread(volume.replace_by, draft)
        await self._in.db.write(lambda conn: self._show(conn, operation, disk))

    def _show(self, conn: Connection, operation: Operation, disk: Disk) -> None:
        tracking = tracking_columns(algebra.lost(tracking_of(disk)), reason=REASON)
        values = {"state": DiskState.UNATTACHED, **tracking}
        if not disks.compare_and_set(conn, disk.id, expected={"state": DiskState.CREATING}, values=values):
            raise UnavailableError(f"disk {disk.id} is no longer being imported")
        endings.done(conn, operation, at=self._in.clock())

    async def fail(self, operation: Operation, code: str, message: str) -> None:
        """Take back the row and the files: no half disk is left."""
        assert operation.disk_id is not None
        disk_id = operation.disk_id

        def withdraw(conn: Connection) -> None:
            disks.delete(conn, disk_id)
            endings.failed(conn, operation, at=self._in.clock(), code=code, message=message)

        await self._in.db.write(withdraw)
        await asyncio.to_thread(volume_of(self._in.layout, disk_id).remove)
