"""Operations that somebody cancels, in every phase, and after a crash; and those that are tried again (S260)."""

import asyncio
import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from drystone.catalog import operations as rows
from drystone.domain.errors import Refusal, RefusalError, SpaceError
from drystone.domain.ids import OperationId, SessionId, SnapshotGroupId
from drystone.domain.operation import (
    CANCELLABLE,
    RETRIED,
    Operation,
    OperationKind,
    OperationState,
    check_cancellable,
    check_retriable,
)
from drystone.domain.payloads import GroupPayload, Payload, ProvePayload, SnapshotPayload
from drystone.domain.tracking import FrozenBase
from drystone.service import operations
from drystone.service.calls.operation_control import OperationControl
from drystone.service.cancelling import asked, breakable
from drystone.service.operations import Operations
from drystone.service.rows import endings
from drystone.service.transactions import Change, Transactions
from tests.domain.payloads import payload
from tests.service.parts import changed, transactions
from tests.service.records_world import NOW, OTHER, OWNER, World, caller, refusal, refused, run

pytestmark = pytest.mark.usefixtures("both_catalogs")
OP = OperationId("op-00000001")


class Works:
    """Copies for ever, and can be broken off; then its end is undone."""

    def __init__(self, through: Transactions) -> None:
        self._transactions = through
        self.begun = asyncio.Event()
        self.runs = 0
        self.undone: list[str] = []
        self.broken_off = 0

    async def run(self, _operation: Operation) -> None:
        self.runs += 1
        await breakable(self._copy())

    async def _copy(self) -> None:
        self.begun.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.broken_off += 1
            raise

    async def fail(self, operation: Operation, code: str, message: str) -> None:
        self.undone.append(code)
        await self._transactions.change(lambda change: endings.failed(change, operation, code=code, message=message))


def opened(tmp_path: Path) -> World:
    world = World.open(tmp_path / "catalog.db")
    world.add_accounts()
    return world


def control(runner: Operations, world: World, **uses: Any) -> OperationControl:
    nothing: Any = dict.fromkeys(("disks", "snapshots", "image_files", "proving", "space"))
    return OperationControl(transactions=transactions(world.db), operations=runner, **{**nothing, **uses})


def stored(world: World, name: OperationId = OP) -> Operation:
    found = world.db.read_sync(lambda conn: rows.get(conn, name))
    assert found is not None
    return found


def test_what_is_broken_off_has_ended_and_what_ends_first_counts() -> None:
    async def story() -> None:
        assert await breakable(asyncio.sleep(0, "whole")) == "whole"
        event = asyncio.Event()
        asked.set(event)
        assert await breakable(asyncio.sleep(0, "whole")) == "whole"
        with pytest.raises(SpaceError):
            await breakable(failing())
        ended: list[str] = []

        async def long() -> None:
            try:
                await asyncio.Event().wait()
            finally:
                await asyncio.sleep(0)
                ended.append("cleaned up")

        task = asyncio.create_task(breakable(long()))
        await asyncio.sleep(0.01)
        event.set()
        with pytest.raises(RefusalError) as caught:
            await task
        assert (caught.value.kind, ended) == (Refusal.CANCELLED, ["cleaned up"])
        with pytest.raises(RefusalError):
            await breakable(long())
        assert len(ended) == 1

    async def failing() -> None:
        raise SpaceError("full")

    run(story())


def test_a_running_operation_is_broken_off_undone_and_ends_as_cancelled(tmp_path: Path) -> None:
    world = opened(tmp_path)
    world.operation(OP, kind=OperationKind.EXPORT, phase="COPYING")
    runner, job = Operations(transactions(world.db)), Works(transactions(world.db))
    runner.serve({OperationKind.EXPORT: job})

    async def story() -> Operation:
        async with asyncio.TaskGroup() as tasks:
            running = tasks.create_task(runner.run())
            await asyncio.wait_for(job.begun.wait(), 5)
            await control(runner, world).cancel(caller(), OP)
            found = await runner.wait(OP, 5)
            # Once more changes nothing, once it has ended, too.
            await control(runner, world).cancel(caller(), OP)
            running.cancel()
        return found

    ended = run(story())
    assert (ended.state, ended.error_code, ended.error) == (
        OperationState.FAILED, Refusal.CANCELLED, "It was cancelled.",
    )  # fmt: skip
    assert (job.broken_off, job.undone, job.runs) == (1, [Refusal.CANCELLED], 1)
    assert not runner.bugs.counts
    world.db.close()


