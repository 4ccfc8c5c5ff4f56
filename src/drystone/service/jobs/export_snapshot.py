"""Writing a snapshot into an image file of this host."""

import asyncio
import os
from pathlib import Path

import msgspec
from sqlalchemy import Connection

from drystone.catalog import operations, sessions
from drystone.domain.errors import Refusal, RefusalError, SpaceError, UnavailableError
from drystone.domain.ids import OperationId
from drystone.domain.operation import Operation
from drystone.domain.payloads import ExportPayload
from drystone.engine import convert, host_files
from drystone.service.host.snapshot_server import SnapshotServer
from drystone.service.installation import Installation
from drystone.service.jobs.copying import Copying
from drystone.service.rows import endings

NAMING = "NAMING"
ATTEMPTS_MAX = 3


class ExportSnapshot:
    """COPYING (into a file without a name) → NAMING → done.

    Its session pins the snapshot from the call to the end (L6, F7, S54).
    """

    def __init__(self, installation: Installation, snapshot_server: SnapshotServer) -> None:
        self._in = installation
        self._snapshot_server = snapshot_server

    async def run(self, operation: Operation) -> None:
        """Copy what the snapshot server serves into a file that nobody finds, durably, and give it its name.

        Begins again after a crash. The name is given by a link: it never replaces what somebody made meanwhile.
        """
        wanted = operation.payload_as(ExportPayload)
        path = Path(wanted.path)
        if operation.phase != NAMING or not await asyncio.to_thread(host_files.named, path, wanted.identity):
            new = await asyncio.to_thread(host_files.begin, path, part_of(operation.id))
            try:
                await self._copy(operation, new)
                await self._name(operation, new)
            finally:
                host_files.drop(new)

        def end(conn: Connection) -> None:
            at = self._in.clock()
            sessions.commit(conn, wanted.session, at=at)
            endings.done(conn, operation, at=at)

        await self._in.db.write(end)

    async def _copy(self, operation: Operation, new: host_files.NewFile) -> None:
        copying = Copying(
            operation, os.fstat(new.directory).st_dev, transactions=self._in.transactions, room=self._in.room
        )
        assert operation.snapshot_id is not None
        for attempt in range(1, ATTEMPTS_MAX + 1):
            os.ftruncate(new.descriptor, 0)
            served = await self._snapshot_server.serving(operation.snapshot_id)
            try:
                await convert.export_into(
                    served, new.descriptor, operation.payload_as(ExportPayload).format,
                    on_percent=copying.note, guard=copying.guard,
                )  # fmt: skip
            except SpaceError:
                raise
            except UnavailableError:
                if attempt == ATTEMPTS_MAX:
                    raise
            else:
                return

    async def _name(self, operation: Operation, new: host_files.NewFile) -> None:
        identity = host_files.identity_of(new.descriptor)
        payload = msgspec.structs.replace(operation.payload_as(ExportPayload), identity=identity)
        at = self._in.clock()
        await self._in.db.write(
            lambda conn: operations.update(conn, operation.id, updated_at=at, phase=NAMING, payload=payload)
        )
        try:
            await asyncio.to_thread(host_files.publish, new)
        except FileExistsError as error:
            raise RefusalError(Refusal.BAD_VALUE, f"{new.path} was made by somebody else meanwhile.") from error

    async def fail(self, operation: Operation, code: str, message: str) -> None:
        """Let go of the snapshot, and end; what was copied had no name, and is gone."""

        def end(conn: Connection) -> None:
            at = self._in.clock()
            sessions.fence(conn, operation.payload_as(ExportPayload).session, at=at)
            endings.failed(conn, operation, at=at, code=code, message=message)

        await self._in.db.write(end)


def part_of(operation_id: OperationId) -> str:
    """Return the name beside its own that a copy has where a file system makes no file without one."""
    return f".{operation_id}.part"
