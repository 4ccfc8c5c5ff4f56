"""Destroying a disk."""

import asyncio

from sqlalchemy import Connection

from drystone.catalog import disks, extent_maps, operations, quiesce_profiles, sessions
from drystone.domain.ids import DiskId
from drystone.domain.operation import Operation, OperationKind
from drystone.domain.payloads import SessionPayload
from drystone.engine.volume import volume_of
from drystone.service.host.host import Host
from drystone.service.installation import Installation
from drystone.service.rows import endings
from drystone.service.upkeep.maps import collect_maps


class Terminate:
    """TERMINATING → gone. Its snapshots stay, or are deleted by operations of their own."""

    def __init__(self, installation: Installation, host: Host) -> None:
        self._in = installation
        self._host = host

    async def run(self, operation: Operation) -> None:
        """End hydration, close the disk without a checkpoint, remove files and row."""
        assert operation.disk_id is not None
        disk_id = operation.disk_id
        await self._in.db.write(lambda conn: self._end_hydration(conn, disk_id))
        async with self._in.locks.image(disk_id), self._in.locks.graph(disk_id):
            disk = await self._in.db.read(lambda conn: disks.get(conn, disk_id))
            if disk is not None:
                await self._host.settle_flight(disk_id)
                await self._host.discard(disk)
            self._in.layout.scratch_file(disk_id).unlink(missing_ok=True)
            await asyncio.to_thread(volume_of(self._in.layout, disk_id).remove)

            def remove(conn: Connection) -> None:
                extent_maps.keep_only(conn, disk_id, ())
                disks.delete(conn, disk_id)
                quiesce_profiles.delete(conn, disk_id)
                endings.done(conn, operation, at=self._in.clock())

            await self._in.db.write(remove)
        await collect_maps(self._in.transactions, self._in.kept)
        self._in.locks.forget(disk_id)

    def _end_hydration(self, conn: Connection, disk_id: DiskId) -> None:
        at = self._in.clock()
        for other in operations.running_on_disk(conn, disk_id):
            if other.kind is OperationKind.HYDRATE:
                sessions.fence(conn, other.payload_as(SessionPayload).session, at=at)
                endings.failed(conn, other, at=at, code="", message="the disk was terminated")

    async def fail(self, operation: Operation, code: str, message: str) -> None:
        """Leave the row hidden and the operation RUNNING: the next start tries again."""
        await self._in.db.write(
            lambda conn: operations.update(
                conn, operation.id, updated_at=self._in.clock(), error_code=code, error=message
            )
        )
        self._in.operations.wake_later(operation)