def test_one_that_waits_for_its_turn_ends_without_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(operations, "PATIENT_MAX", 1)
    world = opened(tmp_path)
    world.operation(OP, kind=OperationKind.EXPORT, phase="COPYING")
    second = OperationId("op-00000002")
    runner, job = Operations(transactions(world.db)), Works(transactions(world.db))
    runner.serve({OperationKind.EXPORT: job})

    async def story() -> None:
        async with asyncio.TaskGroup() as tasks:
            running = tasks.create_task(runner.run())
            await asyncio.wait_for(job.begun.wait(), 5)
            world.operation(second, kind=OperationKind.EXPORT, phase="COPYING")
            runner.wake(second)
            await control(runner, world).cancel(caller(), second)
            assert (await runner.wait(second, 5)).error_code == Refusal.CANCELLED
            assert stored(world).state is OperationState.RUNNING
            running.cancel()

    run(story())
    assert job.runs == 1
    world.db.close()


def test_a_crash_takes_no_cancellation_back(tmp_path: Path) -> None:
    """The row was written, and nobody was told: the next start undoes, and does not go on."""
    world = opened(tmp_path)
    world.operation(OP, kind=OperationKind.EXPORT, phase="COPYING")
    run(control(Operations(transactions(world.db)), world).cancel(caller(), OP))
    assert (stored(world).state, stored(world).is_cancelled) == (OperationState.RUNNING, True)
    runner, job = Operations(transactions(world.db)), Works(transactions(world.db))
    runner.serve({OperationKind.EXPORT: job})

    async def story() -> None:
        async with asyncio.TaskGroup() as tasks:
            running = tasks.create_task(runner.run())
            assert (await runner.wait(OP, 5)).state is OperationState.FAILED
            running.cancel()

    run(story())
    assert (job.runs, job.undone) == (0, [Refusal.CANCELLED])
    world.db.close()


def test_what_is_cancelled_never_ends_well_and_is_not_forgotten(tmp_path: Path) -> None:
    world = opened(tmp_path)
    was = world.operation(OP, kind=OperationKind.PROVE, phase="PROVING")
    runner = Operations(transactions(world.db))

    async def story() -> None:
        await control(runner, world).cancel(caller(), OP)
        # What it failed of in the very moment, and wants to try again later, does not take the place of the reason.
        await runner.put_off(was, Refusal.FULL, "no space")

    run(story())
    assert (stored(world).error_code, stored(world).error) == (Refusal.CANCELLED, "It was cancelled.")
    for step in (endings.done, endings.check_wanted):
        with pytest.raises(RefusalError) as caught:
            changed(world.db, lambda change, step=step: step(change, was))  # type: ignore[misc]
        assert caught.value.kind is Refusal.CANCELLED
    assert stored(world).state is OperationState.RUNNING
    world.db.close()


PHASES = {
    OperationKind.SNAPSHOT: ("FREEZING", "FROZEN", "FAILING", "COMMITTED"),
    OperationKind.SNAPSHOT_GROUP: ("FREEZING", "FROZEN", "FAILING", "COMMITTED"),
    OperationKind.ROLLBACK: ("PLANNING", "WRITING"),
    OperationKind.EXPORT: ("COPYING", "NAMING"),
    OperationKind.REWRITE: ("", "COPYING", "COMPARING", "REPLACING"),
    OperationKind.CREATE_DISK: ("CREATING", "MADE"),
    OperationKind.COMPACT: ("", "7 packs written again"),
}
MAY = {
    (OperationKind.SNAPSHOT, "FREEZING"), (OperationKind.SNAPSHOT, "FROZEN"),
    (OperationKind.SNAPSHOT_GROUP, "FREEZING"), (OperationKind.SNAPSHOT_GROUP, "FROZEN"),
    (OperationKind.ROLLBACK, "PLANNING"), (OperationKind.EXPORT, "COPYING"),
    (OperationKind.REWRITE, ""), (OperationKind.REWRITE, "COPYING"), (OperationKind.REWRITE, "COMPARING"),
    (OperationKind.COMPACT, ""), (OperationKind.COMPACT, "7 packs written again"),
    (OperationKind.COMPARE, "x"), (OperationKind.IMPORT, "x"), (OperationKind.PROVE, "x"),
}  # fmt: skip


