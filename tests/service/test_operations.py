"""Whom an operation waits for, and what does not end the runner (S135)."""

import asyncio
import contextlib
import itertools
import logging
import random
import sqlite3
import threading
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import structlog
from sqlalchemy import Connection
from sqlalchemy.exc import OperationalError

from drystone.catalog import operations as rows
from drystone.catalog.database import Database
from drystone.domain.errors import IntegrityError, OutcomeUnknownError, Refusal, SpaceError, UnavailableError
from drystone.domain.ids import AccountId, OperationId
from drystone.domain.operation import Operation, OperationKind, OperationState
from drystone.service import operations
from drystone.service.operations import Operations
from drystone.service.transactions import Change, Transactions
from tests.domain.payloads import payload
from tests.service.parts import transactions
from tests.service.records_world import NOW, OTHER, OWNER, World, run

pytestmark = pytest.mark.usefixtures("both_catalogs")

AT_ONCE = 2


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """Traces of bugs are many here, and dear to draw."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    yield
    structlog.reset_defaults()


UPLOADS = (OperationKind.SNAPSHOT, OperationKind.SNAPSHOT_GROUP)
COPIES = (OperationKind.HYDRATE, OperationKind.IMPORT)
QUICK = (OperationKind.ATTACH, OperationKind.DETACH, OperationKind.RESIZE)
PROOFS = (OperationKind.PROVE,)
FREEING = (OperationKind.DELETE_SNAPSHOT, OperationKind.COMPACT)


class Ends:
    """Does nothing, and says so in the row."""

    def __init__(self, world: World) -> None:
        self._world = world

    async def run(self, operation: Operation) -> None:
        await self._world.db.write(
            lambda conn: rows.update(conn, operation.id, updated_at=NOW, state=OperationState.DONE)
        )

    async def fail(self, operation: Operation, code: str, message: str) -> None:
        raise AssertionError((operation, code, message))


class Stuck(Ends):
    """Goes on until the test has ended."""

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self.begun = 0

    async def run(self, _operation: Operation) -> None:
        self.begun += 1
        await asyncio.Event().wait()


@pytest.mark.parametrize(
    ("stuck", "free"),
    [(UPLOADS, QUICK), (UPLOADS, FREEING), (COPIES, QUICK), (COPIES, UPLOADS), (COPIES, FREEING), (PROOFS, COPIES)],
    ids=[
        "attaching uploads",
        "freeing uploads",
        "attaching copies",
        "snapshots copies",
        "freeing copies",
        "copies proofs",
    ],
)
def test_what_does_not_wait_for_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stuck: tuple[OperationKind, ...], free: tuple[OperationKind, ...]
) -> None:
    for name in ("RUNNING_MAX", "UPLOADING_MAX", "FREEING_MAX", "PATIENT_MAX"):
        monkeypatch.setattr(operations, name, AT_ONCE)
    world = World.open(tmp_path / "catalog.db")
    world.add_accounts()
    slow = stuck * AT_ONCE
    for number, kind in enumerate([*slow, *free]):
        row = Operation(
            id=OperationId(f"op-{number}"), kind=kind, account_id=OWNER, disk_id=None, created_at=NOW + number,
            updated_at=NOW, payload=payload(kind),
        )  # fmt: skip
        world.db.write_sync(lambda conn, row=row: rows.insert(conn, row))  # type: ignore[misc]
    runner, waiting = Operations(transactions(world.db), proofs_at_once=AT_ONCE), Stuck(world)
    runner.serve(dict.fromkeys(slow, waiting) | dict.fromkeys(free, Ends(world)))

    async def ended() -> list[OperationState]:
        async with asyncio.TaskGroup() as tasks:
            running = tasks.create_task(runner.run())
            ids = [OperationId(f"op-{len(slow) + number}") for number in range(len(free))]
            found = [await runner.wait(name, 5.0) for name in ids]
            async with asyncio.timeout(5.0):
                while waiting.begun < AT_ONCE:
                    await asyncio.sleep(0.001)
            running.cancel()
        return [one.state for one in found]

    assert run(ended()) == [OperationState.DONE] * len(free)
    # And there is a limit to those, too.
    assert waiting.begun == AT_ONCE
    world.db.close()


def test_proofs_of_one_account_never_hold_every_machine(tmp_path: Path) -> None:
    """S191: those of one account hang, and another's begin and end; none counts as begun that waits for a place."""
    world = World.open(tmp_path / "catalog.db")
    world.add_accounts()

    def add(number: int, kind: OperationKind, account: AccountId) -> None:
        row = Operation(
            id=OperationId(f"op-{number}"), kind=kind, account_id=account, created_at=NOW + number, updated_at=NOW,
            payload=payload(kind),
        )  # fmt: skip
        world.db.write_sync(lambda conn: rows.insert(conn, row))

    for number in range(2 * AT_ONCE):
        add(number, OperationKind.PROVE, OWNER)
    runner, waiting, ends = (
        Operations(transactions(world.db), proofs_at_once=AT_ONCE),
        Stuck(world),
        Ends(world),
    )

    class Proofs(Stuck):
        async def run(self, operation: Operation) -> None:
            await (waiting if operation.account_id == OWNER else ends).run(operation)

    runner.serve({OperationKind.PROVE: Proofs(world)})
    others = range(2 * AT_ONCE, 3 * AT_ONCE)
    for number in others:
        add(number, OperationKind.PROVE, OTHER)

    async def ended() -> list[OperationState]:
        async with asyncio.TaskGroup() as tasks:
            running = tasks.create_task(runner.run())
            found = [await runner.wait(OperationId(f"op-{number}"), 5.0) for number in others]
            async with asyncio.timeout(5.0):
                while waiting.begun < AT_ONCE:
                    await asyncio.sleep(0.001)
            running.cancel()
        return [one.state for one in found]

    assert run(ended()) == [OperationState.DONE] * len(others)
    assert waiting.begun == AT_ONCE
    unfinished = run(world.db.read(rows.unfinished))
    assert sorted(row.attempts for row in unfinished) == [0] * AT_ONCE + [1] * AT_ONCE
    world.db.close()


