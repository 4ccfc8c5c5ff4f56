"""Attached disks are served to their instances: over NBD, or as block devices of this host."""

import asyncio
import contextlib
from dataclasses import dataclass

import structlog

from drystone.catalog import disks, instances
from drystone.domain.disk import Disk, DiskState
from drystone.domain.errors import DrystoneError, SpaceError
from drystone.domain.ids import DiskId
from drystone.domain.instance import InstanceKind
from drystone.engine import host_device
from drystone.engine.ballast import Ballast
from drystone.engine.host_device import HostDevices
from drystone.engine.live_disk import LiveDisk
from drystone.service.disk_locks import DiskLocks
from drystone.service.host.daemons import Daemons
from drystone.service.host.host import Host
from drystone.service.rounds import Bugs
from drystone.service.transactions import Transactions

log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class Serving:
    """Serves disks, and those again that ought to be served and are not."""

    transactions: Transactions
    locks: DiskLocks
    devices: HostDevices
    daemons: Daemons
    host: Host
    ballast: Ballast
    """Given up where there is no room for opening a disk."""
    bugs: Bugs

    async def serve(self, disk_id: DiskId, kind: InstanceKind) -> dict[str, object]:
        """Serve the disk the way the instance wants it; return the row's `nbd_socket` and `device`."""
        _disk, live = await self.host.opened(disk_id)
        wanted = "nbd" if kind is InstanceKind.NBD or host_device.kernel_has_nbd() else "fuse"
        if await live.served_as() not in {None, wanted}:
            await self.host.withdraw(live)
        if kind is InstanceKind.NBD:
            socket = await live.export_nbd()
            return {"nbd_socket": str(socket), "device": None}
        if wanted == "nbd":
            socket = await live.export_nbd()
            device = await self.devices.attach_nbd(disk_id, socket)
        else:
            device = await self.devices.attach_loop(disk_id, await live.export_fuse())
        return {"nbd_socket": None, "device": str(device)}

    async def revive(self, disk_id: DiskId) -> None:
        """Serve an attached disk again if its daemon died or the host was stopped. Logs what it cannot."""
        disk = await self.transactions.read(lambda conn: disks.get(conn, disk_id))
        if disk is None or disk.state is not DiskState.ATTACHED or disk.instance_id is None:
            return
        if self.daemons.is_silent(disk.daemon):
            return
        async with self.locks.graph(disk_id):
            try:
                # Asked, not believed: who was to serve it again may have failed or died at it.
                live = await self.host.running(disk)
                if live is not None and await live.served_as() is not None and await self._reachable(disk, live):
                    return
                instance = await self.transactions.read(lambda conn: instances.get(conn, disk.instance_id or ""))
                if instance is None:
                    return
                values = await self.serve(disk_id, instance.kind)
                await self.transactions.change(
                    lambda change: disks.compare_and_set(change.conn, disk_id, expected={}, values=values)
                )
            except Exception as error:  # noqa: BLE001 - noted: what fails here must not end the rest (S135)
                why = self.bugs.note(error, "disk.not_served", severe=True, disk_id=disk_id)
                # Until it is served its guest stands: what is kept for the catalog is kept for this.
                if isinstance(why, SpaceError):
                    self.ballast.give(at_start=True)
                await self._note_unserved(disk_id)
                return
            log.info("disk.revived", disk_id=disk_id)

    async def _note_unserved(self, disk_id: DiskId) -> None:
        """Have the row of a disk that is open nowhere say no address, so that it is tried again (S382)."""
        values = {"nbd_socket": None, "device": None}
        with contextlib.suppress(DrystoneError):
            await self.transactions.change(
                lambda change: disks.compare_and_set(change.conn, disk_id, expected={"daemon": None}, values=values)
            )

    async def _reachable(self, disk: Disk, live: LiveDisk) -> bool:
        """Tell whether who uses an exported disk finds it where the row says: somebody may have taken its device."""
        if disk.device is not None:
            return await asyncio.to_thread(self.devices.device_of, disk.id) is not None
        return disk.nbd_socket == str(live.nbd_socket)
