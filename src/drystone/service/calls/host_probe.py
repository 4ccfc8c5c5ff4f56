"""What the host knows of itself and its disks."""

import asyncio
import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version

from drystone.catalog import disks, packs
from drystone.domain.errors import IntegrityError
from drystone.domain.ids import DiskId
from drystone.engine.volume import volume_of
from drystone.objects.limited import Limits
from drystone.service.disk_locks import DiskLocks
from drystone.service.host.daemons import Daemons
from drystone.service.host.host import Host
from drystone.service.room import Room
from drystone.service.transactions import Transactions
from drystone.service.upkeep.clock import SteadyClock
from drystone.service.views import DaemonFacts, HostFacts


@dataclass(frozen=True, slots=True, kw_only=True)
class HostProbe:
    """Looks at this host and its images, and tells running disks of changed limits."""

    transactions: Transactions
    locks: DiskLocks
    room: Room
    host: Host
    daemons: Daemons
    clock: SteadyClock
    qemu_version: str
    limits: Limits
    """Of the bandwidth to the bucket."""

    async def facts(self) -> HostFacts:
        """Return what is known of the host now."""
        space = self.room.look()
        rows = await self.transactions.read(disks.everything)
        stored = await self.transactions.read(lambda conn: packs.totals(conn).stored_bytes)
        daemons = tuple(
            DaemonFacts(name=daemon.name, pid=daemon.pid, disk_count=sum(disk.daemon == daemon.name for disk in rows))
            for daemon in self.daemons.running()
        )
        return HostFacts(
            version=version("drystone"), qemu_version=self.qemu_version, data_directory=str(self.room.layout.data),
            free_bytes=space.free_bytes, floor_bytes=space.floor_bytes, stored_bytes=stored, daemons=daemons,
            store_bytes_per_s=self.limits.at(self.transactions.clock()), clock=self.clock.view(),
        )  # fmt: skip

    async def outdated(self, disk_ids: Sequence[DiskId]) -> frozenset[DiskId]:
        """Return those of the disks whose images an earlier version made; one that has none is none of them."""

        def look() -> frozenset[DiskId]:
            found = set()
            for disk_id in disk_ids:
                with contextlib.suppress(OSError, IntegrityError):
                    if volume_of(self.room.layout, disk_id).is_outdated():
                        found.add(disk_id)
            return frozenset(found)

        return await asyncio.to_thread(look)

    async def apply_limits(self, disk_id: DiskId) -> None:
        """Make the running disk, if it runs, as fast as its row says, and note the row beside the image (S340)."""
        async with self.locks.graph(disk_id):
            await self.host.apply_row(disk_id)
