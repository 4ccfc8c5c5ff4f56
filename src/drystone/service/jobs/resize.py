"""Growing a disk, open or closed (A9)."""

import asyncio

from sqlalchemy import Connection

from drystone.catalog import disks, instances
from drystone.domain.disk import Disk, DiskState
from drystone.domain.disk_types import GIB
from drystone.domain.ids import DiskId, InstanceId
from drystone.domain.operation import Operation
from drystone.domain.payloads import ResizePayload
from drystone.engine.live_disk import LiveDisk
from drystone.engine.volume import volume_of
from drystone.service.host.host import Host
from drystone.service.host.serving import Serving
from drystone.service.installation import Installation
from drystone.service.rows import endings


class Resize:
    """EXPANDING → the state before. Repeats safely: it only grows."""

    def __init__(self, installation: Installation, host: Host, serving: Serving) -> None:
        self._in = installation
        self._host = host
        self._serving = serving

    async def run(self, operation: Operation) -> None:
        """Grow the image, tell whoever uses the disk, then the row."""
        assert operation.disk_id is not None
        disk_id = operation.disk_id
        size_gib = operation.payload_as(ResizePayload).size_gib
        async with self._in.locks.image(disk_id), self._in.locks.graph(disk_id):
            await self._host.settle_flight(disk_id)
            disk = await self._host.row(disk_id)
            live = await self._host.running(disk)
            if live is None:
                if disk.daemon is not None:
                    await self._host.settle(disk_id)
                # A checkpoint is bound to the file as it is: open and close renew it.
                if disk.tracking == "STOPPED":
                    disk, live = await self._host.opened(disk_id)
            if live is None:
                await volume_of(self._in.layout, disk_id).grow(size_gib * GIB)
            else:
                try:
                    await self._grow(disk, live, size_gib * GIB)
                finally:
                    # Refused or not, it is served again: who uses it must not pay for a resize that failed.
                    await self._serve_again(disk.instance_id, disk_id)

            at = self._in.clock()

            def record(conn: Connection) -> None:
                now = disks.get(conn, disk_id)
                assert now is not None
                values: dict[str, object] = {"size_gib": size_gib, "error_prompt": ""}
                values["state"] = endings.settled_state(now.instance_id)
                if disks.compare_and_set(conn, disk_id, expected={"state": DiskState.EXPANDING}, values=values):
                    endings.done(conn, operation, at=at)

            await self._in.db.write(record)
            disk = await self._host.row(disk_id)
            await self._host.apply_row(disk)
        await self._host.release(disk_id)

    async def _grow(self, disk: Disk, live: LiveDisk, size_bytes: int) -> None:
        """Grow an open disk; over NBD it is not served afterwards."""
        served = await live.served_as()
        await live.remove_hydration()
        await live.remove_comparison()
        if served == "nbd":
            await live.unexport()
        await live.resize(size_bytes)
        if served == "fuse":
            await self._in.devices.grown(disk.id, size_bytes)

    async def _serve_again(self, instance_id: InstanceId | None, disk_id: DiskId) -> None:
        if instance_id is None:
            return
        instance = await self._in.db.read(lambda conn: instances.get(conn, instance_id))
        if instance is not None:
            await self._serving.serve(disk_id, instance.kind)

    async def fail(self, operation: Operation, code: str, message: str) -> None:
        """End it if the disk has its old size; else finish it later: disk and row must agree (A9).

        Raises:
            UnavailableError: The storage daemon does not answer: it may carry the resize out yet, so it is not ended.
        """
        assert operation.disk_id is not None
        disk_id = operation.disk_id
        async with self._in.locks.graph(disk_id):
            disk = await self._host.row(disk_id)
            grown = await self._size_bytes(disk) > disk.size_gib * GIB
        if grown:
            await self._serving.revive(disk_id)
            self._in.operations.wake_later(operation)
            return

        def record(conn: Connection) -> None:
            now = disks.get(conn, disk_id)
            if now is not None:
                state = endings.settled_state(now.instance_id)
                endings.disk_failed(conn, operation, at=self._in.clock(), code=code, message=message, state=state)

        await self._in.db.write(record)
        await self._serving.revive(disk_id)

    async def _size_bytes(self, disk: Disk) -> int:
        """Return the size that the disk has; its daemon answers after all that it was told before."""
        live = await self._host.running(disk)
        if live is not None:
            return await live.size_bytes()
        return await asyncio.to_thread(volume_of(self._in.layout, disk.id).size_bytes)
