"""Making disks: what a client is told and finds, when some of them fail or the server is killed meanwhile."""

import asyncio
import contextlib
import random
import threading
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from drystone.catalog import disks, operations
from drystone.catalog.rows import Rows
from drystone.domain.disk import POSTPAID, Disk, DiskState
from drystone.domain.errors import Refusal, RefusalError, SpaceError
from drystone.domain.ids import DiskId, OperationId
from drystone.domain.operation import Operation, OperationKind
from drystone.engine.layout import Layout
from drystone.engine.volume import Volume
from drystone.service.calls import disk_lifecycle
from drystone.service.calls.disk_lifecycle import DiskLifecycle
from drystone.service.jobs import create_disk
from drystone.service.jobs.create_disk import CreateDisk
from drystone.service.jobs.terminate import Terminate
from drystone.service.requests import NewDisks
from tests.service import parts
from tests.service.records_world import NOW, ZONE, World, caller, run

pytestmark = pytest.mark.usefixtures("both_catalogs")

NEW = NewDisks(zone=ZONE, charge_type=POSTPAID, disk_type="CLOUD_PREMIUM", size_gib=10, client_token="pvc-1")


class Maker:
    """A server's part that makes disks; their images are empty files.

    `broken` says how many more of them fail; each waits for the first of `gates`, if there is one.
    """

    def __init__(self, world: World, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.world, self.data = world, data
        self.made: list[DiskId] = []
        self.broken = 0
        self.gates: list[asyncio.Event] = []
        self.seed = 0
        monkeypatch.setattr(create_disk, "make_image", self._make_image)
        self.start()

    def start(self) -> None:
        """Begin as a server that was just started."""
        self.seed += 1
        self.installation = parts.server_parts(
            self.world.db, Layout(self.data), clock=lambda: NOW, rng=random.Random(self.seed)
        )
        made_of = self.installation, parts.host_parts(self.installation)
        host = made_of[1].host
        self.installation.operations.serve(
            {
                OperationKind.CREATE_DISK: parts.of_parts(CreateDisk, *made_of),
                OperationKind.TERMINATE: parts.of_parts(Terminate, *made_of),
            }
        )
        made = self.installation
        self.lifecycle = DiskLifecycle(
            transactions=made.transactions, operations=made.operations, host=host, layout=made.layout,
            devices=made.devices, room=made.room, zone=ZONE, disks_per_call=50, disks_per_instance=20, root=False,
        )  # fmt: skip

    async def _make_image(self, _volume: Volume, _layout: Layout, disk: Disk, *, epoch: int) -> None:
        assert epoch == disk.epoch
        if self.gates:
            await self.gates.pop(0).wait()
        if self.broken:
            self.broken -= 1
            raise SpaceError("the file system is full")
        self.made.append(disk.id)
        (self.data / "disks" / disk.id / "image").touch()

    @contextlib.asynccontextmanager
    async def working(self) -> AsyncIterator[None]:
        """Run operations, and leave when none is left."""
        async with asyncio.TaskGroup() as tasks:
            task = tasks.create_task(self.installation.operations.run())
            yield
            while await self.world.db.read(operations.unfinished) or self.installation.operations._active:
                await asyncio.sleep(0)
            task.cancel()

    async def first_is_made(self) -> DiskId:
        """Wait until one disk is made and waits for the others, which stand at the gate."""
        while True:
            for operation in await self.world.db.read(operations.unfinished):
                if operation.phase == create_disk.MADE and not self.gates:
                    assert operation.disk_id is not None
                    return operation.disk_id
            await asyncio.sleep(0)

    def rows(self) -> list[DiskId]:
        return [disk.id for disk in self.world.db.read_sync(disks.everything)]

    def shown(self) -> list[DiskId]:
        return [disk.id for disk in self.world.db.read_sync(disks.everything) if disk.state is DiskState.UNATTACHED]

    def files(self) -> list[str]:
        return [path.name for path in (self.data / "disks").iterdir()]


@pytest.fixture
def maker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Maker]:
    world = World.open(tmp_path / "catalog.db")
    world.add_accounts()
    (tmp_path / "disks").mkdir()
    yield Maker(world, tmp_path, monkeypatch)
    world.db.close()


