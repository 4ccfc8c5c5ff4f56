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
QUICK = (OperationKind.ATTACH, OperationKind.DETACH, OperationKind.RESIZE)


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


class Uploads(Ends):
    """Goes on until the test has ended."""

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self.begun = 0

    async def run(self, _operation: Operation) -> None:
        self.begun += 1
        await asyncio.Event().wait()


def test_attaching_does_not_wait_for_uploads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RUNNING_MAX", "UPLOADING_MAX"):
        monkeypatch.setattr(operations, name, AT_ONCE)
    world = World.open(tmp_path / "catalog.db")
    world.add_accounts()
    slow = [OperationKind.SNAPSHOT, OperationKind.SNAPSHOT_GROUP] * AT_ONCE
    for number, kind in enumerate([*slow, *QUICK]):
        row = Operation(
            id=OperationId(f"op-{number}"), kind=kind, account_id=OWNER, disk_id=None, created_at=NOW + number,
            updated_at=NOW,
        )  # fmt: skip
        world.db.write_sync(lambda conn, row=row: rows.insert(conn, row))  # type: ignore[misc]
    runner, uploads = Operations(db=world.db, clock=lambda: NOW), Uploads(world)
    runner.serve(dict.fromkeys(slow, uploads) | dict.fromkeys(QUICK, Ends(world)))

    async def ended() -> list[OperationState]:
        async with asyncio.TaskGroup() as tasks:
            running = tasks.create_task(runner.run())
            ids = [OperationId(f"op-{len(slow) + number}") for number in range(len(QUICK))]
            found = [await runner.wait(name, 5.0) for name in ids]
            running.cancel()
        return [one.state for one in found]

    assert run(ended()) == [OperationState.DONE] * len(QUICK)
    # And there is a limit to uploads, too.
    assert uploads.begun == AT_ONCE
    world.db.close()
