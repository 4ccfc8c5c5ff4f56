"""From the spool into the store: a snapshot whose frozen view was let go (A13, S270)."""

import asyncio
import functools
from dataclasses import dataclass

import msgspec
import structlog

from drystone.catalog import operations, sessions
from drystone.domain.errors import (
    DrystoneError,
    SnapshotBrokenError,
    StoreUnavailableError,
    UnavailableError,
    ungrouped,
)
from drystone.domain.operation import Operation
from drystone.domain.payloads import SnapshotPayload, Spooled
from drystone.domain.session import SessionState
from drystone.domain.settling import Phase, Verdict
from drystone.service.cancelling import breakable
from drystone.service.disk_locks import DiskLocks
from drystone.service.host.host import Host
from drystone.service.jobs.progress import run_job
from drystone.service.jobs.snapshot_commit import Uploaded
from drystone.service.jobs.store_wait import StoreWait
from drystone.service.kept_store import KeptStore
from drystone.service.spool import Spool
from drystone.service.transactions import Change, Transactions
from drystone.transfer.jobs import SendJob, SendResult, UploadJob, UploadResult
from drystone.transfer.pool import WorkerPool

log = structlog.get_logger()
ATTEMPTS_MAX = 3
"""A worker that dies at it is replaced this often."""
WATCH_SECONDS = 2.0


class _Note(msgspec.Struct, frozen=True):
    """What is known of a snapshot after a restart: what was written, and what for."""

    result: UploadResult
    job: UploadJob


@dataclass(frozen=True, slots=True, kw_only=True)
class Sending:
    """SPOOLED: lets the view go, and brings what lies in the spool into the store."""

    transactions: Transactions
    locks: DiskLocks
    kept: KeptStore
    senders: WorkerPool
    """Of its own: who reads frozen views never waits for a bucket that hangs."""
    host: Host
    spool: Spool
    store_wait: StoreWait

    async def let_go(self, uploaded: Uploaded) -> None:
        """Have the spool stand for the frozen view, durably, and take the view away: guests copy nothing any more.

        Raises:
            SnapshotBrokenError: It was given up meanwhile.
            UnavailableError, SpaceError: The spool cannot be written.
        """
        operation, session = uploaded.operation, uploaded.session
        note = msgspec.json.encode(_Note(result=uploaded.result, job=uploaded.job))
        sha256 = await asyncio.to_thread(self.spool.keep, session, note)
        total_bytes = sum(one.bytes for one in uploaded.result.spooled)
        spooled = Spooled(sha256=sha256, bytes=total_bytes)

        def record(change: Change) -> bool:
            now, own = operations.get(change.conn, operation.id), sessions.get(change.conn, session)
            if now is None or now.phase != Phase.FROZEN or now.error_code:
                return False
            if own is None or own.state is not SessionState.OPEN:
                return False
            payload = msgspec.structs.replace(now.payload_as(SnapshotPayload), spooled=spooled)
            operations.update(
                change.conn, operation.id, updated_at=change.at, phase=Phase.SPOOLED.value, payload=payload
            )
            return True

        if not await self.transactions.change(record):
            raise SnapshotBrokenError("the snapshot was given up while it was uploaded")
        log.info(
            "snapshot.view_let_go", snapshot_id=operation.snapshot_id, disk_id=operation.disk_id,
            spooled_bytes=total_bytes,
        )  # fmt: skip
        try:
            async with self.locks.graph(operation.on_disk):
                verdict = await self.host.settle(operation.on_disk)
        except UnavailableError as error:
            # It takes scratch until its storage daemon answers again; whoever settles the disk then lets it go.
            log.warning("snapshot.view_stays", disk_id=operation.disk_id, error=str(error))
            return
        if verdict is not Verdict.SEND:
            raise SnapshotBrokenError("the snapshot was given up while it was uploaded")

    async def resumed(self, operation: Operation) -> Uploaded:
        """Return what was written before a restart.

        Raises:
            IntegrityError: The spool is gone, or is not what was written.
        """
        payload = operation.payload_as(SnapshotPayload)
        assert payload.spooled is not None, "SPOOLED says what was"
        raw = await asyncio.to_thread(self.spool.kept, payload.session, payload.spooled.sha256)
        note = msgspec.json.decode(raw, type=_Note)
        return Uploaded(operation=operation, session=payload.session, result=note.result, job=note.job)

    async def send(self, uploaded: Uploaded) -> Uploaded:
        """Bring what lies in the spool into the store, however long that takes; the manifest may follow (I1).

        Returns:
            It, with the versions of what was sent.

        Raises:
            SnapshotBrokenError: It was given up.
            IntegrityError: The spool is not what was written.
            DrystoneError: It cannot be done.
        """
        operation = uploaded.operation
        attempt = waits = 0
        while uploaded.result.spooled:
            await self.check(operation)
            try:
                with ungrouped(DrystoneError):
                    async with asyncio.TaskGroup() as tasks:
                        watch = tasks.create_task(self._watch(operation))
                        # Breaking it off kills the worker: it writes nothing any more.
                        sent = await breakable(self._send(uploaded))
                        watch.cancel()
            except StoreUnavailableError as error:
                await self.store_wait.until_it_answers(operation, error, waits, self.check)
                waits += 1
            except UnavailableError as error:
                attempt += 1
                if attempt == ATTEMPTS_MAX:
                    raise
                log.warning("snapshot.not_sent", snapshot_id=operation.snapshot_id, error=str(error))
            else:
                return uploaded.with_versions(sent.versions)
        return uploaded

    async def _send(self, uploaded: Uploaded) -> SendResult:
        job = SendJob(
            store=self.kept.address(), directory=str(self.spool.directory(uploaded.session)),
            objects=uploaded.result.spooled,
        )  # fmt: skip
        return await run_job(
            job, SendResult, account_id=uploaded.operation.account_id, workers=self.senders,
            transactions=self.transactions, record=functools.partial(_sent, operation=uploaded.operation),
        )  # fmt: skip

    async def _watch(self, operation: Operation) -> None:
        """Find out when it is given up, which a request that hangs would not."""
        while True:
            await asyncio.sleep(WATCH_SECONDS)
            await self.check(operation)

    async def check(self, operation: Operation) -> None:
        """Raise if nothing of it is wanted any more.

        Raises:
            SnapshotBrokenError: It was given up, with the reason.
        """
        now = await self.transactions.read(lambda conn: operations.get(conn, operation.id))
        given_up = "it has ended" if now is None else now.failure or now.payload_as(SnapshotPayload).break_reason
        if given_up:
            raise SnapshotBrokenError(given_up)


def _sent(change: Change, percent: int, *, operation: Operation) -> None:
    now = operations.get(change.conn, operation.id)
    if now is None or now.phase != Phase.SPOOLED:
        return
    payload = now.payload_as(SnapshotPayload)
    assert payload.spooled is not None
    spooled = msgspec.structs.replace(payload.spooled, sent_bytes=payload.spooled.bytes * percent // 100)
    operations.update(
        change.conn, operation.id, updated_at=change.at, payload=msgspec.structs.replace(payload, spooled=spooled)
    )
