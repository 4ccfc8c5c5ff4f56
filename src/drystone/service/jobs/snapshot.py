"""From a frozen view to a NORMAL snapshot (A2-A4), and what a failure undoes."""

import asyncio
import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import msgspec
import structlog
from sqlalchemy import Connection

from drystone.catalog import extent_maps, operations, sessions, snapshots
from drystone.codec.manifest import ANCESTRY_MAX, DiskAttributes
from drystone.domain import tracking as algebra
from drystone.domain.blocks import Ranges
from drystone.domain.clock import age_s
from drystone.domain.disk import Disk
from drystone.domain.disk_types import GIB
from drystone.domain.errors import SnapshotBrokenError, StoreUnavailableError, UnavailableError
from drystone.domain.ids import DiskId, SessionId, SnapshotId
from drystone.domain.operation import Operation, OperationState
from drystone.domain.payloads import SnapshotPayload
from drystone.domain.session import Session
from drystone.domain.settling import Phase, Verdict
from drystone.domain.snapshot import Snapshot, SnapshotState
from drystone.domain.times import moment
from drystone.engine import freezing, graph
from drystone.engine.daemon import Daemon
from drystone.engine.live_disk import LiveDisk
from drystone.service.cancelling import breakable
from drystone.service.disk_locks import DiskLocks
from drystone.service.host.host import Host
from drystone.service.jobs.progress import run_job
from drystone.service.jobs.sending import Sending
from drystone.service.jobs.snapshot_commit import Committed, Uploaded, commit
from drystone.service.kept_store import KeptStore
from drystone.service.operations import Operations
from drystone.service.rows.instants import record_frozen
from drystone.service.rows.tracking_audit import audit_plan
from drystone.service.transactions import Change, Transactions
from drystone.service.upkeep import epoch
from drystone.service.upkeep.sweep import Sweep
from drystone.snapstore.manifests import put_manifest
from drystone.snapstore.seals import snapshots_purpose
from drystone.transfer.addresses import Endpoint
from drystone.transfer.jobs import ManifestTemplate, UploadJob, UploadResult
from drystone.transfer.pool import WorkerPool
from drystone.transfer.ranges_file import write_ranges

