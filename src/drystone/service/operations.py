"""The runner of long operations: rows in, tasks out, again after every restart."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Protocol

import structlog
from sqlalchemy import Connection

from drystone.catalog import operations as rows
from drystone.catalog.database import Database
from drystone.domain.errors import DrystoneError, RefusalError
from drystone.domain.ids import OperationId
from drystone.domain.operation import Operation, OperationKind, OperationState
from drystone.transfer.places import Places

log = structlog.get_logger()
RUNNING_MAX = 16
"""Operations of one account that run at once, of the kinds that end soon; more wait their turn. More would only contend
for the processors, and everybody would feel it: making a disk takes a process some tens of milliseconds."""
UPLOADING_MAX = 64
"""The same for snapshots, which hold their place for as long as the upload takes."""
UPLOADING = frozenset({OperationKind.SNAPSHOT, OperationKind.SNAPSHOT_GROUP})
FREEING_MAX = 8
"""The same for what gives space back: it waits for nothing that may itself wait for space or for the store."""
FREEING = frozenset({OperationKind.DELETE_SNAPSHOT, OperationKind.COMPACT})
PATIENT_MAX = 16
"""The same for the kinds that may take hours, so that they never hold up the others."""
PATIENT = frozenset(
    {
        OperationKind.HYDRATE,
        OperationKind.COMPARE,
        OperationKind.EXPORT,
        OperationKind.IMPORT,
        OperationKind.PROVE,
    }
)
RESERVE = 16
"""Further places of each of these, one each for accounts that hold none there (S156)."""
RETRY_SECONDS_MAX = 60.0
PRUNE_AFTER_SECONDS = 30 * 86400.0
"""How long ended operations stay listed."""


class Job(Protocol):
    """What one kind of operation does."""

    async def run(self, operation: Operation) -> None:
        """Do it, from whatever phase its row is in; end the row (`DONE`) in the transaction that ends the work."""

    async def fail(self, operation: Operation, code: str, message: str) -> None:
        """Undo what must be undone and end the row (`FAILED`); called after `run` raised."""


class Operations:
    """Runs each RUNNING operation once at a time. `wake` is called after the transaction that added the row."""

    def __init__(self, *, db: Database, clock: Callable[[], float]) -> None:
        self._db = db
        self._clock = clock
        self._jobs: Mapping[OperationKind, Job] = {}
        self._wakes: asyncio.Queue[OperationId] = asyncio.Queue()
        self._active: dict[OperationId, asyncio.Event] = {}
        self._places = Places(RUNNING_MAX, reserve=RESERVE)
        shared = ((UPLOADING, UPLOADING_MAX), (FREEING, FREEING_MAX), (PATIENT, PATIENT_MAX))
        self._places_of = {
            kind: places for kinds, most in shared for places in [Places(most, reserve=RESERVE)] for kind in kinds
        }
        """Whom an operation shares its places with: attaching never waits for uploads, nor these for a copy."""

    def serve(self, jobs: Mapping[OperationKind, Job]) -> None:
        """Say what runs each kind; once, before `run`."""
        self._jobs = jobs

    def wake(self, operation_id: OperationId) -> None:
        """Have a RUNNING operation taken up; does nothing while it runs already."""
        self._wakes.put_nowait(operation_id)

    def wake_later(self, operation: Operation) -> None:
        """Have a RUNNING operation that could not go on taken up again, later the more often it was tried."""
        seconds = min(RETRY_SECONDS_MAX, 2.0 ** min(operation.attempts, 10))
        asyncio.get_running_loop().call_later(seconds, self.wake, operation.id)

    async def wait(self, operation_id: OperationId, seconds: float) -> Operation:
        """Wait until an operation has ended, or the time is up; return its row as it is then."""
        loop = asyncio.get_running_loop()
        end = loop.time() + seconds
        while True:
            found = await self._db.read(lambda conn: rows.get(conn, operation_id))
            assert found is not None, operation_id
            left = end - loop.time()
            if found.state is not OperationState.RUNNING or left <= 0:
                return found
            event = self._active.get(operation_id)
            if event is None:
                await asyncio.sleep(min(left, 0.02))
                continue
            try:
                async with asyncio.timeout(left):
                    await event.wait()
            except TimeoutError:
                continue

    async def run(self) -> None:
        """Take up what a former run left, then whatever is woken; until cancelled."""
        for operation in await self._db.read(rows.unfinished):
            self.wake(operation.id)
        async with asyncio.TaskGroup() as tasks:
            while True:
                operation_id = await self._wakes.get()
                if operation_id not in self._active:
                    self._active[operation_id] = asyncio.Event()
                    tasks.create_task(self._run(operation_id), name=operation_id)

    async def _run(self, operation_id: OperationId) -> None:
        try:
            found = await self._db.read(lambda conn: rows.get(conn, operation_id))
            if found is None:
                return
            async with self._places_of.get(found.kind, self._places).hold(found.account_id):
                operation = await self._db.write(lambda conn: self._begin(conn, operation_id))
                if operation is not None:
                    await self._attempt(operation)
        finally:
            self._active.pop(operation_id).set()

    def _begin(self, conn: Connection, operation_id: OperationId) -> Operation | None:
        found = rows.get(conn, operation_id)
        if found is None or found.state is not OperationState.RUNNING:
            return None
        rows.update(conn, operation_id, updated_at=self._clock(), attempts=found.attempts + 1)
        return found

    async def _attempt(self, operation: Operation) -> None:
        job = self._jobs[operation.kind]
        bound = log.bind(operation_id=operation.id, kind=operation.kind.value, disk_id=operation.disk_id)
        try:
            await job.run(operation)
        except DrystoneError as error:
            code = error.code if isinstance(error, RefusalError) else "InternalError"
            bound.warning("operation.failed", error=str(error), error_kind=type(error).__name__)
            await self._fail(job, operation, code, str(error))
        except Exception as error:  # noqa: BLE001 - a bug ends this operation, not the service of all disks
            bound.exception("operation.bug")
            await self._fail(job, operation, "InternalError", f"internal error: {error!r}")

    async def _fail(self, job: Job, operation: Operation, code: str, message: str) -> None:
        try:
            await job.fail(operation, code, message)
        except Exception:
            log.exception("operation.fail_failed", operation_id=operation.id)
            self.wake_later(operation)
