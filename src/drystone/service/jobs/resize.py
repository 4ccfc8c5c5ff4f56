"""Growing a disk, open or closed (A9)."""

import asyncio
from dataclasses import dataclass

from drystone.catalog import disks, instances
from drystone.domain.disk import Disk, DiskState
from drystone.domain.disk_types import GIB
from drystone.domain.ids import DiskId, InstanceId
from drystone.domain.operation import Operation
from drystone.domain.payloads import ResizePayload
from drystone.engine.host_device import HostDevices
from drystone.engine.layout import Layout
from drystone.engine.live_disk import LiveDisk
from drystone.engine.volume import volume_of
from drystone.service.disk_locks import DiskLocks
from drystone.service.host.host import Host
from drystone.service.host.serving import Serving
from drystone.service.operations import Operations
from drystone.service.rows import endings
from drystone.service.rows.tracking import disk_row
from drystone.service.transactions import Change, Transactions


@dataclass(frozen=True, slots=True, kw_only=True)
class Resize:
    """EXPANDING → the state before. Repeats safely: it only grows."""

    transactions: Transactions
    operations: Operations
    locks: DiskLocks
    layout: Layout
    devices: HostDevices
    host: Host
    serving: Serving

    async def run(self, operation: Operation) -> None:
        """Grow the image, tell whoever uses the disk, then the row."""
        disk_id = operation.on_disk
        size_gib = operation.payload_as(ResizePayload).size_gib
        async with self.locks.image(disk_id), self.locks.graph(disk_id):
            await self.host.settle_flight(disk_id)
            disk = await self.host.row(disk_id)
            live = await self.host.running(disk)
            if live is None:
                if disk.daemon is not None:
                    await self.host.settle(disk_id)
                # A checkpoint is bound to the file as it is: open and close renew it.
                if disk.tracking == "STOPPED":
                    disk, live = await self.host.opened(disk_id)
            if live is None:
                await (await self.host.volume(disk)).grow(size_gib * GIB)
            else:
                try:
                    await self._grow(disk, live, size_gib * GIB)
                finally:
                    # Refused or not, it is served again: who uses it must not pay for a resize that failed.
                    await self._serve_again(disk.instance_id, disk_id)
            await self.transactions.change(lambda change: _record(change, operation, size_gib))
            await self.host.apply_row(disk_id)
        await self.host.release(disk_id)

    async def _grow(self, disk: Disk, live: LiveDisk, size_bytes: int) -> None:
        """Grow an open disk; over NBD it is not served afterwards."""
        served = await live.served_as()
        await live.remove_hydration()
        await live.remove_comparison()
        if served == "nbd":
            await live.unexport()
        await live.resize(size_bytes)
        if served == "fuse":
            await self.devices.grown(disk.id, size_bytes)

    async def _serve_again(self, instance_id: InstanceId | None, disk_id: DiskId) -> None:
        if instance_id is None:
            return
        instance = await self.transactions.read(lambda conn: instances.get(conn, instance_id))
        if instance is not None:
            await self.serving.serve(disk_id, instance.kind)

    async def fail(self, operation: Operation, code: str, message: str) -> None:
        """End it if the disk has its old size; else finish it later: disk and row must agree (A9).

        Raises:
            UnavailableError: The storage daemon does not answer: it may carry the resize out yet, so it is not ended.
        """
        disk_id = operation.on_disk
        async with self.locks.graph(disk_id):
            disk = await self.host.row(disk_id)
            grown = await self._size_bytes(disk) > disk.size_gib * GIB
        if grown:
            await self.serving.revive(disk_id)
            self.operations.wake_later(operation)
            return

        def record(change: Change) -> None:
            now = disks.get(change.conn, disk_id)
            if now is not None:
                state = endings.settled_state(now.instance_id)
                endings.disk_failed(change, operation, code=code, message=message, state=state)

        await self.transactions.change(record)
        await self.serving.revive(disk_id)

    async def _size_bytes(self, disk: Disk) -> int:
        """Return the size that the disk has; its daemon answers after all that it was told before."""
        live = await self.host.running(disk)
        if live is not None:
            return await live.size_bytes()
        return await asyncio.to_thread(volume_of(self.layout, disk.id).size_bytes)


def _record(change: Change, operation: Operation, size_gib: int) -> None:
    state = endings.settled_state(disk_row(change, operation.on_disk).instance_id)
    endings.disk_done(change, operation, was=DiskState.EXPANDING, state=state, size_gib=size_gib)
