"""Snapshots that are cancelled, with a real storage daemon: in each phase, before and after a restart (S260)."""

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from drystone.catalog import operations, sessions, snapshots
from drystone.domain.errors import Refusal, RefusalError, StoreUnavailableError
from drystone.domain.operation import Operation, OperationKind, OperationState
from drystone.domain.payloads import SnapshotPayload
from drystone.domain.session import SessionState
from drystone.domain.settling import Phase
from drystone.domain.tracking import TrackingState
from drystone.engine import freezing
from drystone.engine.live_disk import LiveDisk
from drystone.nbd.client import NbdClient
from drystone.service.calls.operation_control import OperationControl
from drystone.service.jobs import snapshot as job_module
from drystone.service.jobs import store_wait
from drystone.service.operations import Operations
from drystone.service.upkeep import epoch
from tests.service import parts
from tests.service.records_world import caller, run
from tests.service.test_live_disks import BLOCK, DISK, Site, site_in


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    with site_in(tmp_path, monkeypatch) as made:
        yield made


def runner_of(site: Site) -> Operations:
    runner = site.installation.operations
    runner.serve({OperationKind.SNAPSHOT: parts.take_snapshot(site.installation, site.host)})
    return runner


def control(site: Site) -> OperationControl:
    nothing: Any = dict.fromkeys(("disks", "snapshots", "image_files", "proving", "space"))
    return OperationControl(
        transactions=site.installation.transactions, operations=site.installation.operations, **nothing
    )


async def frozen(site: Site, guest: NbdClient, *, noted: bool) -> Any:
    """Write, freeze, write: what the guest wrote is in both bitmaps."""
    daemon = site.served_by.daemons.running()[0]
    guest.pwrite(3 * BLOCK, b"x" * BLOCK)
    begun = site.begin()
    await freezing.freeze(daemon, [freezing.target(site.layout, begun.disk, begun.freeze)])
    guest.pwrite(7 * BLOCK, b"x" * BLOCK)
    if noted:
        await site.note_frozen(begun)
    return begun


async def check_undone(site: Site, begun: Any, ended: Operation) -> None:
    """Nothing is left of the snapshot, and nothing that the guest wrote is forgotten."""
    assert (ended.state, ended.error_code, ended.error) == (
        OperationState.FAILED, Refusal.CANCELLED, "It was cancelled.",
    )  # fmt: skip
    db = site.world.db
    assert db.read_sync(lambda conn: snapshots.get(conn, begun.operation.snapshot_id)) is None
    session = db.read_sync(lambda conn: sessions.get(conn, ended.payload_as(SnapshotPayload).session))
    assert session is None or session.state is SessionState.FENCED
    disk = site.row()
    assert (disk.tracking, disk.error_prompt) == (TrackingState.LIVE, "")
    live = LiveDisk(daemon=site.served_by.daemons.running()[0], id=DISK)
    seen = await live.look()
    assert not seen.frozen
    assert not seen.has_view
    assert not list(site.layout.scratch.glob("disk-*.raw"))
    assert set(seen.bitmaps) == {disk.bitmap}
    await live.unexport()
    assert (await live.read_bitmap(disk.bitmap or "")).tolist() == [[3, 4], [7, 8]]


async def uploads_for_ever(begun: asyncio.Event) -> Callable[..., Any]:
    async def upload(*_given: object, **_named: object) -> Any:
        begun.set()
        await asyncio.Event().wait()

    return upload


@pytest.mark.parametrize("where", ["uploading", "waiting for the store", "crashed", "crashed and unnoted"])
def test_a_cancelled_snapshot_leaves_nothing_and_forgets_nothing(
    site: Site, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    async def story() -> None:
        reached = asyncio.Event()
        if where == "uploading":
            monkeypatch.setattr(job_module, "run_job", await uploads_for_ever(reached))
        else:

            async def no_store(*_given: object, **_named: object) -> Any:
                reached.set()
                raise StoreUnavailableError("it does not answer")

            monkeypatch.setattr(job_module, "run_job", no_store)

            async def advance(*_given: object) -> None:
                raise StoreUnavailableError("it does not answer")

            monkeypatch.setattr(epoch, "advance", advance)
        async with site.served() as path:
            with NbdClient(path, DISK) as guest:
                begun = await frozen(site, guest, noted=where != "crashed and unnoted")
                if where.startswith("crashed"):
                    # The row says so, and then the server is gone before it has told anybody.
                    await control(site).cancel(caller(), begun.operation.id)
                    await site.served_by.watch.leave()
                    site.start()
                    await site.served_by.watch.take_over()
                runner = runner_of(site)
                async with asyncio.TaskGroup() as tasks:
                    running = tasks.create_task(runner.run())
                    if not where.startswith("crashed"):
                        await asyncio.wait_for(reached.wait(), 10)
                        await asyncio.sleep(0.05)
                        await control(site).cancel(caller(), begun.operation.id)
                    ended = await runner.wait(begun.operation.id, 10)
                    running.cancel()
            await check_undone(site, begun, ended)
            assert not runner.bugs.counts

    run(story())


def test_a_snapshot_that_waits_for_its_store_is_not_given_up_by_whoever_settles_its_disk(site: Site) -> None:
    """What it waits for is no failure: without a code it goes on (P6)."""

    async def story() -> None:
        async with site.served() as path:
            with NbdClient(path, DISK) as guest:
                begun = await frozen(site, guest, noted=True)
            said = "waits for the snapshot store"
            await site.installation.transactions.change(
                lambda change: store_wait.say_waiting(change, operation=begun.operation, error=said)
            )
            await site.host.settle(DISK)
            now = site.operation(begun)
            assert (now.phase, now.error) == (Phase.FROZEN, said)
            assert (await LiveDisk(daemon=site.served_by.daemons.running()[0], id=DISK).look()).frozen

    run(story())


def test_a_snapshot_that_is_complete_is_not_cancelled(site: Site) -> None:
    async def story() -> None:
        async with site.served():
            begun = site.begin()
            await site.installation.transactions.change(
                lambda change: operations.update(
                    change.conn, begun.operation.id, updated_at=change.at, phase=Phase.COMMITTED.value
                )
            )
            with pytest.raises(RefusalError, match="delete it if it is not wanted") as caught:
                await control(site).cancel(caller(), begun.operation.id)
            assert caught.value.kind is Refusal.TOO_LATE
            assert site.operation(begun).error_code == ""

    run(story())
