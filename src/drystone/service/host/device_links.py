"""Keeping the links of block devices where the devices are, while disks are attached and detached (S105).

Another program may take a device away, or plant a link, at any time. So all of them are looked at again and again; a
disk that is not in order is put right under its graph lock, by what its row and the kernel say then.
"""

import asyncio
from dataclasses import dataclass, field

from sqlalchemy import Connection

from drystone.catalog import disks
from drystone.domain.ids import DiskId
from drystone.engine.host_device import HostDevices
from drystone.service.disk_locks import DiskLocks
from drystone.service.rounds import Bugs
from drystone.service.transactions import Transactions

DOUBTFUL_MAX = 500
"""Links of disks that may not be ours that are looked up at once; the others are when these are gone."""


@dataclass(slots=True, kw_only=True, eq=False)
class DeviceLinks:
    """The links and the held devices of this installation's disks."""

    transactions: Transactions
    locks: DiskLocks
    devices: HostDevices
    bugs: Bugs
    _failed: dict[DiskId | None, str] = field(init=False, default_factory=dict)
    """What was logged, by disk: rounds are two a second."""

    async def keep(self) -> list[DiskId]:
        """Put right what is not in order. Logs what it cannot: it is tried again in the next round.

        Returns:
            Those that ought to have a device, and have none.
        """
        attached = {disk.id for disk in await self.transactions.read(disks.block_devices)}
        try:
            seen = await asyncio.to_thread(self.devices.look, attached)
        except OSError as error:
            self._note(None, error)
            return []
        self._failed.pop(None, None)
        wrong = seen.wrong
        if seen.doubtful:
            asked = sorted(seen.doubtful)[:DOUBTFUL_MAX]
            wrong |= await self.transactions.read(lambda conn: disks.known(conn, asked))
        return [disk_id for disk_id in sorted(wrong) if not await self._put_right(disk_id)]

    async def _put_right(self, disk_id: DiskId) -> bool:
        """Put one disk right; tell whether it has a device if it ought to have one, or whether that is not known."""
        lock = self.locks.graph(disk_id)
        if lock.locked():
            return True  # Who attaches or detaches it sees to that; a rollback holds it for hours.

        def served(conn: Connection) -> bool:
            disk = disks.get(conn, disk_id)
            return disk is not None and disk.instance_id is not None

        try:
            async with lock:
                may = await self.transactions.read(served)
                found = await self.devices.relink(disk_id, served=may)
        except OSError as error:
            self._note(disk_id, error)
            return True
        self._failed.pop(disk_id, None)
        return found or not may

    def _note(self, disk_id: DiskId | None, error: OSError) -> None:
        if self._failed.get(disk_id) != str(error):
            self._failed[disk_id] = str(error)
            self.bugs.note(error, "device.not_linked", severe=True, disk_id=disk_id)