@pytest.mark.parametrize("kind", OperationKind)
def test_what_can_be_cancelled_in_which_phase_and_what_says_why_it_cannot(kind: OperationKind) -> None:
    for phase, state in itertools.product(PHASES.get(kind, ("x",)), OperationState):
        row = Operation(
            id=OP, kind=kind, account_id=OWNER, phase=phase, state=state, payload=payload(kind), created_at=NOW,
            updated_at=NOW,
        )  # fmt: skip
        if state is OperationState.RUNNING and (kind, phase) in MAY:
            check_cancellable(row)
            continue
        with pytest.raises(RefusalError, match=rf"^Operation {OP} \({kind.value}\)") as caught:
            check_cancellable(row)
        never = state is OperationState.RUNNING and kind not in CANCELLABLE
        assert caught.value.kind is (Refusal.NOT_OFFERED if never else Refusal.TOO_LATE)


def test_a_member_of_a_group_is_cancelled_with_its_group(tmp_path: Path) -> None:
    world = opened(tmp_path)
    freeze = FrozenBase(base=None, carry=frozenset(), old_bitmap=None, new_bitmap="b", epoch=1, lost=True)
    group = SnapshotGroupId("csnap-0000001")
    member = SnapshotPayload(freeze=freeze, session=SessionId("0" * 32), group=group)
    world.operation(OP, phase="FROZEN", payload=member)
    leader = world.operation(
        "op-00000002", kind=OperationKind.SNAPSHOT_GROUP, phase="FROZEN",
        payload=GroupPayload(group=group, members=(OP,)),
    )  # fmt: skip
    runner = Operations(transactions(world.db))
    told = refused(control(runner, world).cancel(caller(), OP))
    assert told.kind is Refusal.NOT_OFFERED
    assert leader.id in told.message
    assert stored(world).error_code == ""
    world.db.close()


def test_only_its_owner_acts_on_an_operation(tmp_path: Path) -> None:
    world = opened(tmp_path)
    world.operation(OP, kind=OperationKind.PROVE, state=OperationState.FAILED)
    calls = control(Operations(transactions(world.db)), world)
    for call in (calls.cancel, calls.retry):
        assert refusal(call(caller(OTHER), OP)) == Refusal.NO_SUCH_THING
        assert refusal(call(caller(), "op-none")) == Refusal.NO_SUCH_THING
    world.db.close()


@pytest.mark.parametrize("kind", OperationKind)
def test_what_failed_is_done_again_by_the_call_that_began_it(tmp_path: Path, kind: OperationKind) -> None:
    world = opened(tmp_path)
    was = world.operation(
        OP, kind=kind, state=OperationState.FAILED, disk_id="disk-00000001", snapshot_id="snap-00000001",
        instance_id="ins-00000001",
    )  # fmt: skip
    made: list[str] = []

    class Calls:
        def __getattr__(self, name: str) -> Any:
            async def call(_caller: object, *_given: object, **_named: object) -> None:
                made.append(name)
                await transactions(world.db).change(begin)

            return call

    def begin(change: Change) -> None:
        change.begin(
            kind,
            account_id=OWNER,
            request_id="r-2",
            disk_id=was.disk_id,
            snapshot_id=was.snapshot_id,
            payload=payload(kind),
        )

    uses = dict.fromkeys(("disks", "snapshots", "image_files", "proving", "space"), Calls())
    calls = control(Operations(transactions(world.db)), world, **uses)
    if kind not in RETRIED:
        assert refusal(calls.retry(caller(), OP)) == Refusal.NOT_OFFERED
        assert made == []
    else:
        again = run(calls.retry(caller(), OP))
        assert (stored(world, again).kind, stored(world, again).state) == (kind, OperationState.RUNNING)
        assert again != OP
        assert len(made) == 1
        assert refusal(calls.retry(caller(), again)) == Refusal.TOO_LATE
    world.db.close()


def test_what_has_not_failed_is_not_tried_again() -> None:
    row = Operation(
        id=OP, kind=OperationKind.PROVE, account_id=OWNER, created_at=NOW, updated_at=NOW,
        payload=ProvePayload(session=SessionId("0" * 32), clone="disk-x", size_gib=1),  # type: ignore[arg-type]
    )  # fmt: skip
    for state in (OperationState.RUNNING, OperationState.DONE):
        with pytest.raises(RefusalError) as caught:
            check_retriable(replace(row, state=state))
        assert caught.value.kind is Refusal.TOO_LATE
    failed = replace(row, state=OperationState.FAILED)
    check_retriable(failed)
    # An older version may have kept less of it.
    with pytest.raises(RefusalError) as caught:
        check_retriable(replace(failed, payload=Payload()))
    assert caught.value.kind is Refusal.NOT_OFFERED
