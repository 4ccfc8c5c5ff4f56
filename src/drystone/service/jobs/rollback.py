"""Rolling a detached disk back to one of its snapshots (A8): only what differs is written."""

import asyncio
import functools
from dataclasses import dataclass
from pathlib import Path

import msgspec
import structlog
from sqlalchemy import Connection

from drystone.catalog import disks, extent_maps, operations, sessions, snapshots, verification
from drystone.domain import lineage
from drystone.domain import tracking as algebra
from drystone.domain.blocks import EMPTY, Ranges, union
from drystone.domain.disk import Disk, DiskState
from drystone.domain.errors import UnavailableError
from drystone.domain.ids import DiskId, SnapshotId
from drystone.domain.operation import Operation
from drystone.domain.payloads import PlanFile, RollbackPayload
from drystone.domain.tracking import TrackingState
from drystone.durable_files import sync_file
from drystone.engine.volume import volume_of
from drystone.service.disk_locks import DiskLocks
from drystone.service.host.host import Host
from drystone.service.jobs.progress import run_job
from drystone.service.kept_store import KeptStore
from drystone.service.operations import Operations
from drystone.service.rows import endings
from drystone.service.rows.bases import MOVE_REASON, with_living_base
from drystone.service.rows.tracking import disk_row, set_tracking, tracking_of
from drystone.service.rows.trees import tree_of
from drystone.service.transactions import Change, Transactions
from drystone.snapstore.expected import UNTRUSTED
from drystone.snapstore.layers import delta_addresses
from drystone.transfer.addresses import Endpoint, RangesFile
from drystone.transfer.jobs import RollbackJob, RollbackResult
from drystone.transfer.pool import WorkerPool
from drystone.transfer.ranges_file import write_ranges

log = structlog.get_logger()
ATTEMPTS_MAX = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollback:
    """PLANNING → WRITING → done. WRITING is repeated after a crash: outside the plan the disk agrees already."""

    transactions: Transactions
    operations: Operations
    locks: DiskLocks
    kept: KeptStore
    workers: WorkerPool
    host: Host

    async def run(self, operation: Operation) -> None:
        """Plan while tracking is good, record LOST, write, and only then set the base."""
        disk_id, target = operation.on_disk, operation.of_snapshot
        async with self.locks.image(disk_id), self.locks.graph(disk_id):
            if operation.phase == "PLANNING":
                await self._plan(operation, disk_id, target)
            await self._write(operation, disk_id, target)
        await self.host.release(disk_id)

    # --- PLANNING -----------------------------------------------------------------------------------------------------

    async def _plan(self, operation: Operation, disk_id: DiskId, target: SnapshotId) -> None:
        await self.host.close(disk_id)
        disk = await self.host.row(disk_id)
        ranges = await self._may_differ(disk, target)
        file = None
        if ranges is not None:
            path = self._plan_path(disk_id)
            file = await asyncio.to_thread(_write_plan, path, ranges)

        await self.transactions.change(lambda change: _begin(change, operation, file))

    def _plan_path(self, disk_id: DiskId) -> Path:
        return self.kept.room.layout.disk(disk_id) / "rollback-plan"

    async def _may_differ(self, disk: Disk, target: SnapshotId) -> Ranges | None:
        """Return blocks that contain all that differ from the target; None: any may (tracking is LOST)."""
        found = await asyncio.to_thread(volume_of(self.kept.room.layout, disk.id).recorded)
        checkpoint, dirty, identity = found or (None, EMPTY, None)
        fault = algebra.checkpoint_fault(tracking_of(disk), disk.id, checkpoint, identity)
        if disk.tracking != TrackingState.STOPPED or fault is not None:
            return None

        def collect(conn: Connection) -> tuple[frozenset[str], Ranges] | None:
            path = lineage.path_delta_maps(tree_of(conn, target), disk.base_snapshot_id, target)
            if path is None:
                return None
            maps = path | {name for name in disk.carry if not algebra.is_extents_id(name)}
            extents = extent_maps.union_of(conn, [name for name in disk.carry if algebra.is_extents_id(name)])
            return None if extents is None else (maps, extents)

        parts = await self.transactions.read(collect)
        if parts is None:
            return None
        maps, extents = parts
        try:
            addresses = await asyncio.to_thread(
                lambda: [delta_addresses(self.kept.store, name) for name in sorted(maps)]
            )
        except UNTRUSTED as error:
            # The target may be whole all the same: everything is compared with it.
            log.warning("rollback.path_damaged", disk_id=disk.id, snapshot_id=target, error=str(error))
            await self.transactions.change(lambda change: verification.doubt(change.conn, (), maps))
            return None
        return union(dirty, extents, *addresses)

    # --- WRITING ------------------------------------------------------------------------------------------------------

    async def _write(self, operation: Operation, disk_id: DiskId, target: SnapshotId) -> None:
        now = await self.transactions.read(lambda conn: operations.get(conn, operation.id))
        assert now is not None
        plan = now.payload_as(RollbackPayload).plan
        file = None if plan is None else RangesFile(path=plan.path, sha256=plan.sha256)
        volume = volume_of(self.kept.room.layout, disk_id)
        await asyncio.to_thread(volume.take_recorded)
        await self.transactions.change(lambda change: _stay_lost(change, disk_id))
        disk = await self.host.row(disk_id)
        manifest = await self.transactions.read(lambda conn: snapshots.get(conn, target))
        assert manifest is not None
        assert manifest.manifest is not None
        for attempt in range(1, ATTEMPTS_MAX + 1):
            try:
                result = await self._write_once(operation, disk, manifest.manifest, file)
                break
            except UnavailableError as error:
                if attempt == ATTEMPTS_MAX:
                    raise
                log.warning("rollback.attempt_failed", disk_id=disk_id, error=str(error))
        else:
            raise AssertionError("unreachable")
        await asyncio.to_thread(volume.record, disk.epoch + 1, EMPTY)
        await self.transactions.change(lambda change: _finish(change, operation, disk, result))
        self._plan_path(disk_id).unlink(missing_ok=True)
        log.info("disk.rolled_back", disk_id=disk_id, snapshot_id=target, written_bytes=result.written_bytes)

    async def _write_once(
        self, operation: Operation, disk: Disk, manifest: str, plan: RangesFile | None
    ) -> RollbackResult:
        """Write once; the daemon that had the image open has exited in order when this returns."""
        async with self.host.opened_alone(disk.id) as live:
            socket = await live.export_nbd()
            job = RollbackJob(
                store=self.kept.address(), manifest=manifest, disk=Endpoint(socket=str(socket), export=disk.id),
                plan=plan,
            )  # fmt: skip
            return await run_job(
                job,
                RollbackResult,
                account_id=operation.account_id,
                workers=self.workers,
                transactions=self.transactions,
                record=functools.partial(_progress, operation=operation),
            )

    async def fail(self, operation: Operation, code: str, message: str) -> None:
        """End it if nothing was touched yet; else try again later.

        From WRITING on the disk is neither old nor new: it stays ROLLBACKING until it is, for half a rollback must
        never be used.
        """
        disk_id, target = operation.on_disk, operation.of_snapshot

        def record(change: Change) -> bool:
            now = operations.get(change.conn, operation.id)
            if now is not None and now.phase == "PLANNING":
                sessions.fence(change.conn, operation.payload_as(RollbackPayload).session, at=change.at)
                snapshots.compare_and_set(change.conn, target, expected={}, values={"rolling_back": False})
                endings.disk_failed(change, operation, code=code, message=message, state=DiskState.UNATTACHED)
                return True
            prompt = {"error_prompt": f"rollback: {message}"[:500]}
            disks.compare_and_set(change.conn, disk_id, expected={}, values=prompt)
            return False

        if not await self.transactions.change(record):
            await self.operations.put_off(operation, code, message)