class Faulty:
    """A catalog whose calls of some numbers fail."""

    def __init__(self, db: Database, error: Exception, failing: Callable[[int], bool]) -> None:
        self._db = db
        self._error = error
        self._failing = failing
        self.calls = 0
        self.failed = 0

    async def read(self, fn: Callable[[Connection], Any]) -> Any:
        return await self._call(self._db.read, fn)

    async def write(self, fn: Callable[[Connection], Any]) -> Any:
        return await self._call(self._db.write, fn)

    async def _call(self, call: Callable[[Any], Awaitable[Any]], fn: Callable[[Connection], Any]) -> Any:
        self.calls += 1
        if self._failing(self.calls):
            self.failed += 1
            raise self._error
        return await call(fn)


def one(world: World) -> OperationId:
    row = Operation(
        id=OperationId("op-1"), kind=OperationKind.ATTACH, account_id=OWNER, disk_id=None, created_at=NOW,
        updated_at=NOW,
    )  # fmt: skip
    world.db.write_sync(lambda conn: rows.insert(conn, row))
    return row.id


async def served(runner: Operations, world: World, operation_id: OperationId) -> Operation:
    """Run it until it has ended, whoever runs it being alive at the end."""
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(runner.run())
        async with asyncio.timeout(10.0):
            while True:
                found = await world.db.read(lambda conn: rows.get(conn, operation_id))
                if found is not None and found.state is not OperationState.RUNNING:
                    break
                await asyncio.sleep(0.001)
        assert not running.done()
        running.cancel()
    return found


RUNNERS_CALLS = 3
"""What the runner asks the catalog for one operation: what is unfinished, the row, that an attempt begins."""


@pytest.mark.parametrize(
    "error",
    [
        SpaceError("full"), UnavailableError("busy"), IntegrityError("damaged"), MemoryError(), OSError(24, "no files"),
        OperationalError("SELECT", {}, sqlite3.OperationalError("what nobody thought of")), AssertionError("a bug"),
    ],
    ids=lambda error: type(error).__name__,
)  # fmt: skip
@pytest.mark.parametrize("times", [1, 3])
@pytest.mark.parametrize("first", range(1, RUNNERS_CALLS + 1))
def test_no_failure_of_the_catalog_ends_the_runner(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, times: int, first: int
) -> None:
    monkeypatch.setattr(operations, "RETRY_SECONDS_MAX", 0.0)
    world = World.open(tmp_path / "catalog.db")
    world.add_accounts()
    name = one(world)
    faulty = Faulty(world.db, error, lambda number: first <= number < first + times)
    runner = Operations(transactions(faulty))
    runner.serve({OperationKind.ATTACH: Ends(world)})
    ended = run(served(runner, world, name))
    assert (ended.state, ended.attempts) == (OperationState.DONE, 1)
    assert (faulty.failed, faulty.calls) == (times, RUNNERS_CALLS + times)
    bugs = isinstance(error, AssertionError | OperationalError)
    assert sum(runner.bugs.counts.values()) == (times if bugs else 0)
    world.db.close()