log = structlog.get_logger()
ATTEMPTS_MAX = 3
"""A worker that dies is replaced this often; each attempt has a session of its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TakeSnapshot:
    """FROZEN → COMMITTED → done; FAILING → failed. The freeze itself happened in the call (P1).

    With a store in a bucket it is SPOOLED between them: the view is gone, and what was read of it is sent.

    A member of a group is carried on by the group's operation (`TakeSnapshotGroup`).
    """

    transactions: Transactions
    operations: Operations
    locks: DiskLocks
    kept: KeptStore
    workers: WorkerPool
    host: Host
    sweep: Sweep
    sending: Sending

    async def run(self, operation: Operation) -> None:
        """Read the view in a worker, commit, clean up. After a restart it goes on from the phase in the row."""
        if operation.payload_as(SnapshotPayload).group is not None:
            return
        disk_id = operation.on_disk
        async with self.locks.graph(disk_id):
            verdict = await self._settled(operation, disk_id)
            # FROZEN, the call did all of this.
            if verdict is Verdict.RESUME and operation.phase == Phase.FREEZING:
                daemon, target = await self.view(operation)
                await freezing.finish_freeze(daemon, [target])
                await self.transactions.change(lambda change: record_frozen(change, [operation]))
        if verdict in {Verdict.RESUME, Verdict.SEND}:
            await self._upload_and_commit(operation)
            async with self.locks.graph(disk_id):
                verdict = await self._settled(operation, disk_id)
        if verdict is not None:
            await self.host.release(disk_id)

    async def _settled(self, operation: Operation, disk_id: DiskId) -> Verdict | None:
        """Settle the disk. None if nothing is known of the view, which may be whole: it is tried again later (S25)."""
        try:
            return await self.host.settle(disk_id)
        except UnavailableError as error:
            log.warning("snapshot.waits", disk_id=disk_id, error=str(error))
            self.operations.wake_later(operation)
            return None

    async def _upload_and_commit(self, operation: Operation) -> None:
        (uploaded,) = await self.publish([await self.upload(operation)])
        committed = await self.transactions.change(lambda change: commit(change, uploaded))
        await self.follow(committed)

    async def view(self, operation: Operation) -> tuple[Daemon, freezing.FreezeTarget]:
        """Return where the frozen view of a disk is that was settled, and what was frozen.

        Raises:
            SnapshotBrokenError: It is gone.
        """
        disk, live = await self._open_still(operation)
        freeze = operation.payload_as(SnapshotPayload).freeze
        return live.daemon, freezing.target(self.kept.room.layout, disk, freeze)

    async def _open_still(self, operation: Operation) -> tuple[Disk, LiveDisk]:
        # Not `opened`: it would open the disk anew if the daemon died this instant, without the view.
        disk = await self.host.row(operation.on_disk)
        live = await self.host.running(disk)
        if live is None:
            raise SnapshotBrokenError(f"the storage daemon of disk {disk.id} died before the snapshot was uploaded")
        return disk, live

    async def publish(self, uploads: Sequence[Uploaded]) -> list[Uploaded]:
        """Claim the store, and write the manifests of snapshots of one instant; `commit` of what it returns may follow.

        In this order by I1 and S201.

        Claimed first: a catalog that is put back from before this finds that it is old, whatever happens next.

        Raises:
            DrystoneError: It cannot be done; what is in the store is garbage of the sessions.
        """
        attempt = waits = 0
        versions: dict[str, str] = {}
        while True:
            try:
                await epoch.advance(self.transactions, self.kept)
                for one in uploads:
                    name = one.result.manifest
                    version = await asyncio.to_thread(put_manifest, self.kept.store, name, one.result.sealed)
                    if version is not None:
                        versions[name] = version
            except StoreUnavailableError as error:
                check = self.sending.check if uploads[0].result.spooled else self._check_view
                await self.sending.store_wait.until_it_answers(uploads[0].operation, error, waits, check)
                waits += 1
            except UnavailableError as error:
                attempt += 1
                if attempt == ATTEMPTS_MAX:
                    raise
                log.warning("snapshot.not_published", error=str(error))
            else:
                return [one.with_versions(versions) for one in uploads]

    async def follow(self, committed: Committed) -> None:
        """Do what follows the commit of a snapshot."""
        committed.tell()
        await asyncio.to_thread(self.sending.spool.remove, committed.uploaded.session)

    async def upload(self, operation: Operation) -> Uploaded:
        """Have all objects of the snapshot in the store, but for its manifest.

        Raises:
            DrystoneError: As `read`, and `Sending.send`.
        """
        return await self.sending.send(await self.read(operation))

    async def read(self, operation: Operation) -> Uploaded:
        """Have a worker write what is read of the frozen view; if some of it lies in the spool, the view goes.

        Raises:
            SnapshotBrokenError: It was given up, or the frozen view is gone.
            IntegrityError: The spool is not what was written.
            DrystoneError: It cannot be written.
        """
        now = await self.transactions.read(lambda conn: operations.get(conn, operation.id))
        if now is not None and now.phase == Phase.SPOOLED:
            return await self.sending.resumed(now)
        uploaded = await self._uploaded(operation)
        if uploaded.result.spooled:
            await self.sending.let_go(uploaded)
        return uploaded

    async def _uploaded(self, operation: Operation) -> Uploaded:
        """Have a worker read the frozen view, again if a worker dies; each attempt has its own session.

        A store that does not answer is waited for as long as the frozen view is whole: the guest notices nothing (P6).

        Raises:
            SnapshotBrokenError: The frozen view is gone.
            DrystoneError: It cannot be written.
        """
        attempt = waits = 0
        while True:
            session = await self.transactions.change(lambda change: _next_session(change, operation))
            try:
                result, job = await self._upload(operation, session)
            except StoreUnavailableError as error:
                await asyncio.to_thread(self.sending.spool.remove, session)
                await self.sending.store_wait.until_it_answers(operation, error, waits, self._check_view)
                waits += 1
                continue
            except (SnapshotBrokenError, UnavailableError) as error:
                await asyncio.to_thread(self.sending.spool.remove, session)
                attempt += 1
                # A broken view never comes back; a dead worker does.
                if (
                    isinstance(error, SnapshotBrokenError)
                    or attempt == ATTEMPTS_MAX
                    or not await self._whole(operation)
                ):
                    raise
                log.warning("snapshot.attempt_failed", snapshot_id=operation.snapshot_id, error=str(error))
                continue
            return Uploaded(operation=operation, session=session, result=result, job=job)

    async def _check_view(self, operation: Operation) -> None:
        if not await self._whole(operation):
            raise SnapshotBrokenError("the frozen view was given up while the snapshot waited for its store")

    async def _whole(self, operation: Operation) -> bool:
        live = await self.host.running(await self.host.row(operation.on_disk))
        return live is not None and (await live.look()).frozen

    async def _upload(self, operation: Operation, session: SessionId) -> tuple[UploadResult, UploadJob]:
        disk, live = await self._open_still(operation)
        await self._have_key(disk)
        allocation = None
        if disk.hydrating:
            async with self.locks.graph(disk.id):
                file = await live.export_hydration()
            if file is None:
                export = graph.hydration_export_name(disk.id)
                allocation = Endpoint(socket=str(live.nbd_socket), export=export)
        job, extents = await self.transactions.read(
            lambda conn: self._describe(conn, operation, disk, live, session, allocation)
        )
        path = self.kept.room.layout.scratch / f"{operation.id}.carry"
        try:
            if extents is not None and len(extents):
                path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
                job = msgspec.structs.replace(job, carry_ranges=(write_ranges(path, extents),))
            # Breaking it off kills the worker: it writes nothing any more.
            result = await breakable(
                run_job(
                    job,
                    UploadResult,
                    account_id=operation.account_id,
                    workers=self.workers,
                    transactions=self.transactions,
                    record=functools.partial(_progress, operation=operation),
                )
            )
        finally:
            path.unlink(missing_ok=True)
        return result, job

    async def _have_key(self, disk: Disk) -> None:
        """See to it that the store has the data key of an encrypted disk: a worker does not know what wraps it (S380).

        Raises:
            KeyMissingError: What wraps it is not on this machine.
        """
        if disk.encryption is None:
            return
        seals = self.kept.store.seals
        assert seals is not None, "only a sealed store has snapshots of encrypted disks"
        purpose = snapshots_purpose(disk.account_id, disk.id, encrypted=True)
        await asyncio.to_thread(seals.make_for, purpose, disk.encryption.kek)

    def _describe(
        self,
        conn: Connection,
        operation: Operation,
        disk: Disk,
        live: LiveDisk,
        session: SessionId,
        allocation: Endpoint | None,
    ) -> tuple[UploadJob, Ranges | None]:
        """Return what the worker is told, and the extents that it is to be told too; None if they are not known."""
        now = operations.get(conn, operation.id)
        assert now is not None
        known = now.payload_as(SnapshotPayload)
        freeze = known.freeze
        snapshot = snapshots.get(conn, operation.of_snapshot)
        assert snapshot is not None
        base = None if freeze.base is None else snapshots.get(conn, freeze.base)
        assert (base is None) == (freeze.base is None), "the session pins the base"
        carry_maps = tuple(sorted(algebra.carried_maps(freeze.carry)))
        extents = extent_maps.union_of(conn, [name for name in freeze.carry if algebra.is_extents_id(name)])
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
            disk_attributes=DiskAttributes(
                type=disk.type, name=disk.name, usage=disk.usage, encrypted=snapshot.encrypted
            ),
        )  # fmt: skip
        job = UploadJob(
            store=self.kept.address(), session=session, snapshot=operation.of_snapshot, template=template,
            view=Endpoint(socket=str(live.nbd_socket), export=graph.view_export_name(disk.id)),
            mode=mode, base_manifest=None if base is None else base.manifest, bitmap=freeze.old_bitmap,
            carry_maps=carry_maps, allocation=allocation,
            hydrates_from=disk.source_snapshot_id if allocation is not None else None,
            trim=str(live.trim_socket) if trim else None, audit=audit, spool=self.sending.spool.place(session),
        )  # fmt: skip
        return job, extents

    async def fail(self, operation: Operation, code: str, message: str) -> None:
        """A4, S22: the frozen bitmap goes back into the live one, view and row disappear, the guest notices nothing."""

        def record(change: Change) -> None:
            now = operations.get(change.conn, operation.id)
            if now is not None and now.phase in {Phase.FREEZING, Phase.FROZEN, Phase.SPOOLED}:
                why = now.payload_as(SnapshotPayload).break_reason
                # S34: whoever settles it makes it FAILING.
                operations.update(
                    change.conn, operation.id, updated_at=change.at, error_code=now.error_code or code,
                    error=now.failure or why or message or "unknown",
                )  # fmt: skip

        await self.transactions.change(record)
        async with self.locks.graph(operation.on_disk):
            await self.host.settle(operation.on_disk)
        await self.host.release(operation.on_disk)
        await self.clear_spool(operation)
        # What it wrote goes at once: it may have failed for lack of space.
        await self.sweep.sweep()

    async def clear_spool(self, operation: Operation) -> None:
        """Let go of what lies in the spool of a snapshot that has failed."""
        now = await self.transactions.read(lambda conn: operations.get(conn, operation.id))
        if now is not None and now.state is OperationState.FAILED:
            await asyncio.to_thread(self.sending.spool.remove, now.payload_as(SnapshotPayload).session)


def _next_session(change: Change, operation: Operation) -> SessionId:
    """Return the session of this attempt: that of the call, or after it a new one with the same reads."""
    now = operations.get(change.conn, operation.id)
    assert now is not None
    known = now.payload_as(SnapshotPayload)
    if not known.session_used:
        payload = msgspec.structs.replace(known, session_used=True)
    else:
        new = Session(
            id=change.ids.session(), kind="snapshot", operation_id=operation.id, created_at=change.at,
            snapshot_id=operation.snapshot_id,
        )  # fmt: skip
        if not sessions.transfer(change.conn, known.session, new, at=change.at):
            raise UnavailableError(f"session {known.session} of snapshot {operation.snapshot_id} was fenced")
        payload = msgspec.structs.replace(known, session=new.id, maybe_trimmed=True)
    operations.update(change.conn, operation.id, updated_at=change.at, payload=payload)
    return payload.session


def _progress(change: Change, percent: int, *, operation: Operation) -> None:
    if operations.update(change.conn, operation.id, updated_at=change.at, percent=percent):
        values = {"percent": percent}
        expected = {"state": SnapshotState.CREATING}
        snapshots.compare_and_set(change.conn, operation.of_snapshot, expected=expected, values=values)


def _ancestry(conn: Connection, base: Snapshot | None) -> tuple[SnapshotId, ...]:
    """Return the ids from the base upwards, at most 64 (L2)."""
    way: list[SnapshotId] = []
    at = base
    while at is not None and len(way) < ANCESTRY_MAX:
        way.append(at.id)
        at = None if at.parent_id is None else snapshots.get(conn, at.parent_id)
    return tuple(way)
