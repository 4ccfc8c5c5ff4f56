"""The whole host: what a start finds, what dies meanwhile, and the end."""

import contextlib
import functools
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

import structlog
from sqlalchemy import Connection

from drystone.catalog import disks, operations, snapshots
from drystone.domain.disk import Disk, DiskState
from drystone.domain.disk_types import GIB
from drystone.domain.errors import DrystoneError, UnavailableError
from drystone.domain.event import EventKind, Facts, Trouble
from drystone.domain.ids import DiskId
from drystone.domain.operation import Operation
from drystone.engine.daemon import Daemon
from drystone.engine.host_device import HostDevices
from drystone.service.disk_locks import DiskLocks
from drystone.service.host.daemons import Daemons, close_unknown
from drystone.service.host.device_links import DeviceLinks
from drystone.service.host.host import Host
from drystone.service.host.serving import Serving
from drystone.service.host.snapshot_server import SlowSourceError, SnapshotServer
from drystone.service.operations import Operations
from drystone.service.rows import events
from drystone.service.rows.settling import give_flight_up
from drystone.service.transactions import Change, Transactions

log = structlog.get_logger()


@dataclass(slots=True, kw_only=True, eq=False)
class Watch:
    """Brings all disks in order at a start, serves them again when a daemon dies, and closes them at a stop."""

    transactions: Transactions
    locks: DiskLocks
    operations: Operations
    """Those on disks whose daemon died are taken up again."""
    devices: HostDevices
    daemons: Daemons
    snapshot_server: SnapshotServer
    host: Host
    serving: Serving
    _links: DeviceLinks = field(init=False)

    def __post_init__(self) -> None:
        self._links = DeviceLinks(
            transactions=self.transactions, locks=self.locks, devices=self.devices, bugs=self.operations.bugs
        )

    async def once(self) -> None:
        """Serve the disks of dead daemons again; operations on them find out by themselves."""
        hit = await self.check()
        if await self.transactions.read(disks.any_hydrating):
            # Guests wait for it: reads of what is not there yet hang while it is away.
            await self.snapshot_server.ensure()
        if not hit:
            return

        def theirs(conn: Connection) -> list[Operation]:
            return [operation for disk_id in hit for operation in operations.running_on_disk(conn, disk_id)]

        for operation in await self.transactions.read(theirs):
            self.operations.wake(operation.id)

    async def take_over(self) -> None:
        """At start: find the daemons again and settle every disk; nothing is opened."""
        async with self.daemons.taking_over():
            rows = await self.transactions.read(disks.everything)
            known = {disk.id: disk for disk in rows}
            for disk in rows:
                if disk.daemon is not None and disk.state is not DiskState.ROLLBACKING:
                    await self._settle_at_start(disk)
            for daemon in self.daemons.running():
                await self._close_strays(daemon, known)
            # After a reboot, or from an older installation: no link may lead to what is another's now (S101).
            await self._links.keep()

    async def revive_all(self) -> None:
        """At start: serve again every attached disk that is not served."""
        for disk in await self.transactions.read(disks.everything):
            await self.serving.revive(disk.id)

    async def _close_strays(self, daemon: Daemon, known: Mapping[DiskId, Disk]) -> None:
        """Close what is open in a daemon that no row has there. Logs what it cannot."""
        try:
            await close_unknown(daemon, known)
            await self.daemons.quit_if_empty(daemon)
        except DrystoneError as error:
            # No harm to the disk: while it is open there, QEMU's lock on its file keeps every other daemon out.
            log.error("daemon.strays_not_closed", daemon=daemon.name, error=str(error))  # noqa: TRY400 - as above

    async def _take_over_late(self, daemon: Daemon) -> None:
        """Do what a start does with a daemon, for one that did not answer then, beside everything else."""
        for disk in await self.transactions.read(disks.everything):
            if disk.daemon == daemon.name and disk.state is not DiskState.ROLLBACKING:
                await self._settle_at_start(disk)
                await self.serving.revive(disk.id)
        try:
            async with self.daemons.use(daemon.name):
                known = {disk.id: disk for disk in await self.transactions.read(disks.everything)}
                # A rollback opens its disk without a row that says where.
                if not any(disk.state is DiskState.ROLLBACKING and disk.id == daemon.name for disk in known.values()):
                    await close_unknown(daemon, known)
            await self.daemons.quit_if_empty(daemon)
        except DrystoneError as error:
            log.error("daemon.strays_not_closed", daemon=daemon.name, error=str(error))  # noqa: TRY400 - as above

    async def _settle_at_start(self, disk: Disk) -> None:
        """Settle one disk; one that cannot be settled must not keep the others from being served."""
        if self.daemons.is_silent(disk.daemon):
            return
        try:
            async with self.locks.graph(disk.id):
                await self.host.settle(disk.id)
                # S340: whoever changed the row may have been killed before the daemon was told.
                await self.host.apply_limits(disk.id)
        except Exception as error:  # noqa: BLE001 - noted: what fails here must not end the rest (S135)
            self.operations.bugs.note(error, "disk.not_settled", severe=True, disk_id=disk.id)

    async def _keep_devices(self) -> None:
        """Keep links where the block devices are, and give back a device that somebody has taken away."""
        for disk_id in await self._links.keep():
            await self.serving.revive(disk_id)

    async def check(self) -> list[DiskId]:
        """Look for daemons that died and settle their disks; serve every attached disk that is not served.

        Returns:
            The disks whose daemon died.
        """
        await self.daemons.ask_silent()
        for daemon in self.daemons.taken_over_late():
            await self._take_over_late(daemon)
            self.daemons.settled_late(daemon)
        dead = self.daemons.dead()
        hit: list[Disk] = []
        if dead:
            rows = await self.transactions.read(disks.everything)
            # Not before the rows are known: whoever cannot be read now must not be forgotten.
            self.daemons.seen_dead(dead)
            hit = [disk for disk in rows if disk.daemon in dead and disk.state is not DiskState.ROLLBACKING]
        for name in dead:
            log.error("daemon.died", daemon=name)
        for disk in hit:
            async with self.locks.graph(disk.id):
                try:
                    now = await self.transactions.read(lambda conn, disk=disk: disks.get(conn, disk.id))  # type: ignore[misc]
                    if now is not None and now.daemon in dead and await self.host.running(now) is None:
                        await self.host.settle(disk.id)
                except Exception as error:  # noqa: BLE001 - noted: what fails here must not end the rest (S135)
                    self.daemons.still_dark(str(disk.daemon))
                    self.operations.bugs.note(error, "disk.not_settled", severe=True, disk_id=disk.id)
        self.daemons.forget_dead(dead)
        # Whoever noticed first, a job or this: an attached disk is served.
        for disk in await self.transactions.read(disks.unserved):
            await self.serving.revive(disk.id)
        await self._keep_devices()
        if dead:
            # After everything that guests wait for.
            await self.transactions.change(functools.partial(_tell, dead=dead, hit=hit))
        return [disk.id for disk in hit]

    async def release_idle(self) -> None:
        """At start: close detached disks that nothing needs open any more. Logs what it cannot."""
        for disk in await self.transactions.read(disks.everything):
            if disk.daemon is None:
                continue
            try:
                await self.host.release(disk.id)
            except DrystoneError as error:
                # It stays open; the others, and whoever waits for this start, must not suffer for it.
                log.error("disk.not_released", disk_id=disk.id, error=str(error))  # noqa: TRY400 - as above

    async def stop(self) -> None:
        """Close every disk in order and end all daemons. Attached disks stay attached in the rows.

        Raises:
            UnavailableError: A disk is in use on this host; nothing was closed.
        """
        rows = await self.transactions.read(disks.everything)
        for disk in rows:
            used = await self.devices.user_of(disk.id) if disk.device else None
            if used is not None:
                raise UnavailableError(f"disk {disk.id} is in use on this host: it is {used}; end that first")
        open_now = [disk for disk in rows if disk.daemon is not None]
        async with contextlib.AsyncExitStack() as stack:
            if await self._waits(open_now):  # S271
                # A read that waits for a bucket would keep its disk from being closed, for as long as that is away.
                sizes = await self.transactions.read(_sizes_of_sources)
                await stack.enter_async_context(self.snapshot_server.refusing(sizes))
            for disk in open_now:
                async with self.locks.graph(disk.id):
                    # A snapshot in flight is given up first (A10: committed or merged back).
                    given_up = functools.partial(give_flight_up, disk_id=disk.id, why="the host was stopped")
                    await self.transactions.change(given_up)
                    await self.host.settle(disk.id)
                    await self.host.close(disk.id)
        for daemon in self.daemons.running():
            with contextlib.suppress(UnavailableError):
                await self.daemons.quit(daemon)
        await self.snapshot_server.end()

    async def _waits(self, open_now: Sequence[Disk]) -> bool:
        """Tell whether anything waits for a snapshot that is not read in time."""
        for disk in open_now:
            live = await self.host.running(disk)
            if live is None or not (await live.look()).hydrates:
                continue
            try:
                await self.snapshot_server.calm(live.daemon.pid)
            except SlowSourceError as error:
                log.warning("host.reads_refused", disk_id=disk.id, error=str(error))
                return True
        return False

    async def leave(self) -> None:
        """Let go of all daemons; they go on serving."""
        await self.daemons.leave()
        self.devices.let_go()


def _tell(change: Change, *, dead: Collection[str], hit: Sequence[Disk]) -> None:
    """Tell of storage daemons that died; their disks are served again, or will be told of otherwise."""
    for name in sorted(dead):
        disks_of_it = sum(disk.daemon == name for disk in hit)
        events.note(change, Trouble(kind=EventKind.DAEMON_DIED, subject_id=name), Facts(disks=disks_of_it))


def _sizes_of_sources(conn: Connection) -> dict[str, int]:
    """Return the sizes of the snapshots that disks read from."""
    sources = {disk.source_snapshot_id for disk in disks.everything(conn) if disk.source_snapshot_id is not None}
    return {one.id: one.size_gib * GIB for one in snapshots.get_many(conn, sources).values()}
