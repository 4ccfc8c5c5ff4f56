"""This host's storage daemons: which disk is open in which, and what the rows say of it.

Opening and closing follow A10, settling follows `domain.settling.judge_daemon`. Every function that changes a disk's
graph wants the disk's graph lock held. Rows are changed by transactions that read the row again, since a base may
move at any time (A5).
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import structlog
from sqlalchemy import Connection

from drystone.catalog import disks, operations
from drystone.domain import tracking as algebra
from drystone.domain.blocks import Ranges
from drystone.domain.disk import Disk, DiskState
from drystone.domain.disk_types import DISK_TYPES, Limits
from drystone.domain.errors import DrystoneError, UnavailableError
from drystone.domain.ids import DiskId, InstanceId, StoreId
from drystone.domain.settling import Bitmap, DaemonPlan, Phase, Verdict, judge_daemon
from drystone.domain.tracking import TrackingState
from drystone.engine.descriptions import write_disk
from drystone.engine.host_device import HostDevices
from drystone.engine.layout import Layout, node
from drystone.engine.live_disk import LiveDisk, OpenDisk, Seen, disks_open
from drystone.engine.qmp import QmpRefusedError
from drystone.engine.volume import Volume, volume_of
from drystone.service.disk_locks import DiskLocks
from drystone.service.host.daemons import Daemons
from drystone.service.host.disk_keys import DiskKeys
from drystone.service.host.snapshot_server import SnapshotServer
from drystone.service.rows.opening import record_closed, record_opening
from drystone.service.rows.settling import record_failing, record_lost, record_settled
from drystone.service.rows.tracking import flight_of, tracking_of
from drystone.service.transactions import Change, Transactions

log = structlog.get_logger()
SETTLE_STEPS_MAX = 4
"""Judging twice is enough (FAIL, then FAILED); more means that the daemon changes under us."""


@dataclass(slots=True, kw_only=True, eq=False)
class Host:
    """What is open in the storage daemons of this host, and the verbs for it."""

    transactions: Transactions
    locks: DiskLocks
    layout: Layout
    store_id: StoreId
    """The store of which the description beside a disk speaks."""
    devices: HostDevices
    daemons: Daemons
    snapshot_server: SnapshotServer
    throttle: bool
    """Whether disks are as fast as their types say, and no faster."""
    _held: set[DiskId] = field(init=False, default_factory=set)
    """Disks of which nothing is to be copied now: a command is sent that waits for what was asked for (F13)."""

    async def running(self, disk: Disk) -> LiveDisk | None:
        """Return the disk where its row's daemon has it open, None if it has not.

        Raises:
            UnavailableError: The row's daemon runs and does not answer: guests may be writing through it (S25).
        """
        found = await self._looked_at(disk)
        return None if found is None else found[0]

    async def _looked_at(self, disk: Disk) -> tuple[LiveDisk, Seen] | None:
        """Return the open disk with one reading of its graph; None, and errors, as `running`."""
        daemon = None if disk.daemon is None else await self.daemons.found(disk.daemon)
        if daemon is None:
            return None
        live = LiveDisk(daemon=daemon, id=disk.id)
        seen = await live.look()
        return (live, seen) if seen.whole else None

    async def opened(self, disk_id: DiskId) -> tuple[Disk, LiveDisk]:
        """Return the disk, open and with a bitmap that records; open it if it is not."""
        disk = await self.row(disk_id)
        found = await self._looked_at(disk)
        if found is not None and disk.bitmap is not None:
            live, seen = found
            held = seen.bitmaps.get(disk.bitmap)
            if held is not None and held.recording and not held.inconsistent:
                return disk, live
        if disk.daemon is not None:
            await self.settle(disk_id)
            disk = await self.row(disk_id)
            open_still = await self.running(disk)
            if open_still is not None:
                return disk, open_still
        return await self._open(disk)

    async def row(self, disk_id: DiskId) -> Disk:
        """Return the disk's row."""
        disk = await self.transactions.read(lambda conn: disks.get(conn, disk_id))
        if disk is None:
            raise UnavailableError(f"disk {disk_id} is gone")
        return disk

    async def volume(self, disk: Disk) -> Volume:
        """Return a disk's volume, with what opens it if it is encrypted.

        Raises:
            KeyMissingError: The key for that is not on this machine.
            IntegrityError: What it is wrapped in is damaged.
        """
        key = await asyncio.to_thread(DiskKeys(layout=self.layout).of, disk)
        return volume_of(self.layout, disk.id, key)

    async def keyed(self, disk: Disk) -> Disk:
        """Return the row of a disk that is being made, with a key for its image if it is to be encrypted.

        Before the image is made the key is durable, wrapped, in the row and beside the image (S382).
        """
        if disk.encryption is not None and not disk.encryption.wrap:
            made = await asyncio.to_thread(DiskKeys(layout=self.layout).wrapped, disk)
            values = {"encryption": made}

            def keep(change: Change) -> bool:
                return disks.compare_and_set(
                    change.conn, disk.id, expected={"state": DiskState.CREATING}, values=values
                )

            if not await self.transactions.change(keep):
                raise UnavailableError(f"disk {disk.id} is no longer being created")
            disk = await self.row(disk.id)
        await self.describe(disk)
        return disk

    # --- open and close (A10) -----------------------------------------------------------------------------------------

    async def _open(self, disk: Disk) -> tuple[Disk, LiveDisk]:
        """Checkpoint away, durably → row LIVE in a new epoch → daemon opens with an empty bitmap."""
        volume = await self.volume(disk)
        hydrating = await asyncio.to_thread(volume.has_backing)
        name = disk.id if hydrating or disk.instance_id is None else disk.instance_id
        if self.daemons.is_silent(name):
            raise UnavailableError(f"storage daemon {name} runs and does not answer")
        async with self.daemons.use(name):
            return await self._open_in(name, disk.id, volume, hydrating=hydrating)

    async def _open_in(self, name: str, disk_id: DiskId, volume: Volume, *, hydrating: bool) -> tuple[Disk, LiveDisk]:
        daemon = await self.daemons.get(name)
        found = await asyncio.to_thread(volume.take_recorded)
        disk = await self.transactions.change(lambda change: record_opening(change, disk_id, found, daemon=name))
        assert disk.bitmap is not None
        backing = None
        if hydrating:
            assert disk.source_snapshot_id is not None, disk_id
            backing = await self.snapshot_server.serving(disk.source_snapshot_id)
        live = LiveDisk(daemon=daemon, id=disk_id)
        spec = OpenDisk(volume=volume, limits=self._limits(disk), bitmap=disk.bitmap, backing=backing)
        try:
            try:
                await live.open(spec)
            except QmpRefusedError:
                # What a crash of ours had left of an earlier try is gone now.
                await live.open(spec)
        except DrystoneError as error:
            # S16: what was told to a daemon that did not answer may be done yet.
            kept = isinstance(error, UnavailableError) and daemon.alive()
            await self._lose(disk_id, f"opening failed: {error}", daemon=name if kept else None)
            raise UnavailableError(f"disk {disk_id} cannot be opened: {error}") from error
        return disk, live

    async def close(self, disk_id: DiskId) -> None:
        """Stop in order: exports away → bitmap read → nodes closed → image durable → checkpoint → row STOPPED.

        Nothing is in flight on the disk. Afterwards no daemon has it open.
        """
        await self.settle_flight(disk_id)
        disk = await self.row(disk_id)
        live = await self.running(disk)
        if live is None:
            if disk.daemon is not None:
                await self.settle(disk_id)
            return
        await self.withdraw(live)
        try:
            await self._join_bitmaps(disk, live)
            ranges = await self._read_tracking(disk, live)
            await live.close()
            await self.daemons.quit_if_empty(live.daemon)
        except UnavailableError as error:
            if live.daemon.alive():
                raise
            log.warning("disk.close_failed", disk_id=disk_id, error=str(error))
            await self._lose(disk_id, f"the daemon died while the disk was closed: {error}")
            return
        if ranges is not None:
            await asyncio.to_thread(volume_of(self.layout, disk_id).record, disk.epoch, ranges)
        kept = ranges is not None
        await self.transactions.change(lambda change: record_closed(change, disk_id, epoch=disk.epoch, kept=kept))

    async def _join_bitmaps(self, disk: Disk, live: LiveDisk) -> None:
        """Have one bitmap hold all that the checkpoint must, if a snapshot without a view is not yet NORMAL (A13)."""
        pair = flight_of(await self.transactions.read(lambda conn: operations.running_on_disk(conn, disk.id)))
        if pair is None or pair[1].phase is not Phase.SPOOLED:
            return
        freeze, held = pair[1].freeze, (await live.look()).bitmaps
        if freeze.old_bitmap in held and freeze.new_bitmap == disk.bitmap:
            await live.merge_back(live=freeze.new_bitmap, frozen=freeze.old_bitmap)

    async def _read_tracking(self, disk: Disk, live: LiveDisk) -> Ranges | None:
        """Return what the live bitmap marks; None if tracking is LOST (or must be)."""
        if disk.tracking != TrackingState.LIVE or disk.bitmap is None:
            return None
        held = (await live.look()).bitmaps
        if set(held) != {disk.bitmap} or not held[disk.bitmap].recording or held[disk.bitmap].inconsistent:
            log.error("tracking.unexpected_bitmaps", disk_id=disk.id, found=sorted(held), expected=disk.bitmap)
            return None
        return await live.read_bitmap(disk.bitmap)

    async def release(self, disk_id: DiskId) -> None:
        """Close the disk if nothing needs it open: no instance, no hydration, no operation that reads it."""

        def idle(conn: Connection) -> bool:
            disk = disks.get(conn, disk_id)
            if disk is None or disk.daemon is None or disk.hydrating:
                return False
            if disk.state not in {DiskState.UNATTACHED, DiskState.TORECYCLE}:
                return False
            return not operations.running_on_disk(conn, disk_id)

        async with self.locks.graph(disk_id):
            if await self.transactions.read(idle):
                await self.close(disk_id)

    async def discard(self, disk: Disk) -> None:
        """Close a disk that goes, without a checkpoint."""
        live = await self.running(disk)
        if live is not None:
            await self.withdraw(live)
            await live.close()
            await self.daemons.quit_if_empty(live.daemon)

    @contextlib.asynccontextmanager
    async def opened_alone(self, disk_id: DiskId) -> AsyncIterator[LiveDisk]:
        """Within this, a disk whose tracking is LOST is open in a new daemon of its own, and no row says so.

        The daemon has exited in order afterwards; after an error it is left, and ended at the next try.
        """
        volume = await self.volume(await self.row(disk_id))
        await self.daemons.kill(disk_id)
        live = LiveDisk(daemon=await self.daemons.get(disk_id), id=disk_id)
        await live.open(OpenDisk(volume=volume, limits=None, bitmap="alone", backing=None))
        yield live
        await live.close()
        await self.daemons.quit(live.daemon)

    def disks_more(self, instance_id: InstanceId) -> int:
        """Return how many more disks the instance's storage daemon has descriptors for."""
        return self.daemons.disks_more(instance_id)

    # --- what a row says beside it ------------------------------------------------------------------------------------

    def _limits(self, disk: Disk) -> Limits | None:
        """Return what the disk's throttle group enforces; None if throttling is off."""
        if not self.throttle:
            return None
        return DISK_TYPES[disk.type].limits(disk.size_gib, disk.throughput_performance)

    async def apply_row(self, disk_id: DiskId) -> None:
        """Make the disk, if it is open, as fast as its row says, and note the row beside the image."""
        await self.describe(await self.apply_limits(disk_id))

    async def apply_limits(self, disk_id: DiskId) -> Disk:
        """Make the disk, if it is open, as fast as its row says now (S340); return the row.

        The disk's graph lock is held: who changed the row later applies it later.
        """
        disk = await self.row(disk_id)
        live = await self.running(disk)
        if live is not None:
            await live.set_limits(self._limits(disk))
        return disk

    async def describe(self, disk: Disk) -> None:
        """Note the row beside the image, for an adoption (P10)."""
        await asyncio.to_thread(write_disk, self.layout, disk, self.store_id)

    async def withdraw(self, live: LiveDisk) -> None:
        """Stop serving the disk; a block device of this host goes first, flushed."""
        await self.devices.detach(live.id)
        await live.unexport()

    async def _abandon(self, disk: Disk) -> None:
        """Clean up what a dead daemon left of a disk: devices, stale FUSE mounts, scratch."""
        directories = {self.layout.daemon(name) for name in (disk.id, disk.daemon, disk.instance_id) if name}
        ends = (".raw", ".pull", ".look")
        files = [directory / f"{disk.id}{end}" for directory in sorted(directories) for end in ends]
        stays = disk.instance_id is not None and disk.state is not DiskState.DETACHING
        await self.devices.abandon(disk.id, files, served_again=stays)

    @contextlib.asynccontextmanager
    async def calm(self, disk: Disk, live: LiveDisk) -> AsyncIterator[None]:
        """Within this, commands that drain the disk's graph are short (S37); the disk's graph lock is held.

        Raises:
            SlowSourceError: The disk reads from a snapshot that is not read in time just now.
        """
        # A disk whose source was lost in a recovery reads from it still, and its row does not say so.
        if disk.hydrating or await asyncio.to_thread(volume_of(self.layout, disk.id).has_backing):
            async with self._calm(live):
                yield
        else:
            yield

    @contextlib.asynccontextmanager
    async def _calm(self, live: LiveDisk) -> AsyncIterator[None]:
        """`calm` for a disk that hydrates."""
        outermost = live.id not in self._held
        self._held.add(live.id)
        try:
            await self.snapshot_server.calm(live.daemon.pid)
            yield
        finally:
            if outermost:
                self._held.discard(live.id)

    def copying_held(self, disk_id: DiskId) -> bool:
        """Tell whether nothing of a disk that hydrates is to be copied now (F13)."""
        return disk_id in self._held

    # --- settling -----------------------------------------------------------------------------------------------------

    async def settle(self, disk_id: DiskId) -> Verdict:
        """Bring daemon and rows of a disk together after anything unexpected, and end what must end.

        Returns:
            RESUME if a snapshot in flight can go on from its view, SEND if it needs none; otherwise its operation has
            ended.
        """
        for _ in range(SETTLE_STEPS_MAX):
            verdict = await self._settle_once(disk_id)
            if verdict is not Verdict.FAIL:
                return verdict
        raise UnavailableError(f"disk {disk_id}: its storage daemon does not come to rest")

    async def settle_flight(self, disk_id: DiskId) -> None:
        """Let a snapshot that is NORMAL already clean up, so that other work on the disk can begin."""
        if await self.transactions.read(lambda conn: flight_of(operations.running_on_disk(conn, disk_id))) is not None:
            await self.settle(disk_id)

    async def _settle_once(self, disk_id: DiskId) -> Verdict:
        disk, running = await self.transactions.read(
            lambda conn: (disks.get(conn, disk_id), operations.running_on_disk(conn, disk_id))
        )
        if disk is None:
            raise UnavailableError(f"disk {disk_id} is gone")
        live, seen = await self._looked_at(disk) or (None, None)
        pair = flight_of(running)
        operation, flight = pair or (None, None)
        found: dict[str, Bitmap] | None = None
        if seen is None:
            await self._close_rest(disk)
            await self._abandon(disk)
        else:
            found = {
                name: Bitmap(recording=bitmap.recording, inconsistent=bitmap.inconsistent, busy=bitmap.busy)
                for name, bitmap in seen.bitmaps.items()
            }
        plan = judge_daemon(tracking_of(disk), found, flight, view=seen is not None and seen.frozen)
        goes_on = plan.verdict in {Verdict.RESUME, Verdict.SEND}
        given_up = operation is not None and bool(operation.error_code) and goes_on
        if given_up or plan.verdict is Verdict.FAIL:
            # S34: only here, for the old bitmap was judged just now: once FAILING, an absent one counts as merged.
            assert operation is not None
            await self.transactions.change(lambda change: record_failing(change, operation, plan))
            return Verdict.FAIL
        recording = plan.bitmap
        if live is not None and seen is not None:
            recording = await self._carry_out(disk, live, seen, plan)
        is_open = live is not None
        await self.transactions.change(
            lambda change: record_settled(change, disk_id, operation, plan, recording, is_open=is_open)
        )
        if plan.lost:
            log.warning("tracking.lost", disk_id=disk_id, reason=plan.lost)
        return plan.verdict

    async def _close_rest(self, disk: Disk) -> None:
        """Close what a daemon that runs has of a disk that is not open as a whole: its lock would keep others out."""
        daemon = None if disk.daemon is None else await self.daemons.found(disk.daemon)
        if daemon is not None and disk.id in await disks_open(daemon):
            log.warning("disk.open_in_part", disk_id=disk.id, daemon=daemon.name)
            await LiveDisk(daemon=daemon, id=disk.id).close()

    async def _carry_out(self, disk: Disk, live: LiveDisk, seen: Seen, plan: DaemonPlan) -> str | None:
        """Act on the daemon as planned; return the bitmap that records afterwards."""
        scratch = self.layout.scratch_file(disk.id)
        if plan.verdict is not Verdict.RESUME:
            async with contextlib.AsyncExitStack() as stack:
                if seen.hydrates and seen.has_view and await live.served_as() is not None:
                    await stack.enter_async_context(self._calm(live))
                await live.unfreeze(scratch=scratch)
        else:
            for name in plan.release:
                log.info("bitmap.released", disk_id=disk.id, bitmap=name)
            if plan.release:
                await live.daemon.remove_exports(node("view", disk.id))
        for name in plan.disable:
            await live.disable_bitmap(name)
        if plan.merge is not None and seen.bitmaps.keys() >= set(plan.merge):
            await live.merge_back(live=plan.merge[0], frozen=plan.merge[1])
        for name in plan.remove:
            if name in seen.bitmaps:
                await live.drop_bitmap(name)
        if plan.bitmap is not None:
            return plan.bitmap
        # Tracking is LOST: a new bitmap lets the next snapshot be a rescan that heals it (A6).
        now, taken = await self.row(disk.id), (await live.look()).bitmaps
        for attempt in range(1, 1000):
            name = algebra.bitmap_name(now.epoch, now.base_snapshot_id, None, attempt)
            # Never the name that the row has: who compares the disk must see that this is another bitmap (S26).
            if name != now.bitmap and name not in taken:
                await live.add_bitmap(name)
                return name
        raise UnavailableError(f"disk {disk.id}: no free name for a bitmap")

    async def _lose(self, disk_id: DiskId, reason: str, *, daemon: str | None = None) -> None:
        """Record that no daemon serves the disk, which may have it open, and that its tracking is LOST."""
        await self.transactions.change(lambda change: record_lost(change, disk_id, reason, daemon=daemon))
        log.warning("tracking.lost", disk_id=disk_id, reason=reason)
