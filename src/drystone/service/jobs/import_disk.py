"""Making a disk of an image file that somebody brought."""

import asyncio
import os
from dataclasses import dataclass
from pathlib import Path

from drystone.catalog import disks
from drystone.domain import tracking as algebra
from drystone.domain.disk import Disk, DiskState
from drystone.domain.errors import ProtocolError, Refusal, RefusalError, UnavailableError
from drystone.domain.operation import Operation
from drystone.domain.payloads import ImportPayload
from drystone.engine import convert, host_files
from drystone.engine.volume import volume_of
from drystone.service.cancelling import breakable
from drystone.service.host.host import Host
from drystone.service.jobs.copying import Copying
from drystone.service.room import Room
from drystone.service.rows import endings
from drystone.service.rows.tracking import tracking_columns, tracking_of
from drystone.service.transactions import Change, Transactions

REASON = "the disk was imported and has no snapshot yet"


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportDisk:
    """CREATING → UNATTACHED; after a crash it begins again. The file is only ever read."""

    transactions: Transactions
    room: Room
    host: Host

    async def run(self, operation: Operation) -> None:
        """Look at the file again, check it, copy it into the disk's image, and show the disk.

        What the disk holds is no snapshot's, nor zeros: tracking is LOST (A1), and the first snapshot is full.
        """
        disk = await self.host.row(operation.on_disk)
        wanted = operation.payload_as(ImportPayload)
        path = Path(wanted.path)
        descriptor = await asyncio.to_thread(host_files.open_file, path)
        try:
            if wanted.file is not None and wanted.file != tuple(host_files.file_id(descriptor)):
                raise RefusalError(Refusal.BAD_VALUE, f"{path} is another file than the one that was looked at.")
            file = convert.ImageFile(
                name=str(path), descriptor=descriptor, format=wanted.format,
                scratch=self.room.layout.scratch,
            )  # fmt: skip
            found = await convert.examine(file)
            if found.size_bytes > disk.size_bytes:
                raise RefusalError(
                    Refusal.BAD_VALUE, f"{path} has grown to {found.size_bytes} bytes, beyond the disk's size."
                )
            await convert.check(file)
            disk = await self.host.keyed(disk)
            volume = await self.host.volume(disk)
            draft = volume.draft("import")
            await draft.create(disk.size_bytes)
            copying = Copying(operation, draft.identity().device, transactions=self.transactions, room=self.room)
            await breakable(draft.copy_from(file, on_percent=copying.note, guard=copying.guard))
        except ProtocolError as error:
            # What is wrong is the file that was given, and nothing of the server's.
            raise RefusalError(Refusal.BAD_VALUE, f"{error}.") from error
        finally:
            os.close(descriptor)
        await asyncio.to_thread(volume.replace_by, draft)
        await self.transactions.change(lambda change: _show(change, operation, disk))

    async def fail(self, operation: Operation, code: str, message: str) -> None:
        """Take back the row and the files: no half disk is left."""

        def withdraw(change: Change) -> None:
            disks.delete(change.conn, operation.on_disk)
            endings.failed(change, operation, code=code, message=message)

        await self.transactions.change(withdraw)
        await asyncio.to_thread(volume_of(self.room.layout, operation.on_disk).remove)


def _show(change: Change, operation: Operation, disk: Disk) -> None:
    tracking = tracking_columns(algebra.lost(tracking_of(disk)), reason=REASON)
    values = {"state": DiskState.UNATTACHED, **tracking}
    if not endings.disk_done(change, operation, was=DiskState.CREATING, **values):
        raise UnavailableError(f"disk {disk.id} is no longer being imported")
