"""What a start does with disks that make trouble."""

import asyncio
import os
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from drystone.catalog import disks, operations
from drystone.domain.disk import DiskState
from drystone.domain.errors import UnavailableError
from drystone.domain.ids import DiskId, OperationId
from drystone.domain.operation import Operation, OperationKind, OperationState
from drystone.domain.settling import DaemonPlan, Phase
from drystone.domain.tracking import TrackingState
from drystone.engine.layout import Layout
from drystone.engine.live_disk import LiveDisk
from drystone.service.disk_locks import DiskLocks
from drystone.service.host import daemons as daemons_module
from drystone.service.host.host import Host
from drystone.service.host.watch import Watch
from drystone.service.jobs.attach import Detach
from drystone.service.rows.settling import record_failing
from tests.service.parts import changed, host_parts, server_parts, transactions
from tests.service.records_world import NOW, OWNER, World, run

pytestmark = pytest.mark.usefixtures("both_catalogs")


def test_a_disk_that_cannot_be_closed_does_not_keep_the_others_from_being_served() -> None:
    released = []

    async def read(_rows: Any) -> list[Any]:
        return [SimpleNamespace(id=DiskId(f"disk-0000000{number}"), daemon=f"d{number}") for number in range(3)]

    async def release(disk_id: DiskId) -> None:
        if disk_id == "disk-00000001":
            raise UnavailableError("it does not answer")
        released.append(disk_id)

    watch = SimpleNamespace(transactions=SimpleNamespace(read=read), host=SimpleNamespace(release=release))
    asyncio.run(Watch.release_idle(cast("Any", watch)))
    assert released == ["disk-00000000", "disk-00000002"]


def test_detaching_takes_away_what_a_daemon_left_that_died_before(tmp_path: Path) -> None:
    world = World.open(tmp_path / "catalog.db")
    world.add_accounts()
    world.instance("ins-1")
    name = world.disk("disk-a", state=DiskState.DETACHING, daemon=None, instance_id="ins-1", device="/dev/x").id
    made = Operation(
        id=OperationId("op-1"), kind=OperationKind.DETACH, account_id=OWNER, disk_id=name, created_at=NOW,
        updated_at=NOW,
    )  # fmt: skip
    world.db.write_sync(lambda conn: operations.insert(conn, made))
    settled = []

    async def row(disk_id: DiskId) -> Any:
        return world.db.read_sync(lambda conn: disks.get(conn, disk_id))

    async def running(_disk: Any) -> None:
        return None

    async def settle(disk_id: DiskId) -> None:
        # The device of this host goes before anybody hears that the disk is detached.
        assert (await row(disk_id)).state is DiskState.DETACHING
        settled.append(disk_id)

    async def release(_disk: DiskId) -> None:
        pass

    async def detach() -> None:
        host: Any = SimpleNamespace(row=row, running=running, settle=settle, release=release)
        job = Detach(transactions=transactions(world.db), locks=DiskLocks(), host=host, serving=host)
        await job.run(made)

    run(detach())
    assert settled == [name]
    ended = world.db.read_sync(lambda conn: operations.get(conn, made.id))
    assert ended is not None
    assert ended.state is OperationState.DONE
    world.db.close()


def test_a_stray_disk_that_cannot_be_closed_does_not_end_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    closed, ended = [], []

    async def disks_open(daemon: Any) -> list[str]:
        return [f"disk-{daemon.name}", "disk-kept"] if daemon.name != "mute" else []

    async def close(live: LiveDisk) -> None:
        if live.daemon.name == "bad":
            raise UnavailableError("it does not answer")
        closed.append((live.daemon.name, live.id))

    async def quit_if_empty(daemon: Any) -> None:
        if daemon.name == "mute":
            raise UnavailableError("it does not answer")
        ended.append(daemon.name)

    monkeypatch.setattr(daemons_module, "disks_open", disks_open)
    monkeypatch.setattr(LiveDisk, "close", close)
    known = {DiskId("disk-kept"): SimpleNamespace(daemon="good"), DiskId("disk-good"): SimpleNamespace(daemon="bad")}
    watch = SimpleNamespace(daemons=SimpleNamespace(quit_if_empty=quit_if_empty))
    for name in ("bad", "mute", "good"):
        asyncio.run(
            Watch._close_strays(cast("Any", watch), cast("Any", SimpleNamespace(name=name)), cast("Any", known))
        )
    assert (closed, ended) == ([("good", "disk-good")], ["good"])


