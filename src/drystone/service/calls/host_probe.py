"""What the host knows of itself and its disks."""

import asyncio
import contextlib
from collections.abc import Sequence
from importlib.metadata import version

from drystone.catalog import disks, packs
from drystone.domain.disk import Disk
from drystone.domain.errors import IntegrityError
from drystone.domain.ids import DiskId
from drystone.engine.descriptions import write_disk
from drystone.engine.volume import volume_of
from drystone.service.host.host import Host
from drystone.service.installation import Installation
from drystone.service.upkeep.clock import SteadyClock
from drystone.service.views import DaemonFacts, HostFacts


class HostProbe:
    """Looks at this host and its images, and tells running disks of changed limits."""

    def __init__(self, *, installation: Installation, host: Host, clock: SteadyClock, qemu_version: str) -> None:
        self._in = installation
        self._host = host
        self._clock = clock
        self._qemu_version = qemu_version

    async def facts(self) -> HostFacts:
        """Return what is known of the host now."""
        space = self._in.space()
        rows = await self._in.db.read(disks.everything)
        stored = await self._in.db.read(lambda conn: packs.totals(conn).stored_bytes)
        daemons = tuple(
            DaemonFacts(name=daemon.name, pid=daemon.pid, disk_count=sum(disk.daemon == daemon.name for disk in rows))
            for daemon in self._host.daemons.running()
        )
        return HostFacts(
            version=version("drystone"), qemu_version=self._qemu_version, data_directory=str(self._in.layout.data),
            free_bytes=space.free_bytes, floor_bytes=space.floor_bytes, stored_bytes=stored, daemons=daemons,
            clock=self._clock.view(),
        )  # fmt: skip

    async def outdated(self, disk_ids: Sequence[DiskId]) -> frozenset[DiskId]:
        """Return those of the disks whose images an earlier version made; one that has none is none of them."""

        def look() -> frozenset[DiskId]:
            found = set()
            for disk_id in disk_ids:
                with contextlib.suppress(OSError, IntegrityError):
                    if volume_of(self._in.layout, disk_id).is_outdated():
                        found.add(disk_id)
            return frozenset(found)

        return await asyncio.to_thread(look)

    async def apply_limits(self, disk: Disk) -> None:
        """Make the running disk, if it runs, as fast as its row says, and note the row beside the image."""
        async with self._in.locks.graph(disk.id):
            live = await self._host.running(disk)
            if live is not None:
                await live.set_limits(self._in.limits(disk))
            await asyncio.to_thread(write_disk, self._in.layout, disk, self._in.store.store_id)
