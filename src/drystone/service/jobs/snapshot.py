"""From a frozen view to a NORMAL snapshot (A2-A4), and what a failure undoes."""

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import msgspec
import structlog
from sqlalchemy import Connection

from drystone.catalog import disks, extent_maps, operations, packs, proofs, sessions, snapshots
from drystone.codec.manifest import ANCESTRY_MAX, DiskAttributes
from drystone.domain import tracking as algebra
from drystone.domain.clock import age_s
from drystone.domain.disk import Disk
from drystone.domain.disk_types import GIB
from drystone.domain.errors import SnapshotBrokenError, UnavailableError
from drystone.domain.ids import DiskId, SessionId, SnapshotId
from drystone.domain.operation import Operation
from drystone.domain.payloads import SnapshotPayload
from drystone.domain.session import Pack, Session
from drystone.domain.settling import Phase, Verdict
from drystone.domain.snapshot import Snapshot, SnapshotRecord, SnapshotState
from drystone.domain.times import moment
from drystone.domain.tracking import FrozenBase
from drystone.engine import freezing, graph
from drystone.engine.live_disk import LiveDisk
from drystone.service.host.host import Host
from drystone.service.installation import Installation
from drystone.service.jobs.progress import run_job
from drystone.service.rows.tracking import tracking_columns, tracking_of
from drystone.service.rows.tracking_audit import audit_plan, judge_audit
from drystone.service.transactions import Change
from drystone.service.upkeep import epoch
from drystone.service.upkeep.maps import collect_maps
from drystone.service.upkeep.sweep import Sweep
from drystone.transfer.addresses import Endpoint, RangesFile
from drystone.transfer.jobs import ManifestTemplate, UploadJob, UploadResult
from drystone.transfer.ranges_file import write_ranges