class Fails(Ends):
    """Raises, and cannot undo it before some attempts were made."""

    def __init__(self, world: World, error: Exception, undone_at: int) -> None:
        super().__init__(world)
        self._error = error
        self._undone_at = undone_at
        self.attempts = 0

    async def run(self, _operation: Operation) -> None:
        raise self._error

    async def fail(self, operation: Operation, code: str, message: str) -> None:
        self.attempts += 1
        if self.attempts < self._undone_at:
            raise self._error
        values = {"state": OperationState.FAILED, "error_code": code, "error": message}
        await self._world.db.write(lambda conn: rows.update(conn, operation.id, updated_at=NOW, **values))


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (OSError(28, "No space left on device"), Refusal.FULL), (SpaceError("full"), Refusal.FULL),
        (OSError(5, "Input/output error"), Refusal.INTERNAL), (AssertionError("a bug"), Refusal.INTERNAL),
        (ExceptionGroup("both", [SpaceError("full"), OSError(28, "x")]), Refusal.FULL),
    ],
    ids=["no space", "full", "broken drive", "bug", "several"],
)  # fmt: skip
def test_what_fails_is_undone_as_often_as_it_takes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, code: str
) -> None:
    monkeypatch.setattr(operations, "RETRY_SECONDS_MAX", 0.0)
    monkeypatch.setattr(operations, "BUG_SECONDS_MAX", 0.0)
    world = World.open(tmp_path / "catalog.db")
    world.add_accounts()
    name = one(world)
    runner, job = Operations(transactions(world.db)), Fails(world, error, undone_at=3)
    runner.serve({OperationKind.ATTACH: job})
    ended = run(served(runner, world, name))
    assert (ended.state, ended.error_code, ended.attempts) == (OperationState.FAILED, code, 3)
    assert bool(runner.bugs.counts) == isinstance(error, AssertionError)
    world.db.close()


class Unknown(Ends):
    """Is told at first that nobody knows whether its last step was made."""

    def __init__(self, world: World, error: Exception) -> None:
        super().__init__(world)
        self._errors = [error]
        self.undone = False

    async def run(self, operation: Operation) -> None:
        if self._errors:
            raise self._errors.pop()
        await super().run(operation)

    async def fail(self, _operation: Operation, _code: str, _message: str) -> None:
        self.undone = True


@pytest.mark.parametrize(
    "error",
    [OutcomeUnknownError("?"), ExceptionGroup("both", [SpaceError("full"), OutcomeUnknownError("?")])],
    ids=["alone", "one of several"],
)
def test_what_may_have_been_done_is_not_undone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    monkeypatch.setattr(operations, "RETRY_SECONDS_MAX", 0.0)
    world = World.open(tmp_path / "catalog.db")
    world.add_accounts()
    name = one(world)
    runner, job = Operations(transactions(world.db)), Unknown(world, error)
    runner.serve({OperationKind.ATTACH: job})
    ended = run(served(runner, world, name))
    assert (ended.state, ended.attempts, job.undone) == (OperationState.DONE, 2, False)
    assert not runner.bugs.counts
    world.db.close()


def test_ended_operations_go_by_age_and_by_number(tmp_path: Path) -> None:
    world = World.open(tmp_path / "catalog.db")
    world.add_accounts()
    old = Operation(
        id=OperationId("op-old"), kind=OperationKind.SNAPSHOT, account_id=OWNER, state=OperationState.DONE,
        created_at=NOW - 100, updated_at=NOW - 100, payload=payload(OperationKind.SNAPSHOT),
    )  # fmt: skip
    group = replace(
        old, id=OperationId("op-group"), kind=OperationKind.SNAPSHOT_GROUP, state=OperationState.RUNNING,
        created_at=NOW - 90, payload=payload(OperationKind.SNAPSHOT_GROUP),
    )  # fmt: skip
    member = replace(old, id=OperationId("op-member"), state=OperationState.FAILED, updated_at=NOW - 80)

    def fill(conn: Connection) -> None:
        for row in (old, group, member):
            rows.insert(conn, row)

    world.db.write_sync(fill)
    assert world.db.read_sync(lambda conn: rows.newest_ended_at(conn, 2)) == NOW - 100
    # The group's operation looks at how its members ended.
    assert world.db.write_sync(lambda conn: rows.prune(conn, NOW, 10)) == 1
    assert world.db.read_sync(lambda conn: [rows.get(conn, row.id) is None for row in (old, group, member)]) == [
        True, False, False,
    ]  # fmt: skip
    world.db.write_sync(lambda conn: rows.update(conn, group.id, updated_at=NOW, state=OperationState.FAILED))
    assert world.db.write_sync(lambda conn: rows.prune(conn, NOW, 10)) == 1
    world.db.close()