def test_a_disk_in_the_recycle_bin_is_closed_when_nothing_needs_it_open(tmp_path: Path) -> None:
    world = World.open(tmp_path / "catalog.db")
    world.add_accounts()
    names = [
        world.disk(f"disk-{number}", state=state, daemon=f"disk-{number}", hydrating=hydrating).id
        for number, (state, hydrating) in enumerate(
            [(DiskState.UNATTACHED, False), (DiskState.TORECYCLE, False), (DiskState.TORECYCLE, True),
             (DiskState.ATTACHED, False)]
        )
    ]  # fmt: skip
    closed = []

    async def close(disk_id: DiskId) -> None:
        closed.append(disk_id)

    async def release() -> None:
        host = SimpleNamespace(transactions=transactions(world.db), locks=DiskLocks(), close=close)
        for name in names:
            await Host.release(cast("Any", host), name)

    run(release())
    assert closed == names[:2]
    world.db.close()


def test_a_start_goes_through_all_processes_once_and_beside_the_event_loop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a reboot, with a directory for each instance that there was."""
    world = World.open(tmp_path / "catalog.db")
    world.add_accounts()
    world.instance("ins-1")
    threads, layout = [], Layout(tmp_path)
    for number in range(5):
        world.disk(f"disk-{number}", state=DiskState.ATTACHED, daemon=f"ins-{number}", instance_id="ins-1")
        (layout.run / f"ins-{number}").mkdir(parents=True)
        (layout.run / f"ins-{number}" / "pid").write_text("1\n")

    def noting(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
        def noted(place: Any) -> Any:
            if str(place) == "/proc":
                threads.append(threading.current_thread())
            return function(place)

        return noted

    monkeypatch.setattr(os, "listdir", noting(os.listdir))
    monkeypatch.setattr(Path, "iterdir", noting(Path.iterdir))
    given = server_parts(world.db, layout, clock=lambda: NOW)
    served = host_parts(given)

    async def settle(host: Host, disk_id: DiskId) -> None:
        assert await host.running(await host.row(disk_id)) is None

    monkeypatch.setattr(Host, "settle", settle)
    run(served.watch.take_over())
    assert given.operations.bugs.counts.total() == 0
    assert len(threads) == 1
    assert threads[0] is not threading.main_thread()
    world.db.close()


@pytest.mark.parametrize("phase", [Phase.FREEZING, Phase.FROZEN, Phase.COMMITTED])
def test_a_snapshot_that_was_committed_while_its_disk_was_looked_at_is_not_failed(tmp_path: Path, phase: Phase) -> None:
    """A commit needs no lock of the disk: the daemon may die, and the snapshot be NORMAL all the same."""
    world = World.open(tmp_path / "catalog.db")
    world.add_accounts()
    disk = world.disk("disk-a", state=DiskState.ATTACHED, tracking=TrackingState.LIVE, daemon="d", bitmap="b")
    seen = replace(world.operation("op-1", disk_id=disk.id), phase=Phase.FROZEN)
    world.db.write_sync(lambda conn: operations.update(conn, seen.id, updated_at=NOW, phase=phase.value))
    changed(world.db, lambda change: record_failing(change, seen, DaemonPlan(lost="the daemon died")))
    after = world.db.read_sync(lambda conn: operations.get(conn, seen.id))
    assert after is not None
    failed = phase is not Phase.COMMITTED
    assert (after.phase, bool(after.error)) == (Phase.FAILING if failed else Phase.COMMITTED, failed)
    assert (world.stored_disk(disk.id).tracking is TrackingState.LOST) == failed
    world.db.close()
