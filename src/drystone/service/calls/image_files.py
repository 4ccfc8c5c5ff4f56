"""Coming and leaving: disks from image files of this host, and snapshots into such files. For administrators.

The server reads and writes these files as its own user: whoever may name them may do so with that user's rights.
"""

import asyncio
import os
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection

from drystone.catalog import disks, operations
from drystone.domain.disk import DATA_DISK, Disk, DiskState
from drystone.domain.disk_types import DISK_TYPES, GIB, SOLD_TYPES
from drystone.domain.errors import ProtocolError, Refusal, RefusalError, UnavailableError
from drystone.domain.ids import DiskId, OperationId
from drystone.domain.operation import OperationKind
from drystone.domain.payloads import ExportPayload, ImportPayload
from drystone.engine import convert, host_files, image_formats
from drystone.engine.layout import Layout
from drystone.service.caller import Caller
from drystone.service.calls.attributes import disk_name
from drystone.service.calls.snapshot_records import owned_snapshot
from drystone.service.jobs.import_disk import REASON
from drystone.service.operations import Operations
from drystone.service.room import Room
from drystone.service.rows.quotas import DISKS, DiskLimits, check_disks, check_size
from drystone.service.transactions import Change, Transactions

UNDER_WAY_MAX = 64
DEFAULT_TYPE = "CLOUD_PREMIUM"


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageFiles:
    """The calls that export and import."""

    transactions: Transactions
    operations: Operations
    layout: Layout
    room: Room
    zone: str
    limits: DiskLimits = DISKS

    async def export(self, caller: Caller, snapshot_id: str, path: str, image_format: str | None) -> OperationId:
        """Begin to write a snapshot into a new file of this host; return the operation that does.

        The snapshot may be deleted meanwhile: it stays readable until the operation ends (F7).

        Raises:
            RefusalError: `NOT_ALLOWED`, `BAD_VALUE`, `NO_SUCH_SNAPSHOT`,
                `SNAPSHOT_CREATING` or `LIMIT`; nothing was begun.
        """
        caller.require_admin()
        target = await asyncio.to_thread(self._new_file, path)
        chosen = image_format or target.suffix.lower().removeprefix(".")
        chosen = {"img": "raw"}.get(chosen, chosen)
        if chosen not in convert.EXPORTED:
            raise _bad(f"Format `{chosen}` is unknown; use {' or '.join(convert.EXPORTED)}, or such an ending.")

        def record(change: Change) -> OperationId:
            _check_busy(change.conn)
            snapshot = owned_snapshot(change.conn, caller.account_id, snapshot_id)
            session = change.open_session("export", [snapshot.id])
            begun = change.begin(
                OperationKind.EXPORT, account_id=caller.account_id, snapshot_id=snapshot.id, phase="COPYING",
                request_id=caller.request_id,
                payload=ExportPayload(session=session, path=str(target), format=chosen),
            )  # fmt: skip
            return begun.id

        return await self.operations.begin(record)

    async def import_disk(
        self,
        caller: Caller,
        path: str,
        image_format: str | None,
        *,
        called: str | None,
        disk_type: str | None,
        size_gib: int | None,
        forced: bool,
    ) -> tuple[DiskId, OperationId]:
        """Begin to make a disk of an image file of this host; return the disk, listed once it is whole, and the work.

        Args:
            caller: Who asks.
            path: The file.
            image_format: Its format; None for what its name and bytes agree on.
            called: Name of the disk.
            disk_type: Its type.
            size_gib: Its size; None for that of the image.
            forced: Take it for raw though it begins like another format's.

        Raises:
            RefusalError: `NOT_ALLOWED`, `BAD_VALUE` (also for a file that is no image, refers to
                other files, or is larger than asked for), `FULL` or `LIMIT`; nothing was begun.
        """
        caller.require_admin()
        name = disk_name(called)
        kind = DISK_TYPES.get(disk_type or DEFAULT_TYPE)
        if kind is None or not kind.sold:
            raise _bad(f"DiskType `{disk_type}` is unknown or not sold; use one of {', '.join(SOLD_TYPES)}.")
        if image_format is not None and image_format not in image_formats.IMPORTED:
            raise _bad(f"Format `{image_format}` is unknown; use one of {', '.join(image_formats.IMPORTED)}.")
        source = _absolute(path)
        found, chosen, identity = await self._examined(source, image_format, forced=forced)
        least = -(-found.size_bytes // GIB)
        size = max(least, kind.size_gib_min) if size_gib is None else size_gib
        if size < least:
            raise _bad(f"DiskSize is {size} GiB; {source} holds a disk of {found.size_bytes} bytes ({least} GiB).")
        check_size(kind.name, size)
        self.room.require_scratch(size)
        self.room.require(disks=1)
        space = self.room.look()
        if found.allocated_bytes > space.above_floor_bytes:
            raise RefusalError(
                Refusal.FULL,
                f"{source} needs up to {found.allocated_bytes >> 20} MiB; {max(0, space.above_floor_bytes) >> 20} MiB "
                "are free above the floor that belongs to the disks.",
            )

        def record(change: Change) -> tuple[DiskId, OperationId]:
            _check_busy(change.conn)
            check_disks(change.conn, caller.account_id, self.limits, adding=1, gib=size)
            disk = Disk(
                id=change.ids.disk(), account_id=caller.account_id, name=name, state=DiskState.CREATING,
                size_gib=size, type=kind.name, zone=self.zone, usage=DATA_DISK, created_at=change.at,
                tracking_reason=REASON,
            )  # fmt: skip
            disks.insert(change.conn, disk)
            begun = change.begin(
                OperationKind.IMPORT, account_id=caller.account_id, disk_id=disk.id, phase="COPYING",
                request_id=caller.request_id,
                payload=ImportPayload(path=str(source), format=chosen, file=identity),
            )  # fmt: skip
            return disk.id, begun.id

        return await self.operations.begin(record)

    async def _examined(
        self, path: Path, image_format: str | None, *, forced: bool
    ) -> tuple[convert.Found, str, host_files.FileId]:
        """Look at a file that is to be imported; return what it holds, its format, and which file it is."""
        try:
            await asyncio.to_thread(self._outside, path)
            descriptor = await asyncio.to_thread(host_files.open_file, path)
            try:
                content = convert.bytes_of(str(path), descriptor)
                chosen = await asyncio.to_thread(image_formats.chosen, content, image_format, forced=forced)
                file = convert.ImageFile(
                    name=str(path), descriptor=descriptor, format=chosen, scratch=self.layout.scratch
                )
                return await convert.examine(file), chosen, host_files.file_id(descriptor)
            finally:
                os.close(descriptor)
        except (ProtocolError, UnavailableError) as error:
            raise _bad(f"{error}.") from error

    def _new_file(self, path: str) -> Path:
        """Return the name of a file that can be made."""
        target = _absolute(path)
        try:
            self._outside(target)
            taken = host_files.exists(target)
        except (ProtocolError, UnavailableError) as error:
            raise _bad(f"{error}.") from error
        if taken:
            raise _bad(f"{target} is there already; nothing is ever overwritten.")
        return target

    def _outside(self, path: Path) -> None:
        """Refuse what lies in the data directory: disks and store are touched in one way only."""
        if host_files.lies_in(path, (self.layout.data, self.layout.store)):
            raise _bad(f"{path} lies in the server's own directory.")


def _check_busy(conn: Connection) -> None:
    kinds = {OperationKind.EXPORT, OperationKind.IMPORT}
    running = sum(operation.kind in kinds for operation in operations.unfinished(conn))
    if running >= UNDER_WAY_MAX:
        raise RefusalError(Refusal.LIMIT, f"{running} exports and imports are under way; wait for some.")


def _absolute(path: str) -> Path:
    if not path.startswith("/") or "\0" in path or len(path) > 4000:
        raise _bad(f"Path `{path[:200]!a}` must be absolute: it is one of the server's host.")
    if not Path(path).name or Path(path).name == "..":
        raise _bad(f"Path `{path[:200]!a}` names no file.")
    return Path(path)


def _bad(message: str) -> RefusalError:
    return RefusalError(Refusal.BAD_VALUE, message)
