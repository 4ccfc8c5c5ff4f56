"""This host's storage daemons: which disk is open in which, and what the rows say of it.

Opening and closing follow A10, settling follows `domain.settling.judge_daemon`. Every function that changes a disk's
graph wants the disk's graph lock held. Rows are changed by transactions that read the row again, since a base may
move at any time (A5).
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping

import structlog
from sqlalchemy import Connection

from drystone.catalog import disks, instances, operations
from drystone.domain import tracking as algebra
from drystone.domain.blocks import Ranges
from drystone.domain.disk import Disk, DiskState
from drystone.domain.errors import DrystoneError, SpaceError, UnavailableError
from drystone.domain.ids import DiskId
from drystone.domain.instance import InstanceKind
from drystone.domain.settling import Bitmap, DaemonPlan, Verdict, judge_daemon
from drystone.domain.tracking import TrackingState
from drystone.engine import host_device
from drystone.engine.daemon import Daemon
from drystone.engine.layout import node
from drystone.engine.live_disk import LiveDisk, OpenDisk, Seen, disks_open
from drystone.engine.volume import volume_of
from drystone.service.host.daemons import Daemons, close_unknown
from drystone.service.host.device_links import DeviceLinks
from drystone.service.host.snapshot_server import SnapshotServer
from drystone.service.installation import Installation
from drystone.service.rows.opening import record_closed, record_opening
from drystone.service.rows.settling import give_flight_up, record_failing, record_lost, record_settled
from drystone.service.rows.tracking import flight_of, tracking_of

log = structlog.get_logger()
SETTLE_STEPS_MAX = 4
"""Judging twice is enough (FAIL, then FAILED); more means that the daemon changes under us."""


class Host:
    """The storage daemons of this host and what is open in them."""

    def __init__(self, installation: Installation, snapshot_server: SnapshotServer) -> None:
        self._in = installation
        self._snapshot_server = snapshot_server
        self._links = DeviceLinks(installation)
        self.daemons = Daemons(installation)

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
        return await self._open(disk_id)

    async def row(self, disk_id: DiskId) -> Disk:
        """Return the disk's row."""
        disk = await self._in.db.read(lambda conn: disks.get(conn, disk_id))
        if disk is None:
            raise UnavailableError(f"disk {disk_id} is gone")
        return disk

    # --- open and close (A10) -----------------------------------------------------------------------------------------

    async def _open(self, disk_id: DiskId) -> tuple[Disk, LiveDisk]:
        """Checkpoint away, durably → row LIVE in a new epoch → daemon opens with an empty bitmap."""
        disk = await self.row(disk_id)
        hydrating = await asyncio.to_thread(volume_of(self._in.layout, disk_id).has_backing)
        name = disk.id if hydrating or disk.instance_id is None else disk.instance_id
        if self.daemons.is_silent(name):
            raise UnavailableError(f"storage daemon {name} runs and does not answer")
        async with self.daemons.use(name):
            return await self._open_in(name, disk_id, hydrating=hydrating)

    async def _open_in(self, name: str, disk_id: DiskId, *, hydrating: bool) -> tuple[Disk, LiveDisk]:
        volume = volume_of(self._in.layout, disk_id)
        daemon = await self.daemons.get(name)
        found = await asyncio.to_thread(volume.take_recorded)

        disk, bitmap = await self._in.db.write(lambda conn: record_opening(conn, disk_id, found, daemon=name))
        backing = None
        if hydrating:
            assert disk.source_snapshot_id is not None, disk_id
            backing = await self._snapshot_server.serving(disk.source_snapshot_id)
        live = LiveDisk(daemon=daemon, id=disk_id)
        try:
            await live.close()  # What a crash of ours may have left of an earlier try.
            await live.open(OpenDisk(volume=volume, limits=self._in.limits(disk), bitmap=bitmap, backing=backing))
        except DrystoneError as error:
            # S16: what was told to a daemon that did not answer may be done yet.
            kept = isinstance(error, UnavailableError) and daemon.alive()
            await self._lose(disk_id, f"opening failed: {error}", daemon=name if kept else None)
            raise UnavailableError(f"disk {disk_id} cannot be opened: {error}") from error
        return await self.row(disk_id), live

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
            await asyncio.to_thread(volume_of(self._in.layout, disk_id).record, disk.epoch, ranges)
        kept = ranges is not None
        await self._in.db.write(lambda conn: record_closed(conn, disk_id, epoch=disk.epoch, kept=kept))

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

        async with self._in.locks.graph(disk_id):
            if await self._in.db.read(idle):
                await self.close(disk_id)

    # --- serving ------------------------------------------------------------------------------------------------------

    async def serve(self, disk_id: DiskId, kind: InstanceKind) -> dict[str, object]:
        """Serve the disk the way the instance wants it; return the row's `nbd_socket` and `device`."""
        _disk, live = await self.opened(disk_id)
        wanted = "nbd" if kind is InstanceKind.NBD or host_device.kernel_has_nbd() else "fuse"
        if await live.served_as() not in {None, wanted}:
            await self.withdraw(live)
        if kind is InstanceKind.NBD:
            socket = await live.export_nbd()
            return {"nbd_socket": str(socket), "device": None}
        if wanted == "nbd":
            socket = await live.export_nbd()
            device = await self._in.devices.attach_nbd(disk_id, socket)
        else:
            device = await self._in.devices.attach_loop(disk_id, await live.export_fuse())
        return {"nbd_socket": None, "device": str(device)}

    async def withdraw(self, live: LiveDisk) -> None:
        """Stop serving the disk; a block device of this host goes first, flushed."""
        await self._in.devices.detach(live.id)
        await live.unexport()

    async def _abandon(self, disk: Disk) -> None:
        """Clean up what a dead daemon left of a disk: devices, stale FUSE mounts, scratch."""
        directories = {self._in.layout.daemon(name) for name in (disk.id, disk.daemon, disk.instance_id) if name}
        ends = (".raw", ".pull", ".look")
        files = [directory / f"{disk.id}{end}" for directory in sorted(directories) for end in ends]
        stays = disk.instance_id is not None and disk.state is not DiskState.DETACHING
        await self._in.devices.abandon(disk.id, files, served_again=stays)
        self._in.layout.scratch_file(disk.id).unlink(missing_ok=True)

    @contextlib.asynccontextmanager
    async def calm(self, live: LiveDisk) -> AsyncIterator[None]:
        """Within this, commands that drain the disk's graph are short (S37); the disk's graph lock is held.

        Raises:
            SlowSourceError: The disk reads from a snapshot that is not read in time just now.
        """
        if not (await live.look()).hydrates:
            yield
            return
        held = self._in.held_hydrations
        outermost = live.id not in held
        held.add(live.id)
        try:
            await self._snapshot_server.calm(live.daemon.pid)
            yield
        finally:
            if outermost:
                held.discard(live.id)

    # --- settling -----------------------------------------------------------------------------------------------------

    async def settle(self, disk_id: DiskId) -> Verdict:
        """Bring daemon and rows of a disk together after anything unexpected, and end what must end.

        Returns:
            RESUME if a snapshot in flight can go on from its view; otherwise its operation has ended.
        """
        for _ in range(SETTLE_STEPS_MAX):
            verdict = await self._settle_once(disk_id)
            if verdict is not Verdict.FAIL:
                return verdict
        raise UnavailableError(f"disk {disk_id}: its storage daemon does not come to rest")

    async def settle_flight(self, disk_id: DiskId) -> None:
        """Let a snapshot that is NORMAL already clean up, so that other work on the disk can begin."""
        if await self._in.db.read(lambda conn: flight_of(operations.running_on_disk(conn, disk_id))) is not None:
            await self.settle(disk_id)

    async def _settle_once(self, disk_id: DiskId) -> Verdict:
        disk = await self.row(disk_id)
        live, seen = await self._looked_at(disk) or (None, None)
        running = await self._in.db.read(lambda conn: operations.running_on_disk(conn, disk_id))
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
        given_up = operation is not None and bool(operation.error) and plan.verdict is Verdict.RESUME
        if given_up or plan.verdict is Verdict.FAIL:
            # S34: only here, for the old bitmap was judged just now: once FAILING, an absent one counts as merged.
            assert operation is not None
            at = self._in.clock()
            await self._in.db.write(lambda conn: record_failing(conn, operation, plan, at=at))
            return Verdict.FAIL
        recording = plan.bitmap
        if live is not None and seen is not None:
            recording = await self._carry_out(disk, live, seen, plan)
        is_open, at = live is not None, self._in.clock()
        await self._in.db.write(
            lambda conn: record_settled(conn, disk_id, operation, plan, recording, is_open=is_open, at=at)
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
        scratch = self._in.layout.scratch_file(disk.id)
        if plan.verdict in {Verdict.FAILED, Verdict.CLEAN, Verdict.NONE}:
            async with contextlib.AsyncExitStack() as stack:
                if seen.hydrates and seen.has_view and await live.served_as() is not None:
                    await stack.enter_async_context(self.calm(live))
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
        await self._in.db.write(lambda conn: record_lost(conn, disk_id, reason, daemon=daemon))
        log.warning("tracking.lost", disk_id=disk_id, reason=reason)

    # --- the whole host -----------------------------------------------------------------------------------------------

    async def take_over(self) -> None:
        """At start: find the daemons again and settle every disk; nothing is opened."""
        async with self.daemons.taking_over():
            rows = await self._in.db.read(disks.everything)
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
        for disk in await self._in.db.read(disks.everything):
            await self.revive(disk.id)

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
        for disk in await self._in.db.read(disks.everything):
            if disk.daemon == daemon.name and disk.state is not DiskState.ROLLBACKING:
                await self._settle_at_start(disk)
                await self.revive(disk.id)
        try:
            async with self.daemons.use(daemon.name):
                known = {disk.id: disk for disk in await self._in.db.read(disks.everything)}
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
            async with self._in.locks.graph(disk.id):
                await self.settle(disk.id)
        except Exception as error:  # noqa: BLE001 - noted: what fails here must not end the rest (S135)
            self._in.bugs.note(error, "disk.not_settled", severe=True, disk_id=disk.id)

    async def revive(self, disk_id: DiskId) -> None:
        """Serve an attached disk again if its daemon died or the host was stopped. Logs what it cannot."""
        disk = await self._in.db.read(lambda conn: disks.get(conn, disk_id))
        if disk is None or disk.state is not DiskState.ATTACHED or disk.instance_id is None:
            return
        if self.daemons.is_silent(disk.daemon):
            return
        async with self._in.locks.graph(disk_id):
            try:
                # Asked, not believed: who was to serve it again may have failed or died at it.
                live = await self.running(disk)
                if live is not None and await live.served_as() is not None and await self._reachable(disk, live):
                    return
                instance = await self._in.db.read(lambda conn: instances.get(conn, disk.instance_id or ""))
                if instance is None:
                    return
                values = await self.serve(disk_id, instance.kind)
                await self._in.db.write(lambda conn: disks.compare_and_set(conn, disk_id, expected={}, values=values))
            except Exception as error:  # noqa: BLE001 - noted: what fails here must not end the rest (S135)
                why = self._in.bugs.note(error, "disk.not_served", severe=True, disk_id=disk_id)
                # Until it is served its guest stands: what is kept for the catalog is kept for this.
                if isinstance(why, SpaceError):
                    self._in.ballast.give(at_start=True)
                return
            log.info("disk.revived", disk_id=disk_id)

    async def _reachable(self, disk: Disk, live: LiveDisk) -> bool:
        """Tell whether who uses an exported disk finds it where the row says: somebody may have taken its device."""
        if disk.device is not None:
            return await asyncio.to_thread(self._in.devices.device_of, disk.id) is not None
        return disk.nbd_socket == str(live.nbd_socket)

    async def _keep_devices(self) -> None:
        """Keep links where the block devices are, and give back a device that somebody has taken away."""
        for disk_id in await self._links.keep():
            await self.revive(disk_id)

    async def check(self) -> list[DiskId]:
        """Look for daemons that died and settle their disks; serve every attached disk that is not served.

        Returns:
            The disks whose daemon died.
        """
        await self.daemons.ask_silent()
        for daemon in self.daemons.taken_over_late():
            await self._take_over_late(daemon)
            self.daemons.late.discard(daemon.name)
        dead = self.daemons.dead()
        hit: list[Disk] = []
        if dead:
            rows = await self._in.db.read(disks.everything)
            self.daemons.died -= (
                dead  # Not before the rows are known: whoever cannot be read now must not be forgotten.
            )
            hit = [disk for disk in rows if disk.daemon in dead and disk.state is not DiskState.ROLLBACKING]
        for name in dead:
            log.error("daemon.died", daemon=name)
        for disk in hit:
            async with self._in.locks.graph(disk.id):
                try:
                    now = await self._in.db.read(lambda conn, disk=disk: disks.get(conn, disk.id))  # type: ignore[misc]
                    if now is not None and now.daemon in dead and await self.running(now) is None:
                        await self.settle(disk.id)
                except Exception as error:  # noqa: BLE001 - noted: what fails here must not end the rest (S135)
                    self.daemons.died.add(str(disk.daemon))
                    self._in.bugs.note(error, "disk.not_settled", severe=True, disk_id=disk.id)
        self.daemons.forget_dead(dead)
        # Whoever noticed first, a job or this: an attached disk is served.
        for disk in await self._in.db.read(disks.unserved):
            await self.revive(disk.id)
        await self._keep_devices()
        return [disk.id for disk in hit]

    async def release_idle(self) -> None:
        """At start: close detached disks that nothing needs open any more. Logs what it cannot."""
        for disk in await self._in.db.read(disks.everything):
            if disk.daemon is None:
                continue
            try:
                await self.release(disk.id)
            except DrystoneError as error:
                # It stays open; the others, and whoever waits for this start, must not suffer for it.
                log.error("disk.not_released", disk_id=disk.id, error=str(error))  # noqa: TRY400 - as above

    async def stop(self) -> None:
        """Close every disk in order and end all daemons. Attached disks stay attached in the rows.

        Raises:
            UnavailableError: A disk is in use on this host; nothing was closed.
        """
        rows = await self._in.db.read(disks.everything)
        for disk in rows:
            used = await self._in.devices.user_of(disk.id) if disk.device else None
            if used is not None:
                raise UnavailableError(f"disk {disk.id} is in use on this host: it is {used}; end that first")
        for disk in await self._in.db.read(disks.everything):
            if disk.daemon is None:
                continue
            async with self._in.locks.graph(disk.id):
                await self.settle_for_stop(disk)
                await self.close(disk.id)
        for daemon in self.daemons.running():
            with contextlib.suppress(UnavailableError):
                await self.daemons.quit(daemon)
        await self._snapshot_server.end()

    async def settle_for_stop(self, disk: Disk) -> None:
        """Give up a snapshot in flight before the disk is closed (A10: committed or merged back)."""
        at = self._in.clock()
        await self._in.db.write(lambda conn: give_flight_up(conn, disk.id, at=at, why="the host was stopped"))
        await self.settle(disk.id)

    async def leave(self) -> None:
        """Let go of all daemons; they go on serving."""
        await self.daemons.leave()
        self._in.devices.let_go()
