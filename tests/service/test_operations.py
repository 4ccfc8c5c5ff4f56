"""Whom an operation waits for."""

import asyncio
from pathlib import Path

import pytest

from drystone.catalog import operations as rows
from drystone.domain.ids import OperationId
from drystone.domain.operation import Operation, OperationKind, OperationState
from drystone.service import operations
from drystone.service.operations import Operations
from tests.service.records_world import NOW, OWNER, World, run

AT_ONCE = 2
UPLOADS = (OperationKind.SNAPSHOT, OperationKind.SNAPSHOT_GROUP)
COPIES = (OperationKind.HYDRATE, OperationKind.IMPORT)
QUICK = (OperationKind.ATTACH, OperationKind.DETACH, OperationKind.RESIZE)
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
    [(UPLOADS, QUICK), (UPLOADS, FREEING), (COPIES, QUICK), (COPIES, UPLOADS), (COPIES, FREEING)],
    ids=["attaching uploads", "freeing uploads", "attaching copies", "snapshots copies", "freeing copies"],
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
            updated_at=NOW,
        )  # fmt: skip
        world.db.write_sync(lambda conn, row=row: rows.insert(conn, row))  # type: ignore[misc]
    runner, waiting = Operations(db=world.db, clock=lambda: NOW), Stuck(world)
    runner.serve(dict.fromkeys(slow, waiting) | dict.fromkeys(free, Ends(world)))

    async def ended() -> list[OperationState]:
        async with asyncio.TaskGroup() as tasks:
            running = tasks.create_task(runner.run())
            ids = [OperationId(f"op-{len(slow) + number}") for number in range(len(free))]
            found = [await runner.wait(name, 5.0) for name in ids]
            running.cancel()
        return [one.state for one in found]

    assert run(ended()) == [OperationState.DONE] * len(free)
    # And there is a limit to those, too.
    assert waiting.begun == AT_ONCE
    world.db.close()
