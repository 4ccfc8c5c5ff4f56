"""Destroying a disk."""

import asyncio
from dataclasses import dataclass

from drystone.catalog import disks, extent_maps, operations, quiesce_profiles, sessions
from drystone.domain.operation import Operation, OperationKind
from drystone.domain.payloads import SessionPayload
from drystone.engine.volume import volume_of
from drystone.service.disk_locks import DiskLocks
from drystone.service.host.host import Host
from drystone.service.kept_store import KeptStore
from drystone.service.operations import Operations
from drystone.service.rows import endings
from drystone.service.transactions import Change, Transactions


@dataclass(frozen=True, slots=True, kw_only=True)
class Terminate:
    """TERMINATING → gone. Its snapshots stay, or are deleted by operations of their own."""

    transactions: Transactions
    operations: Operations
    locks: DiskLocks
    kept: KeptStore
    host: Host

    async def run(self, operation: Operation) -> None:
        """End hydration, close the disk without a checkpoint, remove files and row."""
        disk_id, layout = operation.on_disk, self.kept.room.layout
        _ = self.kept.store  # S202: raises while nobody knows whether this catalog is in force.
        await self.transactions.change(lambda change: _end_hydration(change, operation))
        async with self.locks.image(disk_id), self.locks.graph(disk_id):
            disk = await self.transactions.read(lambda conn: disks.get(conn, disk_id))
            if disk is not None:
                await self.host.settle_flight(disk_id)
                await self.host.discard(disk)
            layout.scratch_file(disk_id).unlink(missing_ok=True)
            await asyncio.to_thread(volume_of(layout, disk_id).remove)
            await self.transactions.change(lambda change: _remove(change, operation))
        self.locks.forget(disk_id)

    async def fail(self, operation: Operation, code: str, message: str) -> None:
        """Leave the row hidden and the operation RUNNING: the next start tries again."""
        await self.operations.put_off(operation, code, message)


def _end_hydration(change: Change, operation: Operation) -> None:
    for other in operations.running_on_disk(change.conn, operation.on_disk):
        if other.kind is OperationKind.HYDRATE:
            sessions.fence(change.conn, other.payload_as(SessionPayload).session, at=change.at)
            endings.failed(change, other, code="", message="the disk was terminated")


def _remove(change: Change, operation: Operation) -> None:
    extent_maps.keep_only(change.conn, operation.on_disk, ())
    disks.delete(change.conn, operation.on_disk)
    quiesce_profiles.delete(change.conn, operation.on_disk)
    endings.done(change, operation)