def _begin(change: Change, operation: Operation, file: RangesFile | None) -> None:
    endings.check_wanted(change, operation)
    now = disk_row(change, operation.on_disk)
    set_tracking(
        change, now, algebra.rollback_begun(tracking_of(now)), reason=f"rolling back to {operation.snapshot_id}"
    )
    plan = None if file is None else PlanFile(path=file.path, sha256=file.sha256)
    payload = msgspec.structs.replace(operation.payload_as(RollbackPayload), plan=plan)
    operations.update(change.conn, operation.id, updated_at=change.at, phase="WRITING", payload=payload)


def _stay_lost(change: Change, disk_id: DiskId) -> None:
    """Nobody has the half written disk open, whatever a row says (S6)."""
    now = disk_row(change, disk_id)
    if now.bitmap is not None or now.daemon is not None:
        set_tracking(change, now, algebra.lost(tracking_of(now)), reason="a rollback is under way", daemon=None)


def _progress(change: Change, percent: int, *, operation: Operation) -> None:
    operations.update(change.conn, operation.id, updated_at=change.at, percent=percent)
    values = {"rollback_percent": percent}
    disks.compare_and_set(change.conn, operation.on_disk, expected={"state": DiskState.ROLLBACKING}, values=values)


def _finish(change: Change, operation: Operation, disk: Disk, result: RollbackResult) -> None:
    conn, target = change.conn, operation.of_snapshot
    now = disk_row(change, disk.id)
    assert now.epoch == disk.epoch
    # S11: deleted meanwhile, it is pinned and DELETING: the base moves as it would have then.
    after = with_living_base(conn, algebra.initialized(tracking_of(now), target))
    set_tracking(
        change, now, after, reason=MOVE_REASON, state=DiskState.UNATTACHED, rollback_percent=100, error_prompt=""
    )
    extent_maps.keep_only(conn, disk.id, {name for name in after.carry if algebra.is_extents_id(name)})
    snapshots.compare_and_set(conn, target, expected={}, values={"rolling_back": False})
    wanted = operation.payload_as(RollbackPayload)
    sessions.commit(conn, wanted.session, at=change.at)
    payload = msgspec.structs.replace(
        wanted, read_bytes=result.read_bytes, written_bytes=result.written_bytes,
        differing_bytes=result.differing_bytes,
    )  # fmt: skip
    operations.update(conn, operation.id, updated_at=change.at, payload=payload)
    endings.done(change, operation)


def _write_plan(path: Path, ranges: Ranges) -> RangesFile:
    file = write_ranges(path, ranges)
    sync_file(path)
    sync_file(path.parent)
    return file