log = structlog.get_logger()
ATTEMPTS_MAX = 3
"""A worker that dies is replaced this often; each attempt has a session of its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Uploaded:
    """A snapshot whose objects are durable; it is not NORMAL before `commit`."""

    operation: Operation
    session: SessionId
    result: UploadResult
    job: UploadJob


class TakeSnapshot:
    """FROZEN → COMMITTED → done; FAILING → failed. The freeze itself happened in the call (P1).

    A member of a group is carried on by the group's operation (`TakeSnapshotGroup`).
    """

    def __init__(self, installation: Installation, host: Host, sweep: Sweep) -> None:
        self._in = installation
        self._host = host
        self._sweep = sweep

    async def run(self, operation: Operation) -> None:
        """Read the view in a worker, commit, clean up. After a restart it goes on from the phase in the row."""
        if operation.payload_as(SnapshotPayload).group is not None:
            return
        assert operation.disk_id is not None
        disk_id = operation.disk_id
        async with self._in.locks.graph(disk_id):
            current = await self._in.db.read(lambda conn: operations.get(conn, operation.id))
            assert current is not None
            try:
                verdict = await self._host.settle(disk_id)
            except UnavailableError as error:
                # Nothing is known of the view, which may be whole (S25).
                log.warning("snapshot.waits", disk_id=disk_id, error=str(error))
                self._in.operations.wake_later(operation)
                return
            if verdict is Verdict.RESUME:
                disk = await self._host.row(disk_id)
                # Not `opened`: it would open the disk anew if the daemon died this instant, without the view.
                live = await self._host.running(disk)
                if live is None:
                    raise SnapshotBrokenError(f"the storage daemon of disk {disk_id} died before the upload")
                await self._finish_freeze(disk, live, current.payload_as(SnapshotPayload).freeze)
                await self._record_frozen(operation)
        if verdict is Verdict.RESUME:
            await self._upload_and_commit(operation, disk_id)
            try:
                async with self._in.locks.graph(disk_id):
                    await self._host.settle(disk_id)
            except UnavailableError as error:
                log.warning("snapshot.waits", disk_id=disk_id, error=str(error))
                self._in.operations.wake_later(operation)
                return
        await self._host.release(disk_id)

    async def _finish_freeze(self, disk: Disk, live: LiveDisk, freeze: FrozenBase) -> None:
        target = freezing.FreezeTarget(
            disk_id=disk.id, size_bytes=disk.size_gib * GIB, frozen=freeze.old_bitmap or "",
            live=freeze.new_bitmap, scratch=self._in.layout.scratch_file(disk.id),
        )  # fmt: skip
        await freezing.finish_freeze(live.daemon, [target])

    async def _record_frozen(self, operation: Operation) -> None:
        def record(conn: Connection) -> None:
            now = operations.get(conn, operation.id)
            if now is not None and now.phase == Phase.FREEZING:
                frozen = now.payload_as(SnapshotPayload)
                payload = msgspec.structs.replace(frozen, taken_at=frozen.taken_at or self._in.clock())
                operations.update(
                    conn, operation.id, updated_at=self._in.clock(), phase=Phase.FROZEN.value, payload=payload
                )

        await self._in.db.write(record)

    async def _upload_and_commit(self, operation: Operation, disk_id: DiskId) -> None:
        uploaded = await self.upload(operation, disk_id)
        carried = await self._in.db.write(functools.partial(self.commit, uploaded=uploaded))
        await epoch.publish(self._in.transactions, self._in.kept)
        if carried:
            await collect_maps(self._in.transactions, self._in.kept)
        log_committed(uploaded)

    async def upload(self, operation: Operation, disk_id: DiskId) -> Uploaded:
        """Have a worker write the snapshot's objects, again if a worker dies; each attempt has its own session.

        Raises:
            SnapshotBrokenError: The frozen view is gone.
            DrystoneError: It cannot be written.
        """
        for attempt in range(1, ATTEMPTS_MAX + 1):
            session = await self._in.db.write(lambda conn: self._next_session(conn, operation))
            try:
                result, job = await self._upload(operation, disk_id, session)
            except (SnapshotBrokenError, UnavailableError) as error:
                # A broken view never comes back; a dead worker does.
                if isinstance(error, SnapshotBrokenError) or attempt == ATTEMPTS_MAX or not await self._whole(disk_id):
                    raise
                log.warning("snapshot.attempt_failed", snapshot_id=operation.snapshot_id, error=str(error))
                continue
            return Uploaded(operation=operation, session=session, result=result, job=job)
        raise AssertionError("the last attempt returns or raises")

    async def _whole(self, disk_id: DiskId) -> bool:
        disk = await self._host.row(disk_id)
        live = await self._host.running(disk)
        return live is not None and (await live.look()).frozen

    def _next_session(self, conn: Connection, operation: Operation) -> SessionId:
        """Return the session of this attempt: that of the call, or after it a new one with the same reads."""
        now = operations.get(conn, operation.id)
        assert now is not None
        known = now.payload_as(SnapshotPayload)
        old = known.session
        if not known.session_used:
            payload = msgspec.structs.replace(known, session_used=True)
            operations.update(conn, operation.id, updated_at=self._in.clock(), payload=payload)
            return old
        at = self._in.clock()
        new = Session(
            id=self._in.ids.session(), kind="snapshot", operation_id=operation.id, created_at=at,
            snapshot_id=operation.snapshot_id,
        )  # fmt: skip
        if not sessions.transfer(conn, old, new, at=at):
            raise UnavailableError(f"session {old} of snapshot {operation.snapshot_id} was fenced")
        payload = msgspec.structs.replace(known, session=new.id, maybe_trimmed=True)
        operations.update(conn, operation.id, updated_at=at, payload=payload)
        return new.id

    async def _upload(
        self, operation: Operation, disk_id: DiskId, session: SessionId
    ) -> tuple[UploadResult, UploadJob]:
        disk = await self._host.row(disk_id)
        live = await self._host.running(disk)
        if live is None:
            raise SnapshotBrokenError(f"the storage daemon of disk {disk_id} died before the snapshot was uploaded")
        allocation = None
        if disk.hydrating:
            async with self._in.locks.graph(disk_id):
                file = await live.export_hydration()
            if file is None:
                export = graph.hydration_export_name(disk_id)
                allocation = Endpoint(socket=str(live.nbd_socket), export=export)
        job, scratch_files = await self._in.db.read(
            lambda conn: self._describe(conn, operation, disk, live, session, allocation)
        )
        try:
            result = await run_job(
                job,
                UploadResult,
                account_id=operation.account_id,
                workers=self._in.workers,
                transactions=self._in.transactions,
                record=lambda change, percent: self._progress(change, operation, percent),
            )
        finally:
            for path in scratch_files:
                path.unlink(missing_ok=True)
        return result, job

    def _progress(self, change: Change, operation: Operation, percent: int) -> None:
        assert operation.snapshot_id is not None
        if operations.update(change.conn, operation.id, updated_at=change.at, percent=percent):
            expected = {"state": SnapshotState.CREATING}
            snapshots.compare_and_set(
                change.conn, operation.snapshot_id, expected=expected, values={"percent": percent}
            )

    def _describe(
        self,
        conn: Connection,
        operation: Operation,
        disk: Disk,
        live: LiveDisk,
        session: SessionId,
        allocation: Endpoint | None,
    ) -> tuple[UploadJob, list[Path]]:
        now = operations.get(conn, operation.id)
        assert now is not None
        assert operation.snapshot_id is not None
        known = now.payload_as(SnapshotPayload)
        freeze = known.freeze
        snapshot = snapshots.get(conn, operation.snapshot_id)
        assert snapshot is not None
        base = None if freeze.base is None else snapshots.get(conn, freeze.base)
        assert (base is None) == (freeze.base is None), "the session pins the base"
        carry_maps = tuple(sorted(name for name in freeze.carry if not algebra.is_extents_id(name)))
        extents = extent_maps.union_of(conn, [name for name in freeze.carry if algebra.is_extents_id(name)])
        files: list[Path] = []
        carry_ranges: tuple[RangesFile, ...] = ()
        if extents is not None and len(extents):
            path = self._in.layout.scratch / f"{operation.id}.carry"
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            carry_ranges = (write_ranges(path, extents),)
            files.append(path)
        mode: Literal["delta", "rescan", "full"] = "rescan" if freeze.lost or extents is None else "delta"
        if freeze.base is None:
            mode = "full"
        audit = None
        if mode == "delta" and base is not None:
            audit = audit_plan(
                disk, everything=known.audit is not None, since_s=age_s(base.created_at, snapshot.created_at)
            )
        # S35, F2: an attempt trims what it does not read itself, so the next one's sample too. One that audits all
        # of the disk trims nothing; after any other nothing is audited, for only what is marked is sure to be there.
        trim = mode == "delta" and (audit is None or audit.blocks_max is not None)
        if trim and known.maybe_trimmed:
            audit = None
        assert known.taken_at is not None, "FROZEN has an instant"
        template = ManifestTemplate(
            account=disk.account_id, disk=disk.id, size_bytes=snapshot.size_gib * GIB,
            taken_at=moment(known.taken_at).isoformat(), ancestry=_ancestry(conn, base),
            tracking_reason=known.tracking_reason or "changes were tracked since the parent",
            freeze_ms=known.freeze_ms or 0.0,
            consistency=known.consistency,
            disk_attributes=DiskAttributes(type=disk.type, name=disk.name, usage=disk.usage),
        )  # fmt: skip
        job = UploadJob(
            store=self._in.store_address(), session=session, snapshot=operation.snapshot_id, template=template,
            view=Endpoint(socket=str(live.nbd_socket), export=graph.view_export_name(disk.id)),
            mode=mode, base_manifest=None if base is None else base.manifest, bitmap=freeze.old_bitmap,
            carry_maps=carry_maps, carry_ranges=carry_ranges, allocation=allocation,
            hydrates_from=disk.source_snapshot_id if allocation is not None else None,
            trim=str(live.trim_socket) if trim else None, audit=audit,
        )  # fmt: skip
        return job, files

    def commit(self, conn: Connection, *, uploaded: Uploaded) -> bool:
        """A3, in one transaction: session, snapshot, base, packs, operation.

        Returns:
            Whether the disk carried delta maps, which it now lets go of.

        Raises:
            SnapshotBrokenError: It was given up meanwhile; the transaction must not be committed.
        """
        operation, session, result, job = uploaded.operation, uploaded.session, uploaded.result, uploaded.job
        at = self._in.clock()
        now = operations.get(conn, operation.id)
        assert now is not None
        assert operation.disk_id is not None
        assert operation.snapshot_id is not None
        if now.phase != Phase.FROZEN or now.error or not sessions.commit(conn, session, at=at):
            raise SnapshotBrokenError("the snapshot was given up while it was uploaded")
        known = now.payload_as(SnapshotPayload)
        freeze = known.freeze
        disk = disks.get(conn, operation.disk_id)
        if disk is None or not algebra.may_commit(tracking_of(disk), freeze):
            raise SnapshotBrokenError("the disk was closed while its snapshot was uploaded")
        record = SnapshotRecord(
            tracking=result.tracking, tracking_reason=result.tracking_reason, read_bytes=result.read_bytes,
            changed_bytes=result.changed_bytes, stored_bytes=result.stored_bytes, requests=result.requests,
            freeze_ms=job.template.freeze_ms, duration_ms=round(age_s(operation.created_at, at) * 1000, 3),
            consistency=job.template.consistency, taken_at=known.taken_at, quiesce_ms=known.quiesce_ms,
            transcript=known.transcript,
            audited_blocks=result.audited_blocks, audit_complete=result.audit_complete,
            audit_lies=result.audit_lie_blocks,
        )  # fmt: skip
        made = snapshots.compare_and_set(
            conn, operation.snapshot_id, expected={"state": SnapshotState.CREATING},
            values={
                "state": SnapshotState.NORMAL, "percent": 100, "manifest": result.manifest, "session_id": session,
                "delta_map": result.map.object, "maps": result.maps,
                "record": record, "stored_bytes": result.stored_bytes, "modified_at": at,
                # Its full map says nothing of how it differs from the base: it is a root (A1).
                **({"parent_id": None} if result.alone else {}),
            },
        )  # fmt: skip
        if not made:
            raise SnapshotBrokenError("the snapshot's row is gone")
        for part in result.packs:
            pack = Pack(
                id=part.pack, session_id=session, object=part.object, bytes=part.bytes, blocks=part.blocks,
                disk_id=disk.id, account_id=disk.account_id,
            )  # fmt: skip
            packs.insert(conn, pack)
        proofs.doubt(conn, result.doubtful_packs, result.doubtful_maps)
        freeze = judge_audit(conn, disk, operation.snapshot_id, freeze, result)
        after = algebra.committed(tracking_of(disk), freeze, operation.snapshot_id)
        values = {**tracking_columns(after, reason=disk.tracking_reason or "unknown"), "error_prompt": ""}
        if job.audit is not None:
            values["audit_cursor"] = result.audit_next_block
        changed = disks.compare_and_set(conn, disk.id, expected={"epoch": disk.epoch}, values=values)
        assert changed
        operations.update(conn, operation.id, updated_at=at, phase=Phase.COMMITTED.value, percent=100)
        epoch.raise_epoch(conn)
        return bool(disk.carry)

    async def fail(self, operation: Operation, code: str, message: str) -> None:
        """A4, S22: the frozen bitmap goes back into the live one, view and row disappear, the guest notices nothing."""
        assert operation.disk_id is not None
        disk_id = operation.disk_id

        def record(conn: Connection) -> None:
            now = operations.get(conn, operation.id)
            if now is not None and now.phase in {Phase.FREEZING, Phase.FROZEN}:
                why = now.payload_as(SnapshotPayload).break_reason
                # S34: whoever settles it makes it FAILING.
                operations.update(
                    conn, operation.id, updated_at=self._in.clock(), error_code=now.error_code or code,
                    error=now.error or why or message or "unknown",
                )  # fmt: skip

        await self._in.db.write(record)
        async with self._in.locks.graph(disk_id):
            await self._host.settle(disk_id)
        await self._host.release(disk_id)
        # What it wrote goes at once: it may have failed for lack of space.
        await self._sweep.sweep()


def log_committed(uploaded: Uploaded) -> None:
    """Say that a snapshot is NORMAL, and what it took."""
    result = uploaded.result
    if result.alone or result.doubtful_packs or result.doubtful_maps:
        log.error(
            "snapshot.base_damaged", snapshot_id=uploaded.operation.snapshot_id, reason=result.tracking_reason,
            packs=result.doubtful_packs[:10], maps=result.doubtful_maps[:10],
        )  # fmt: skip
    log.info(
        "snapshot.committed", snapshot_id=uploaded.operation.snapshot_id, disk_id=uploaded.operation.disk_id,
        tracking=result.tracking, stored_bytes=result.stored_bytes, changed_bytes=result.changed_bytes,
    )  # fmt: skip


def _ancestry(conn: Connection, base: Snapshot | None) -> tuple[SnapshotId, ...]:
    """Return the ids from the base upwards, at most 64 (L2)."""
    way: list[SnapshotId] = []
    at = base
    while at is not None and len(way) < ANCESTRY_MAX:
        way.append(at.id)
        at = None if at.parent_id is None else snapshots.get(conn, at.parent_id)
    return tuple(way)
