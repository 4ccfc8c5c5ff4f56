"""An image that turns out to be damaged is a fault of the file, and is told as one."""

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from drystone.catalog import operations
from drystone.domain.disk import DiskState
from drystone.domain.errors import ProtocolError, Refusal
from drystone.domain.ids import OperationId
from drystone.domain.operation import OperationKind, OperationState
from drystone.domain.payloads import ImportPayload
from drystone.engine import convert
from drystone.engine.layout import Layout
from drystone.service.jobs.import_disk import ImportDisk
from drystone.service.operations import Operations
from tests.service.parts import transactions
from tests.service.records_world import World

OP = OperationId("op-00000001")


def test_a_damaged_image_is_no_internal_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def damaged(_file: object) -> None:
        raise ProtocolError("/images/a.qcow2 is damaged or cut off: 3 errors")

    async def examined(_file: object) -> object:
        return SimpleNamespace(size_bytes=1 << 20)

    monkeypatch.setattr(convert, "examine", examined)
    monkeypatch.setattr(convert, "check", damaged)
    world = World.open(tmp_path / "catalog.db")
    world.add_accounts()
    made = world.disk("disk-00000001", state=DiskState.CREATING)
    image = tmp_path / "a.qcow2"
    image.write_bytes(bytes(4096))
    payload = ImportPayload(path=str(image), format="qcow2")
    world.operation(OP, kind=OperationKind.IMPORT, disk_id=made.id, phase="COPYING", payload=payload)

    async def row(_disk: object) -> object:
        return made

    host: Any = SimpleNamespace(row=row)
    room: Any = SimpleNamespace(layout=Layout(tmp_path))
    runner = Operations(transactions(world.db))
    runner.serve({OperationKind.IMPORT: ImportDisk(transactions=transactions(world.db), room=room, host=host)})

    async def story() -> None:
        async with asyncio.TaskGroup() as tasks:
            running = tasks.create_task(runner.run())
            await runner.wait(OP, 5)
            running.cancel()

    asyncio.run(story())
    ended = world.db.read_sync(lambda conn: operations.get(conn, OP))
    assert ended is not None
    assert (ended.state, ended.error_code) == (OperationState.FAILED, Refusal.BAD_VALUE)
    assert ended.error == "/images/a.qcow2 is damaged or cut off: 3 errors."
    world.db.close()
