"""Attaching and detaching."""

from dataclasses import dataclass

from drystone.catalog import instances
from drystone.domain.disk import DiskState
from drystone.domain.errors import Refusal, RefusalError
from drystone.domain.operation import Operation
from drystone.service.disk_locks import DiskLocks
from drystone.service.host.host import Host
from drystone.service.host.serving import Serving
from drystone.service.rows import endings
from drystone.service.transactions import Transactions

_NOBODYS = {"state": DiskState.UNATTACHED, "instance_id": None, "nbd_socket": None, "device": None}


@dataclass(frozen=True, slots=True, kw_only=True)
class Attach:
    """ATTACHING → ATTACHED."""

    transactions: Transactions
    locks: DiskLocks
    host: Host
    serving: Serving

    async def run(self, operation: Operation) -> None:
        """Open the disk if it is not, and serve it the way its instance wants it."""
        instance = await self.transactions.read(lambda conn: instances.get(conn, operation.instance_id or ""))
        if instance is None:
            raise RefusalError(Refusal.NO_SUCH_INSTANCE, f"Instance {operation.instance_id} is gone.")
        async with self.locks.graph(operation.on_disk):
            served = {**await self.serving.serve(operation.on_disk, instance.kind), "state": DiskState.ATTACHED}
            await self.transactions.change(
                lambda change: endings.disk_done(change, operation, was=DiskState.ATTACHING, **served)
            )

    async def fail(self, operation: Operation, code: str, message: str) -> None:
        """Take back what was served; the disk is UNATTACHED again."""
        async with self.locks.graph(operation.on_disk):
            live = await self.host.running(await self.host.row(operation.on_disk))
            if live is not None:
                await self.host.withdraw(live)
            await self.transactions.change(
                lambda change: endings.disk_failed(change, operation, code=code, message=message, **_NOBODYS)
            )
        await self.host.release(operation.on_disk)


@dataclass(frozen=True, slots=True, kw_only=True)
class Detach:
    """DETACHING → UNATTACHED. A snapshot that is being uploaded goes on; the disk stays open until it ends."""

    transactions: Transactions
    locks: DiskLocks
    host: Host
    serving: Serving

    async def run(self, operation: Operation) -> None:
        """Stop serving, then close the disk if nothing else needs it open."""
        async with self.locks.graph(operation.on_disk):
            live = await self.host.running(await self.host.row(operation.on_disk))
            if live is not None:
                await self.host.withdraw(live)
            else:
                # Whatever a daemon has left that died before.
                await self.host.settle(operation.on_disk)
            values = {**_NOBODYS, "delete_with_instance": False}
            await self.transactions.change(
                lambda change: endings.disk_done(change, operation, was=DiskState.DETACHING, **values)
            )
        await self.host.release(operation.on_disk)

    async def fail(self, operation: Operation, code: str, message: str) -> None:
        """The device is in use, or the like: the disk stays attached."""
        values = {"state": DiskState.ATTACHED}
        await self.transactions.change(
            lambda change: endings.disk_failed(change, operation, code=code, message=message, **values)
        )
        await self.serving.revive(operation.on_disk)
