"""The runner of long operations: rows in, tasks out, again after every restart (S20, P9).

S135: nothing that an operation meets ends the runner, for with it would end the server. What passes by itself (a full
disk, a busy catalog) is waited for, the longer the more often; a bug ends the operation that met it.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

import structlog

from drystone.catalog import operations as rows
from drystone.domain.errors import DrystoneError, OutcomeUnknownError, Refusal, RefusalError, SpaceError
from drystone.domain.ids import OperationId
from drystone.domain.operation import Operation, OperationKind, OperationState
from drystone.service.cancelling import CANCELLED, asked, breakable
from drystone.service.rounds import Bugs
from drystone.service.transactions import Change, Transactions
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
        OperationKind.REWRITE,
    }
)
PROVING = frozenset({OperationKind.PROVE})
"""These have as many places as machines may run, and one more for an account that has none there (S191)."""
RESERVE = 16
"""Further places of each of the others, one each for accounts that hold none there (S156)."""
RETRY_SECONDS_MAX = 60.0
BUG_SECONDS_MAX = 3600.0
"""How often at most an operation is tried again whose undoing met a bug: each time is an error of the log."""
R = TypeVar("R")


class Job(Protocol):
    """What one kind of operation does."""

    async def run(self, operation: Operation) -> None:
        """Do it, from whatever phase its row is in; end the row (`DONE`) in the transaction that ends the work."""

    async def fail(self, operation: Operation, code: str, message: str) -> None:
        """Undo what must be undone and end the row (`FAILED`); called after `run` raised."""


@dataclass(frozen=True, slots=True)
class _Attempt:
    """What is known of an operation that runs here."""

    ended: asyncio.Event = field(default_factory=asyncio.Event)
    cancelled: asyncio.Event = field(default_factory=asyncio.Event)


class Operations:
    """Runs each RUNNING operation once at a time.

    Args:
        proofs_at_once: Places of proofs that one account alone may hold.
    """

    def __init__(self, transactions: Transactions, *, proofs_at_once: int = 1) -> None:
        self.bugs = Bugs()
        self._transactions = transactions
        self._jobs: Mapping[OperationKind, Job] = {}
        self._wakes: asyncio.Queue[OperationId] = asyncio.Queue()
        self._active: dict[OperationId, _Attempt] = {}
        self._places = Places(RUNNING_MAX, reserve=RESERVE)
        shared = (
            (UPLOADING, Places(UPLOADING_MAX, reserve=RESERVE)), (FREEING, Places(FREEING_MAX, reserve=RESERVE)),
            (PATIENT, Places(PATIENT_MAX, reserve=RESERVE)), (PROVING, Places(proofs_at_once, reserve=1)),
        )  # fmt: skip
        self._places_of = {kind: places for kinds, places in shared for kind in kinds}
        """Whom an operation shares its places with: attaching never waits for uploads, nor these for a copy."""

    def serve(self, jobs: Mapping[OperationKind, Job]) -> None:
        """Say what runs each kind; once, before `run`."""
        self._jobs = jobs

    async def begin(self, record: Callable[[Change], R]) -> R:
        """Carry a change out, have what it begins taken up, and return what `record` returns.

        Where nobody can say whether the change was committed, it is looked: an operation that has no row is none.
        """
        begun: list[Operation] = []

        def noted(change: Change) -> R:
            result = record(change)
            begun[:] = change.begun
            return result

        async def carried_out() -> R:
            try:
                return await self._transactions.change(noted)
            finally:
                for operation in begun:
                    self.wake(operation.id)

        # A caller that is cancelled does not end the transaction: what it begins is taken up all the same.
        return await asyncio.shield(carried_out())

    def wake(self, operation_id: OperationId) -> None:
        """Have a RUNNING operation taken up; does nothing while it runs already."""
        self._wakes.put_nowait(operation_id)

    def cancel(self, operation_id: OperationId) -> None:
        """Have an operation whose row says that it is cancelled end, whether or not it runs just now (S260)."""
        attempt = self._active.get(operation_id)
        if attempt is None:
            self.wake(operation_id)
        else:
            attempt.cancelled.set()

    def wake_later(self, operation: Operation) -> None:
        """Have a RUNNING operation that could not go on taken up again, later the more often it was tried."""
        self._wake_later(operation, RETRY_SECONDS_MAX)

    async def put_off(self, operation: Operation, code: str, message: str, *, seconds: float | None = None) -> None:
        """Leave what can only be finished RUNNING, with what it failed of, and have it taken up again later.

        Args:
            operation: Which.
            code: Of what it failed.
            message: The same as a sentence.
            seconds: When; None: later the more often it was tried.
        """

        def note(change: Change) -> None:
            now = rows.get(change.conn, operation.id)
            if now is not None and not now.is_cancelled:  # S260
                rows.update(change.conn, operation.id, updated_at=change.at, error_code=code, error=message)

        await self._transactions.change(note)
        if seconds is None:
            self.wake_later(operation)
        else:
            asyncio.get_running_loop().call_later(seconds, self.wake, operation.id)

    def _wake_later(self, operation: Operation, seconds_max: float) -> None:
        seconds = _pause(operation.attempts, seconds_max)
        asyncio.get_running_loop().call_later(seconds, self.wake, operation.id)

    async def wait(self, operation_id: OperationId, seconds: float) -> Operation:
        """Wait until an operation has ended, or the time is up; return its row as it is then."""
        loop = asyncio.get_running_loop()
        end = loop.time() + seconds
        while True:
            found = await self._transactions.read(lambda conn: rows.get(conn, operation_id))
            assert found is not None, operation_id
            left = end - loop.time()
            if found.state is not OperationState.RUNNING or left <= 0:
                return found
            attempt = self._active.get(operation_id)
            if attempt is None:
                await asyncio.sleep(min(left, 0.02))
                continue
            try:
                async with asyncio.timeout(left):
                    await attempt.ended.wait()
            except TimeoutError:
                continue

    async def run(self) -> None:
        """Take up what a former run left, then whatever is woken; until cancelled."""
        for operation in await self._patiently(lambda: self._transactions.read(rows.unfinished)):
            self.wake(operation.id)
        async with asyncio.TaskGroup() as tasks:
            while True:
                operation_id = await self._wakes.get()
                if operation_id not in self._active:
                    self._active[operation_id] = attempt = _Attempt()
                    tasks.create_task(self._run(operation_id, attempt), name=operation_id)

    async def _run(self, operation_id: OperationId, attempt: _Attempt) -> None:
        asked.set(attempt.cancelled)
        try:
            found = await self._patiently(lambda: self._transactions.read(lambda conn: rows.get(conn, operation_id)))
            if found is None:
                return
            async with contextlib.AsyncExitStack() as place:
                places = self._places_of.get(found.kind, self._places)
                # What is cancelled while it waits for its turn ends without one.
                with contextlib.suppress(RefusalError):
                    await breakable(place.enter_async_context(places.hold(found.account_id)))
                begun = await self._patiently(
                    lambda: self._transactions.change(lambda change: _attempted(change, operation_id))
                )
                if begun is not None:
                    await self._attempt(begun, attempt)
        finally:
            self._active.pop(operation_id).ended.set()
            if attempt.cancelled.is_set():
                # It may have been told too late for this attempt to see it.
                self.wake(operation_id)

    async def _patiently(self, once: Callable[[], Awaitable[R]]) -> R:
        """Ask the catalog until it answers, the more seldom the longer it does not; nothing was begun before that."""
        attempt = 0
        while True:
            try:
                return await once()
            except Exception as error:  # noqa: BLE001 - noted: what fails here must not end the rest (S135)
                self.bugs.note(error, "operation.waits")
            await asyncio.sleep(_pause(attempt, RETRY_SECONDS_MAX))
            attempt += 1

    async def _attempt(self, operation: Operation, attempt: _Attempt) -> None:
        job = self._jobs[operation.kind]
        if operation.is_cancelled:
            await self._fail(job, operation, Refusal.CANCELLED, CANCELLED)
            return
        try:
            await job.run(operation)
        except Exception as error:  # noqa: BLE001 - noted: what fails here must not end the rest (S135)
            if attempt.cancelled.is_set() and not _unknown(error):
                log.info("operation.cancelled", operation_id=operation.id, kind=operation.kind.value)
                await self._fail(job, operation, Refusal.CANCELLED, CANCELLED)
                return
            if _unknown(error):
                # It may have been done: nothing is undone, and the rows say what it goes on with.
                self.bugs.note(error, "operation.begins_anew", operation_id=operation.id)
                self._wake_later(operation, RETRY_SECONDS_MAX)
                return
            why = self.bugs.note(
                error, "operation.failed", operation_id=operation.id, kind=operation.kind.value,
                disk_id=operation.disk_id,
            ) or DrystoneError(f"internal error: {error!r}")  # fmt: skip
            await self._fail(job, operation, _kind(why), str(why))

    async def _fail(self, job: Job, operation: Operation, code: str, message: str) -> None:
        try:
            await job.fail(operation, code, message)
        except Exception as error:  # noqa: BLE001 - noted: what fails here must not end the rest (S135)
            why = self.bugs.note(error, "operation.fail_failed", severe=True, operation_id=operation.id)
            self._wake_later(operation, BUG_SECONDS_MAX if why is None else RETRY_SECONDS_MAX)


def _attempted(change: Change, operation_id: OperationId) -> Operation | None:
    """Count an attempt, and return the operation if it is RUNNING."""
    found = rows.get(change.conn, operation_id)
    if found is None or found.state is not OperationState.RUNNING:
        return None
    rows.update(change.conn, operation_id, updated_at=change.at, attempts=found.attempts + 1)
    return found


def _unknown(error: BaseException) -> bool:
    """Return whether nobody can say if something was done, be it one of several failures."""
    if isinstance(error, BaseExceptionGroup):
        return any(map(_unknown, error.exceptions))
    return isinstance(error, OutcomeUnknownError)


def _kind(error: DrystoneError) -> Refusal:
    """Return of what an operation failed."""
    if isinstance(error, RefusalError):
        return error.kind
    return Refusal.FULL if isinstance(error, SpaceError) else Refusal.INTERNAL


def _pause(attempts: int, seconds_max: float) -> float:
    """Return how long to wait after so many attempts."""
    return min(seconds_max, 2.0 ** min(attempts, 20))