def test_the_token_of_a_call_that_failed_later_makes_disks_again(maker: Maker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disk_lifecycle, "CREATE_SECONDS_MAX", 0.0)

    async def story() -> None:
        first = await maker.lifecycle.create(caller(), NEW)
        assert await maker.lifecycle.create(caller(), NEW) == first
        # The server is killed, and the one after it finds no space.
        maker.start()
        maker.broken = 1
        async with maker.working():
            pass
        assert (maker.rows(), maker.files()) == ([], [])
        async with maker.working():
            second = await maker.lifecycle.create(caller(), NEW)
        assert second != first
        assert maker.rows() == list(second)

    run(story())


def two_gates() -> list[asyncio.Event]:
    """Return an open and a shut one."""
    gates = [asyncio.Event(), asyncio.Event()]
    gates[0].set()
    return gates


def test_a_disk_is_nobodys_while_another_of_its_call_may_still_fail(maker: Maker) -> None:
    """S29."""
    maker.world.instance("ins-1")

    async def story() -> None:
        maker.gates = two_gates()
        shut = maker.gates[1]

        async def create() -> None:
            with pytest.raises(RefusalError, match="the file system is full") as failed:
                await maker.lifecycle.create(caller(), replace(NEW, count=2))
            assert failed.value.kind == Refusal.FULL

        async with maker.working(), asyncio.TaskGroup() as tasks:
            tasks.create_task(create())
            first = await maker.first_is_made()
            with pytest.raises(RefusalError) as refused:
                await maker.lifecycle.attach(caller(), "ins-1", [first], None, None)
            assert refused.value.kind == Refusal.NO_SUCH_DISK
            maker.broken = 1
            shut.set()
        assert (maker.rows(), maker.files()) == ([], [])
        async with maker.working():
            again = await maker.lifecycle.create(caller(), replace(NEW, count=2))
        assert sorted(maker.shown()) == sorted(again)

    run(story())


def test_what_was_made_before_a_kill_is_not_made_again_and_all_are_shown(maker: Maker) -> None:
    async def story() -> None:
        maker.gates = two_gates()
        async with asyncio.TaskGroup() as tasks:
            running = [
                tasks.create_task(maker.installation.operations.run()),
                tasks.create_task(maker.lifecycle.create(caller(), replace(NEW, count=2))),
            ]
            first = await maker.first_is_made()
            for task in running:
                task.cancel()
        assert maker.shown() == []
        maker.start()
        async with maker.working():
            pass
        assert maker.made.count(first) == 1
        assert sorted(maker.shown()) == sorted(maker.made)
        assert len(maker.made) == 2

    run(story())


def test_hung_disks_hold_the_call_for_the_time_of_one(maker: Maker, monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []

    async def wait(operation_id: OperationId, seconds: float) -> Operation:
        waits.append(seconds)
        found = await maker.world.db.read(lambda conn: operations.get(conn, operation_id))
        assert found is not None
        return found

    monkeypatch.setattr(maker.installation.operations, "wait", wait)
    assert len(run(maker.lifecycle.create(caller(), replace(NEW, count=50)))) == 50
    assert sum(waits) <= disk_lifecycle.CREATE_SECONDS_MAX


def test_what_a_call_reads_grows_with_its_disks_and_not_with_their_square(
    maker: Maker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There is one writer for everybody: calls of 50 disks held it up while each disk read the rows of all."""
    read: list[str] = []
    value = Rows.value

    def counted(self: Rows[Any], row: Any) -> Any:
        if threading.current_thread().name.startswith("catalog-write"):
            read.append(type(self).__name__)
        return value(self, row)

    monkeypatch.setattr(Rows, "value", counted)

    async def make(count: int) -> int:
        maker.start()
        read.clear()
        async with maker.working():
            made = await maker.lifecycle.create(caller(), replace(NEW, count=count, client_token=None))
        assert set(made) <= set(maker.shown())
        assert len(made) == count
        return len(read)

    few, many = run(make(5)), run(make(50))
    assert few > 0
    assert many <= 10 * few


@pytest.mark.parametrize(
    "extra", [{"throughput_performance": 5, "size_gib": 460}, {"burst_performance": True, "size_gib": 459}]
)
def test_extra_performance_needs_a_large_disk(maker: Maker, extra: dict[str, Any]) -> None:
    with pytest.raises(RefusalError, match="Extra performance needs a disk over 460 GiB"):
        asyncio.run(maker.lifecycle.create(caller(), replace(NEW, disk_type="CLOUD_HSSD", **extra)))
    assert maker.rows() == []
