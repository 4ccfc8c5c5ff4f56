"""From LOST back to LIVE without a snapshot: disk and base are compared beside the guest (A6)."""

import asyncio
import functools
from dataclasses import dataclass

import structlog
from sqlalchemy import Connection

from drystone.catalog import disks, extent_maps, operations, sessions, snapshots, verification
from drystone.catalog.extent_maps import RANGES_MAX, ExtentMap
from drystone.codec.checkpoint import extents_name
from drystone.domain import tracking as algebra
from drystone.domain.blocks import EMPTY, Ranges, count, union
from drystone.domain.errors import DrystoneError, UnavailableError
from drystone.domain.ids import DiskId, PackId, SessionId, SnapshotId
from drystone.domain.operation import Operation
from drystone.domain.payloads import SessionPayload
from drystone.service.cancelling import breakable
from drystone.service.disk_locks import DiskLocks
from drystone.service.host.host import Host
from drystone.service.host.looks import look_at
from drystone.service.kept_store import KeptStore
from drystone.service.rows import endings
from drystone.service.rows.comparisons import comparable
from drystone.service.rows.tracking import disk_row, flight_of, set_tracking, tracking_of
from drystone.service.transactions import Change, Transactions
from drystone.snapstore.scrub import coarse
from drystone.transfer.addresses import Look
from drystone.transfer.jobs import CompareJob, CompareResult
from drystone.transfer.pool import WorkerPool
from drystone.transfer.ranges_file import read_ranges

