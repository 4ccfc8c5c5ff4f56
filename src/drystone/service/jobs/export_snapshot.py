"""Writing a snapshot into an image file of this host."""

import asyncio
import os
from dataclasses import dataclass
from pathlib import Path

import msgspec

from drystone.catalog import operations, sessions
from drystone.domain.errors import Refusal, RefusalError, SpaceError, UnavailableError
from drystone.domain.ids import OperationId
from drystone.domain.operation import Operation
from drystone.domain.payloads import ExportPayload
from drystone.engine import convert, host_files
from drystone.service.cancelling import breakable
from drystone.service.host.snapshot_server import SnapshotServer
from drystone.service.jobs.copying import Copying
from drystone.service.room import Room
from drystone.service.rows import endings
from drystone.service.transactions import Change, Transactions

NAMING = "NAMING"
ATTEMPTS_MAX = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportSnapshot:
    """COPYING (into a file without a name) → NAMING → done.

    Its session pins the snapshot from the call to the end (L6, F7, S54).
    """

    transactions: Transactions
    room: Room
    snapshot_server: SnapshotServer

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

        def end(change: Change) -> None:
            sessions.commit(change.conn, wanted.session, at=change.at)
            endings.done(change, operation)

        await self.transactions.change(end)

    async def _copy(self, operation: Operation, new: host_files.NewFile) -> None:
        copying = Copying(operation, os.fstat(new.directory).st_dev, transactions=self.transactions, room=self.room)
        for attempt in range(1, ATTEMPTS_MAX + 1):
            os.ftruncate(new.descriptor, 0)
            served = await self.snapshot_server.serving(operation.of_snapshot)
            try:
                await breakable(
                    convert.export_into(
                        served, new.descriptor, operation.payload_as(ExportPayload).format,
                        on_percent=copying.note, guard=copying.guard,
                    )
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

        def enter(change: Change) -> None:
            endings.check_wanted(change, operation)
            operations.update(change.conn, operation.id, updated_at=change.at, phase=NAMING, payload=payload)

        await self.transactions.change(enter)
        try:
            await asyncio.to_thread(host_files.publish, new)
        except FileExistsError as error:
            raise RefusalError(Refusal.BAD_VALUE, f"{new.path} was made by somebody else meanwhile.") from error

    async def fail(self, operation: Operation, code: str, message: str) -> None:
        """Let go of the snapshot, and end; what was copied had no name, and is gone."""

        def end(change: Change) -> None:
            sessions.fence(change.conn, operation.payload_as(ExportPayload).session, at=change.at)
            endings.failed(change, operation, code=code, message=message)

        await self.transactions.change(end)


def part_of(operation_id: OperationId) -> str:
    """Return the name beside its own that a copy has where a file system makes no file without one."""
    return f".{operation_id}.part"