def begin_one(change: Change) -> OperationId:
    return change.begin(
        OperationKind.ATTACH, account_id=OWNER, request_id="r-1", payload=payload(OperationKind.ATTACH)
    ).id


def test_what_a_change_begins_is_taken_up_though_its_caller_is_gone(tmp_path: Path) -> None:
    """A cancelled caller does not end its transaction, which is committed a moment later."""
    world = World.open(tmp_path / "catalog.db")
    world.add_accounts()
    runner, gate, names = Operations(transactions(world.db)), threading.Event(), list[OperationId]()
    runner.serve({OperationKind.ATTACH: Ends(world)})

    def slow(change: Change) -> None:
        names.append(begin_one(change))
        assert gate.wait(5.0)

    async def ended() -> Operation:
        async with asyncio.TaskGroup() as tasks:
            running = tasks.create_task(runner.run())
            caller = tasks.create_task(runner.begin(slow))
            while not names:
                await asyncio.sleep(0.001)
            caller.cancel()
            await asyncio.sleep(0.01)
            gate.set()
            await world.db.write(lambda _conn: None)
            found = await runner.wait(names[0], 5.0)
            running.cancel()
        return found

    assert run(ended()).state is OperationState.DONE
    world.db.close()


@pytest.mark.parametrize("committed", [True, False])
def test_what_was_begun_is_looked_for_where_nobody_knows_of_the_commit(tmp_path: Path, *, committed: bool) -> None:
    world = World.open(tmp_path / "catalog.db")
    world.add_accounts()

    def undo(fn: Callable[[Connection], Any], conn: Connection) -> None:
        fn(conn)
        raise ZeroDivisionError

    class Lost:
        read = staticmethod(world.db.read)
        lost = False

        async def write(self, fn: Callable[[Connection], Any]) -> Any:
            if self.lost:
                return await world.db.write(fn)
            self.lost = True
            with contextlib.suppress(ZeroDivisionError):
                await world.db.write(fn if committed else lambda conn: undo(fn, conn))
            raise OutcomeUnknownError("?")

    lost: Any = Lost()
    runner, names = Operations(transactions(lost)), list[OperationId]()
    runner.serve({OperationKind.ATTACH: Ends(world)})

    async def ended() -> None:
        async with asyncio.TaskGroup() as tasks:
            running = tasks.create_task(runner.run())
            with pytest.raises(OutcomeUnknownError):
                await runner.begin(lambda change: names.append(begin_one(change)))
            if committed:
                assert (await runner.wait(names[0], 5.0)).state is OperationState.DONE
            else:
                await asyncio.sleep(0.05)
            running.cancel()

    run(ended())
    assert not runner.bugs.counts
    world.db.close()


def test_a_change_that_is_run_again_gives_the_same_ids_and_times(tmp_path: Path) -> None:
    """R6."""
    world = World.open(tmp_path / "catalog.db")
    world.add_accounts()
    runs: list[tuple[object, ...]] = []
    clock = itertools.count(1)

    class Twice:
        async def write(self, fn: Callable[[Connection], Any]) -> Any:
            def both(conn: Connection) -> Any:
                savepoint = conn.begin_nested()
                fn(conn)
                savepoint.rollback()
                return fn(conn)

            return await world.db.write(both)

    twice: Any = Twice()
    made = Transactions(db=twice, clock=lambda: float(next(clock)), steady=lambda: NOW, rng=random.Random(1))

    def record(change: Change) -> OperationId:
        name = begin_one(change)
        runs.append((change.at, change.steady, name, change.ids.disk(), change.ids.hex128(), len(change.begun)))
        return name

    first = run(made.change(record))
    assert runs[0] == runs[1]
    assert first != run(made.change(record)), "another change has ids of its own"
    world.db.close()