log = structlog.get_logger()
SLICE_SECONDS = 2.0
"""The background's worker is kept this long: whoever else waits for it has it then."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Begun:
    """What the row said when the comparison began; it is worth something only while the row says so still (S26)."""

    base: SnapshotId
    bitmap: str
    epoch: int
    session: SessionId
    manifest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Compare:
    """Compares slice by slice, then one transaction makes tracking LIVE. Starts over after a crash of ours.

    S26: the bitmap that the row names recorded before the first slice began, and base, bitmap and epoch are in the
    last transaction what they were then. So each address at which disk and base differ was found, or is in the bitmap.
    """

    transactions: Transactions
    locks: DiskLocks
    kept: KeptStore
    background: WorkerPool
    host: Host

    async def run(self, operation: Operation) -> None:
        """Compare all of the disk."""
        disk_id = operation.on_disk
        begun = await self.transactions.read(lambda conn: self._look(conn, operation, None))
        parts: list[Ranges] = [EMPTY]
        doubtful: set[PackId] = set()
        at, read_bytes, quickest_s = 0, 0, None
        path = self.kept.room.layout.scratch / f"{operation.id}.found"
        try:
            while True:
                look = await self._export(operation, disk_id, begun)
                job = CompareJob(
                    store=self.kept.address(), manifest=begun.manifest, disk=look, start_block=at,
                    seconds_max=SLICE_SECONDS, found=str(path), quickest_s=quickest_s,
                )  # fmt: skip
                result = await breakable(self.background.run(job, CompareResult, account=operation.account_id))
                parts.append(await asyncio.to_thread(read_ranges, result.found))
                at, quickest_s = result.next_block, result.quickest_s
                doubtful |= set(result.doubtful_packs)
                read_bytes += result.read_bytes
                if at >= result.size_blocks:
                    break
                percent = min(99, at * 100 // result.size_blocks)
                await self.transactions.change(functools.partial(_progress, operation=operation, percent=percent))
        finally:
            path.unlink(missing_ok=True)
        found = coarse(union(*parts), RANGES_MAX)
        async with self.locks.graph(disk_id):
            await self._check_daemon(disk_id, begun)
            await self.transactions.change(lambda change: self._heal(change, operation, begun, found, doubtful))
            await self._withdraw(disk_id)
        await self.host.release(disk_id)
        log.info(
            "tracking.healed", disk_id=disk_id, base=begun.base, differing_blocks=count(found), read_bytes=read_bytes
        )

    def _look(self, conn: Connection, operation: Operation, before: _Begun | None) -> _Begun:
        """Return what the comparison is of.

        Raises:
            UnavailableError: There is nothing to compare (any more), or a snapshot does it already.
        """
        disk = None if operation.disk_id is None else disks.get(conn, operation.disk_id)
        now = operations.get(conn, operation.id)
        if disk is None or now is None or not comparable(disk):
            raise UnavailableError("the disk needs no comparison any more")
        assert disk.base_snapshot_id is not None
        assert disk.bitmap is not None
        if flight_of(operations.running_on_disk(conn, disk.id)) is not None:
            raise UnavailableError("a snapshot of the disk is being taken, which compares it")
        base = snapshots.get(conn, disk.base_snapshot_id)
        session = now.payload_as(SessionPayload).session
        if base is None or base.manifest is None or base.id not in sessions.reads(conn, session):
            raise UnavailableError("the disk's base has moved")
        found = _Begun(base=base.id, bitmap=disk.bitmap, epoch=disk.epoch, session=session, manifest=base.manifest)
        if before is not None and found != before:
            raise UnavailableError("the disk's base or bitmap is another than when the comparison began")
        return found

    async def _export(self, operation: Operation, disk_id: DiskId, begun: _Begun) -> Look:
        """Return an export of the disk, after everything was found to be as it was."""
        async with self.locks.graph(disk_id):
            await self.transactions.read(lambda conn: self._look(conn, operation, begun))
            await self._check_daemon(disk_id, begun)
            live = await self.host.running(await self.host.row(disk_id))
            if live is None:
                raise UnavailableError("the disk is not open any more")
            return await look_at(live)

    async def _check_daemon(self, disk_id: DiskId, begun: _Begun) -> None:
        live = await self.host.running(await self.host.row(disk_id))
        state = None if live is None else (await live.look()).bitmaps.get(begun.bitmap)
        if state is None or not state.recording or state.inconsistent:
            raise UnavailableError(f"the bitmap {begun.bitmap} does not record any more")

    def _heal(self, change: Change, operation: Operation, begun: _Begun, found: Ranges, doubtful: set[PackId]) -> None:
        conn = change.conn
        self._look(conn, operation, begun)
        disk = disk_row(change, operation.on_disk)
        extents = extents_name(disk.id, begun.epoch, found)
        healed = algebra.rescanned(tracking_of(disk), base=begun.base, bitmap=begun.bitmap, extents=extents)
        if healed is None or not sessions.commit(conn, begun.session, at=change.at):
            raise UnavailableError("the disk's base or bitmap is another than when the comparison began")
        extent_maps.keep_only(conn, disk.id, ())
        if extents is not None:
            extent_maps.insert(conn, ExtentMap(id=extents, disk_id=disk.id, ranges=found, blocks=count(found)))
        set_tracking(change, disk, healed)
        verification.doubt(conn, doubtful, ())
        endings.done(change, operation)

    async def _withdraw(self, disk_id: DiskId) -> None:
        live = await self.host.running(await self.host.row(disk_id))
        if live is not None:
            await live.remove_comparison()

    async def fail(self, operation: Operation, code: str, message: str) -> None:
        """Nothing has changed: tracking is LOST still, and a later comparison begins anew."""
        disk_id = operation.on_disk

        def end(change: Change) -> bool:
            sessions.fence(change.conn, operation.payload_as(SessionPayload).session, at=change.at)
            endings.failed(change, operation, code=code, message=message)
            return disks.get(change.conn, disk_id) is not None

        if await self.transactions.change(end):
            async with self.locks.graph(disk_id):
                try:
                    await self._withdraw(disk_id)
                except DrystoneError as error:
                    log.warning("compare.export_left", disk_id=disk_id, error=str(error))
            await self.host.release(disk_id)


def _progress(change: Change, *, operation: Operation, percent: int) -> None:
    operations.update(change.conn, operation.id, updated_at=change.at, percent=percent)
