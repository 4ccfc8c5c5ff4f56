"""Attaching and detaching."""

from sqlalchemy import Connection

from drystone.catalog import disks, instances
from drystone.domain.disk import DiskState
from drystone.domain.errors import RefusalError
from drystone.domain.operation import Operation
from drystone.service.host.host import Host
from drystone.service.host.serving import Serving
from drystone.service.installation import Installation
from drystone.service.rows import endings


class Attach:
    """ATTACHING → ATTACHED."""

    def __init__(self, installation: Installation, host: Host, serving: Serving) -> None:
        self._in = installation
        self._host = host
        self._serving = serving

    async def run(self, operation: Operation) -> None:
        """Open the disk if it is not, and serve it the way its instance wants it."""
        assert operation.disk_id is not None
        disk_id = operation.disk_id
        instance = await self._in.db.read(lambda conn: instances.get(conn, operation.instance_id or ""))
        if instance is None:
            raise RefusalError("InvalidInstanceId.NotFound", f"Instance {operation.instance_id} is gone.")
        async with self._in.locks.graph(disk_id):
            served = await self._serving.serve(disk_id, instance.kind)

            def record(conn: Connection) -> None:
                values = {**served, "state": DiskState.ATTACHED, "error_prompt": ""}
                expected = {"state": DiskState.ATTACHING}
                if disks.compare_and_set(conn, disk_id, expected=expected, values=values):
                    endings.done(conn, operation, at=self._in.clock())

            await self._in.db.write(record)

    async def fail(self, operation: Operation, code: str, message: str) -> None:
        """Take back what was served; the disk is UNATTACHED again."""
        assert operation.disk_id is not None
        disk_id = operation.disk_id
        async with self._in.locks.graph(disk_id):
            disk = await self._host.row(disk_id)
            live = await self._host.running(disk)
            if live is not None:
                await self._host.withdraw(live)

            def record(conn: Connection) -> None:
                endings.disk_failed(
                    conn, operation, at=self._in.clock(), code=code, message=message,
                    state=DiskState.UNATTACHED, instance_id=None, nbd_socket=None, device=None,
                )  # fmt: skip

            await self._in.db.write(record)
        await self._host.release(disk_id)


class Detach:
    """DETACHING → UNATTACHED. A snapshot that is being uploaded goes on; the disk stays open until it ends."""

    def __init__(self, installation: Installation, host: Host, serving: Serving) -> None:
        self._in = installation
        self._host = host
        self._serving = serving

    async def run(self, operation: Operation) -> None:
        """Stop serving, then close the disk if nothing else needs it open."""
        assert operation.disk_id is not None
        disk_id = operation.disk_id
        async with self._in.locks.graph(disk_id):
            disk = await self._host.row(disk_id)
            live = await self._host.running(disk)
            if live is not None:
                await self._host.withdraw(live)
            else:
                # Whatever a daemon has left that died before.
                await self._host.settle(disk_id)

            def record(conn: Connection) -> None:
                values = {
                    "state": DiskState.UNATTACHED, "instance_id": None, "nbd_socket": None, "device": None,
                    "delete_with_instance": False, "error_prompt": "",
                }  # fmt: skip
                if disks.compare_and_set(conn, disk_id, expected={"state": DiskState.DETACHING}, values=values):
                    endings.done(conn, operation, at=self._in.clock())

            await self._in.db.write(record)
        await self._host.release(disk_id)

    async def fail(self, operation: Operation, code: str, message: str) -> None:
        """The device is in use, or the like: the disk stays attached."""
        assert operation.disk_id is not None
        disk_id = operation.disk_id

        def record(conn: Connection) -> None:
            endings.disk_failed(
                conn, operation, at=self._in.clock(), code=code, message=message, state=DiskState.ATTACHED
            )

        await self._in.db.write(record)
        await self._serving.revive(disk_id)
