"""What rows and storage daemons say of each other, with a real daemon: a disk opened in part, silent, refused."""

import asyncio
import contextlib
import os
import random
import signal
import socket
import threading
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from drystone.catalog import disks, operations, snapshots, unpublished
from drystone.domain.disk import Disk, DiskState
from drystone.domain.errors import Refusal, RefusalError, SnapshotBrokenError, UnavailableError
from drystone.domain.ids import DiskId, InstanceId, OperationId, SnapshotId
from drystone.domain.operation import Operation, OperationKind, OperationState
from drystone.domain.payloads import ResizePayload, SnapshotPayload
from drystone.domain.settling import Phase
from drystone.domain.snapshot import Snapshot, SnapshotState
from drystone.domain.tracking import TrackingState
from drystone.engine import freezing, graph, process, qmp
from drystone.engine.layout import Layout, node
from drystone.engine.live_disk import LiveDisk, OpenDisk, disks_open
from drystone.engine.volume import Qcow2Volume, volume_of
from drystone.nbd.client import NbdClient
from drystone.nbd.server import NbdServer
from drystone.service.calls.quiescing import Quiescing
from drystone.service.calls.snapshot_begin import begin_snapshot
from drystone.service.calls.snapshot_lifecycle import SnapshotLifecycle
from drystone.service.host import snapshot_server
from drystone.service.host.host import Host
from drystone.service.host.snapshot_server import SlowSourceError
from drystone.service.jobs.attach import Detach
from drystone.service.jobs.create_disk import make_image
from drystone.service.jobs.delete_snapshot import DeleteSnapshot
from drystone.service.jobs.initialize import Initialize
from drystone.service.jobs.resize import Resize
from drystone.service.jobs.rollback import Rollback
from drystone.service.jobs.snapshot_commit import commit
from drystone.service.jobs.terminate import Terminate
from drystone.service.requests import NewSnapshot
from drystone.service.rows import endings
from drystone.service.rows.instants import record_frozen
from drystone.service.rows.quotas import SnapshotLimits
from drystone.service.transactions import Change
from drystone.service.upkeep.publication import Publication
from drystone.service.upkeep.sweep import Sweep
from drystone.transfer.hydrate import hydrate
from tests.service import parts
from tests.service.parts import changed
from tests.service.records_world import NOW, OWNER, ZONE, World, caller, run, with_accounts

DISK = DiskId("disk-00000001")
INSTANCE = InstanceId("ins-00000001")
OTHER = InstanceId("ins-00000002")
BLOCK = 4096


class Site:
    """A server's part that serves one disk of 1 GiB, attached to an NBD instance."""

    def __init__(self, world: World, data: Path) -> None:
        self.world, self.data = world, data
        self.layout = Layout(data)
        world.instance(INSTANCE)
        world.disk(DISK, size_gib=1, state=DiskState.ATTACHED, instance_id=INSTANCE, tracking=TrackingState.STOPPED)
        self.all_parts: list[parts.HostParts] = []
        self.start()

    def start(self) -> None:
        """Begin as a server that was just started."""
        self.installation = parts.server_parts(
            self.world.db, self.layout, clock=lambda: self.world.now, monotonic=lambda: NOW,
            rng=random.Random(len(self.all_parts)), environment=dict(os.environ),
        )  # fmt: skip
        self.served_by = parts.host_parts(self.installation)
        self.host = self.served_by.host
        self.all_parts.append(self.served_by)

    @contextlib.asynccontextmanager
    async def served(self) -> AsyncIterator[Path]:
        """Make the disk and serve it; every daemon has ended afterwards."""
        await make_image(await self.host.volume(self.row()), self.layout, self.row(), epoch=0)
        try:
            await self.served_by.serving.revive(DISK)
            yield self.socket()
        finally:
            for name in (INSTANCE, DISK, OTHER):
                await self.served_by.daemons.kill(name)
            for one in self.all_parts:
                await one.watch.leave()

    def job(self, kind: Any) -> Any:
        """Return what does a kind of operation."""
        if kind is DeleteSnapshot:
            return parts.delete_snapshot(self.installation)
        return parts.of_parts(kind, self.installation, self.served_by)

    def row(self) -> Disk:
        found = self.world.db.read_sync(lambda conn: disks.get(conn, DISK))
        assert found is not None
        return found

    def socket(self) -> Path:
        return Path(self.row().nbd_socket or "")

    def begin(self) -> Any:
        """Record a snapshot that is about to be frozen."""
        template = Snapshot(
            id=SnapshotId("snap-00000001"), account_id=OWNER, disk_id=DISK, state=SnapshotState.CREATING, size_gib=1,
            zone=ZONE, created_at=NOW, modified_at=NOW,
        )  # fmt: skip
        row = self.row()
        return changed(self.world.db, lambda change: begin_snapshot(change, row, template, request_id="r-1"))

    async def note_frozen(self, begun: Any) -> None:
        """Record that it was frozen, as after a crash that hid the instant."""
        await self.installation.transactions.change(lambda change: record_frozen(change, [begun.operation]))

    def operation(self, begun: Any) -> Operation:
        return self.again(begun.operation)

    def again(self, operation: Operation) -> Operation:
        found = self.world.db.read_sync(lambda conn: operations.get(conn, operation.id))
        assert found is not None
        return found

    def resize(self, size_gib: int) -> Operation:
        """Record a resize as the call does."""
        made = Operation(
            id=OperationId("op-resize"), kind=OperationKind.RESIZE, account_id=OWNER, disk_id=DISK,
            payload=ResizePayload(size_gib=size_gib), created_at=NOW, updated_at=NOW,
        )  # fmt: skip
        self.world.db.write_sync(lambda conn: operations.insert(conn, made))
        self.change(state=DiskState.EXPANDING)
        return made

    def change(self, disk_id: DiskId = DISK, **values: object) -> None:
        self.world.db.write_sync(lambda conn: disks.compare_and_set(conn, disk_id, expected={}, values=values))


@contextlib.contextmanager
def site_in(place: Path, patched: pytest.MonkeyPatch) -> Iterator[Site]:
    """Make a site below a directory."""

    async def sweep(_self: Any) -> None:
        """No store is there to be swept."""

    patched.setattr(Sweep, "sweep", sweep)
    with with_accounts(place / "catalog.db") as world:
        yield Site(world, place)


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    with site_in(tmp_path, monkeypatch) as made:
        yield made


def test_a_disk_whose_bitmap_is_gone_is_not_served_as_if_it_were_tracked(site: Site) -> None:
    async def story() -> None:
        async with site.served():
            daemon = site.served_by.daemons.running()[0]
            before = site.row()
            assert (before.tracking, before.bitmap is not None) == (TrackingState.LIVE, True)
            await LiveDisk(daemon=daemon, id=DISK).drop_bitmap(before.bitmap or "")
            disk, _ = await site.host.opened(DISK)
            assert disk.tracking == TrackingState.LOST
            held = (await LiveDisk(daemon=daemon, id=DISK).look()).bitmaps
            assert [(one.name, one.recording) for one in held.values()] == [(disk.bitmap, True)]

    run(story())


@pytest.mark.parametrize("frozen", [False, True])
def test_a_snapshot_that_fails_because_its_bitmap_is_gone_does_not_count_it_as_merged(
    site: Site, *, frozen: bool
) -> None:
    """S34."""

    async def story() -> None:
        async with site.served() as path:
            daemon = site.served_by.daemons.running()[0]
            begun = site.begin()
            if frozen:
                await freezing.freeze(daemon, [freezing.target(site.layout, begun.disk, begun.freeze)])
                await daemon.remove_exports(node("view", DISK))
            await LiveDisk(daemon=daemon, id=DISK).drop_bitmap(begun.freeze.old_bitmap)
            with NbdClient(path, DISK) as guest:
                guest.pwrite(0, b"x" * BLOCK)
            await parts.take_snapshot(site.installation, site.host).fail(
                begun.operation, Refusal.INTERNAL, "the time was up"
            )
            ended, disk = site.operation(begun), site.row()
            assert (ended.state, ended.error) == (OperationState.FAILED, "the time was up")
            assert disk.tracking == TrackingState.LOST
            assert ((await LiveDisk(daemon=daemon, id=DISK).look()).bitmaps)[disk.bitmap or ""].recording

    run(story())


def test_a_snapshot_that_is_given_up_is_never_committed_and_keeps_what_was_written(site: Site) -> None:
    """S22, S34."""

    async def story() -> None:
        async with site.served() as path:
            daemon = site.served_by.daemons.running()[0]
            with NbdClient(path, DISK) as guest:
                guest.pwrite(3 * BLOCK, b"x" * BLOCK)
                begun = site.begin()
                await freezing.freeze(daemon, [freezing.target(site.layout, begun.disk, begun.freeze)])
                guest.pwrite(7 * BLOCK, b"x" * BLOCK)
            job = parts.take_snapshot(site.installation, site.host)
            await site.note_frozen(begun)

            # The daemon does not answer just then: what is known by then is that it was given up.
            async def silent(_host: Host, _disk_id: DiskId) -> None:
                raise UnavailableError("it does not answer")

            with pytest.MonkeyPatch.context() as patched:
                patched.setattr(Host, "settle", silent)
                with pytest.raises(UnavailableError):
                    await job.fail(begun.operation, Refusal.INTERNAL, "the store is full")
            given_up = site.operation(begun)
            assert (given_up.state, given_up.phase, given_up.error) == (
                OperationState.RUNNING, Phase.FROZEN, "the store is full",
            )  # fmt: skip
            uploaded: Any = SimpleNamespace(
                operation=given_up, session=given_up.payload_as(SnapshotPayload).session, result=None, job=None
            )
            with pytest.raises(SnapshotBrokenError):
                changed(site.world.db, lambda change: commit(change, uploaded))
            await job.run(given_up)
            assert site.operation(begun).state is OperationState.FAILED
            assert site.world.db.read_sync(lambda conn: snapshots.get(conn, begun.operation.snapshot_id)) is None
            disk = site.row()
            assert disk.tracking == TrackingState.LIVE
            await LiveDisk(daemon=daemon, id=DISK).unexport()
            assert (await LiveDisk(daemon=daemon, id=DISK).read_bitmap(disk.bitmap or "")).tolist() == [[3, 4], [7, 8]]

    run(story())


@contextlib.contextmanager
def stopped(pid: int) -> Iterator[None]:
    """Keep a storage daemon from answering."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)


@pytest.mark.clock
def test_nobody_takes_a_daemon_for_dead_that_runs_and_is_silent(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """S25: a start finds a daemon that does not answer; meanwhile jobs and calls begin, and then it answers."""
    monkeypatch.setattr(qmp, "CONNECT_SECONDS_MAX", 0.2)

    async def story() -> None:
        async with site.served() as path:
            daemon = site.served_by.daemons.running()[0]
            begun = site.begin()
            await freezing.freeze(daemon, [freezing.target(site.layout, begun.disk, begun.freeze)])
            await site.note_frozen(begun)
            # What an older version may have left in a daemon: no row knows it.
            other = DiskId("disk-00000002")
            stray = Qcow2Volume(id=other, image=site.data / "stray.qcow2")
            await stray.create(1 << 20)
            await LiveDisk(daemon=daemon, id=other).open(OpenDisk(volume=stray, limits=None, bitmap="b", backing=None))
            before = site.row()
            with NbdClient(path, DISK) as guest:
                await site.served_by.watch.leave()
                site.start()
                with stopped(daemon.pid):
                    await site.served_by.watch.take_over()
                    for use in (site.host.opened, site.host.settle, site.host.close):
                        with pytest.raises(UnavailableError):
                            await use(DISK)
                    await parts.take_snapshot(site.installation, site.host).run(begun.operation)
                    detach: Any = SimpleNamespace(on_disk=DISK)
                    with pytest.raises(UnavailableError):
                        await site.job(Detach).run(detach)
                    assert await site.served_by.watch.check() == []
                    assert site.row() == before
                # It answers, and a busy machine may take its time for that.
                monkeypatch.setattr(qmp, "CONNECT_SECONDS_MAX", 10.0)
                async with asyncio.timeout(60):
                    while not site.served_by.daemons.running():
                        # Attempts that nobody answered may stand before this one.
                        assert await site.served_by.watch.check() == []
                guest.pwrite(0, b"x" * BLOCK)
                guest.flush()
            daemon = site.served_by.daemons.running()[0]
            assert await disks_open(daemon) == {DISK}
            assert (site.row().daemon, site.row().tracking) == (before.daemon, TrackingState.LIVE)
            resumed = site.operation(begun)
            assert (resumed.state, resumed.phase, resumed.error) == (OperationState.RUNNING, Phase.FROZEN, "")
            assert (await LiveDisk(daemon=daemon, id=DISK).look()).frozen

    run(story())


@pytest.mark.clock
def test_the_disks_of_a_daemon_that_died_while_it_was_silent_are_served_again(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(qmp, "CONNECT_SECONDS_MAX", 0.2)

    async def story() -> None:
        async with site.served():
            pid = site.served_by.daemons.running()[0].pid
            await site.served_by.watch.leave()
            site.start()
            with stopped(pid):
                await site.served_by.watch.take_over()
                os.kill(pid, signal.SIGKILL)
            dying = process.adopt(site.layout.daemon(INSTANCE))
            assert dying is None or await dying.wait_gone(10)
            await site.served_by.watch.check()
            assert site.row().tracking == TrackingState.LOST
            with NbdClient(site.socket(), DISK) as guest:
                guest.pwrite(0, b"x" * BLOCK)

    run(story())


def test_a_disk_whose_resize_is_refused_is_served_again(site: Site) -> None:
    async def story() -> None:
        async with site.served() as path:
            operation = site.resize(1 << 40)
            job = site.job(Resize)
            with pytest.raises(qmp.QmpRefusedError) as refused:
                await job.run(operation)
            with NbdClient(path, DISK) as guest:
                assert guest.size_bytes == 1 << 30
            await job.fail(operation, Refusal.INTERNAL, str(refused.value))
            assert (site.again(operation).state, site.row().state) == (OperationState.FAILED, DiskState.ATTACHED)

    run(story())


def test_an_attached_disk_that_its_daemon_does_not_serve_is_served_after_a_start(site: Site) -> None:
    async def story() -> None:
        async with site.served() as path:
            await LiveDisk(daemon=site.served_by.daemons.running()[0], id=DISK).unexport()
            await site.served_by.watch.leave()
            site.start()
            await site.served_by.watch.take_over()
            await site.served_by.watch.revive_all()
            with NbdClient(path, DISK) as guest:
                assert guest.size_bytes == 1 << 30

    run(story())


@pytest.mark.clock
def test_a_resize_that_is_carried_out_after_nobody_waited_for_it_is_recorded(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A9: the image must not be larger than the row: every snapshot would be refused."""
    real = LiveDisk.resize

    async def story() -> None:
        async with site.served() as path:
            daemon = site.served_by.daemons.running()[0]
            operation = site.resize(2)
            job = site.job(Resize)
            with contextlib.ExitStack() as silence:

                async def late(*arguments: Any) -> None:
                    silence.enter_context(stopped(daemon.pid))
                    await real(*arguments)

                with monkeypatch.context() as patched:
                    patched.setattr(qmp, "COMMAND_SECONDS_MAX", 0.5)
                    patched.setattr(LiveDisk, "resize", late)
                    with pytest.raises(UnavailableError):
                        await job.run(operation)
                    with pytest.raises(UnavailableError):
                        await job.fail(operation, Refusal.INTERNAL, "it does not answer")
            assert (site.again(operation).state, site.row().state) == (OperationState.RUNNING, DiskState.EXPANDING)
            await job.run(operation)
            assert (site.again(operation).state, site.row().state) == (OperationState.DONE, DiskState.ATTACHED)
            with NbdClient(path, DISK) as guest:
                assert (site.row().size_gib, guest.size_bytes) == (2, 2 << 30)

    run(story())


@pytest.mark.parametrize("kind", [DeleteSnapshot, Initialize, Rollback, Terminate])
def test_what_cannot_be_undone_is_tried_again(site: Site, kind: Any) -> None:
    """S23."""
    operation = replace(site.resize(2), snapshot_id=SnapshotId("snap-00000001"))
    site.world.db.write_sync(lambda conn: operations.update(conn, operation.id, updated_at=NOW, phase="WRITING"))
    job = site.job(kind)
    run(job.fail(operation, Refusal.INTERNAL, "the store is away"))
    after = site.again(operation)
    assert (after.state, after.error, site.row().state) == (
        OperationState.RUNNING, "the store is away", DiskState.EXPANDING,
    )  # fmt: skip


def test_an_operation_that_had_ended_leaves_the_disk_to_the_one_after_it(site: Site) -> None:
    """S1: a resize that is done and then cannot set limits, beside a detach that has begun: that would never end."""
    operation = site.resize(2)

    def end(change: Change) -> None:
        endings.done(change, operation)
        disks.compare_and_set(change.conn, DISK, expected={}, values={"state": DiskState.DETACHING})
        endings.disk_failed(change, operation, code=Refusal.INTERNAL, message="no", state=DiskState.ATTACHED)

    run(site.installation.transactions.change(end))
    assert (site.again(operation).state, site.row().state) == (OperationState.DONE, DiskState.DETACHING)
    assert site.row().error_prompt == ""


class Source:
    """A snapshot of zeros over NBD, whose store hangs while `answers` is not set."""

    size_bytes = 1 << 30

    def __init__(self) -> None:
        self.answers = threading.Event()
        self.answers.set()

    def open(self, _name: str) -> "Source":
        return self

    def names(self) -> list[str]:
        return []

    def read(self, _offset: int, length: int) -> bytes:
        assert self.answers.wait(20)
        return bytes(length)

    def extents(self, _offset: int, length: int) -> list[tuple[int, bool]]:
        return [(length, False)]


class Guest:
    """Writes all the time; `slowest_s` is how long a write took, one that is under way included."""

    def __init__(self, path: Path) -> None:
        self._client = NbdClient(path, DISK)
        self._ended = threading.Event()
        self._slowest_s = 0.0
        self._began_s = time.monotonic()
        self._thread = threading.Thread(target=self._write)
        self._thread.start()

    def _write(self) -> None:
        at = 0
        while not self._ended.is_set():
            self._began_s = time.monotonic()
            # Whole clusters: less would read the rest from the source.
            self._client.pwrite(at % 512 << 16, b"x" * (1 << 16))
            self._slowest_s = max(self._slowest_s, time.monotonic() - self._began_s)
            self._began_s = time.monotonic()
            at += 1
            self._ended.wait(0.01)

    def slowest_s(self) -> float:
        return max(self._slowest_s, time.monotonic() - self._began_s)

    def end(self) -> None:
        self._ended.set()
        self._thread.join()
        self._client.close()


@pytest.mark.clock
def test_no_snapshot_of_a_disk_whose_source_hangs_holds_its_guest_up(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """S37, P6, F13: what drains a graph waits for a read of the source that is under way, and the guest with it."""

    async def ensure(_server: Any) -> None:
        """It runs in this process."""

    monkeypatch.setattr(snapshot_server.SnapshotServer, "ensure", ensure)
    source = Source()
    (site.layout.run / "store").mkdir(parents=True)
    site.change(source_snapshot_id=SnapshotId("snap-source"), hydrating=True)

    daemon_pid: list[int] = []

    def pending() -> threading.Thread:
        """Begin a read that the source does not answer, and wait until it is old."""
        source.answers.clear()
        client = NbdClient(site.socket(), DISK)

        def read() -> None:
            with client:
                client.pread(1 << 29, BLOCK)

        reader = threading.Thread(target=read)
        reader.start()
        assert daemon_pid
        while snapshot_server._waited_ms(site.layout.store_socket, daemon_pid[0]) <= snapshot_server.WAITED_MS_MAX:
            assert reader.is_alive()
        return reader

    @contextlib.contextmanager
    def hasty() -> Iterator[None]:
        with monkeypatch.context() as patched:
            patched.setattr(snapshot_server, "CALM_SECONDS_MAX", 0.5)
            yield

    async def story() -> None:
        with NbdServer(site.layout.store_socket, source):
            async with site.served() as path:
                daemon = site.served_by.daemons.running()[0]
                daemon_pid.append(daemon.pid)
                quiescing = Quiescing(
                    db=site.world.db, clock=lambda: NOW, environment={}, own=(), devices=site.installation.devices
                )
                made = site.installation
                lifecycle = SnapshotLifecycle(
                    transactions=made.transactions, operations=made.operations, ids=made.ids, host=site.host,
                    kept=made.kept,
                    locks=made.locks, layout=made.layout, devices=made.devices, room=made.room, limits=SnapshotLimits(),
                    quiescing=quiescing,
                )  # fmt: skip
                guest = Guest(path)
                reader = pending()
                try:
                    with pytest.raises(RefusalError) as refused, hasty():
                        await lifecycle.create(caller(), NewSnapshot(disk_id=DISK))
                    assert refused.value.kind == Refusal.NO_ANSWER, refused.value
                    assert site.world.db.read_sync(lambda conn: operations.running_on_disk(conn, DISK)) == []
                    assert guest.slowest_s() < 5.0
                    source.answers.set()
                    reader.join()
                    await lifecycle.create(caller(), NewSnapshot(disk_id=DISK))
                    (operation,) = site.world.db.read_sync(lambda conn: operations.running_on_disk(conn, DISK))
                    reader = pending()
                    job = parts.take_snapshot(site.installation, site.host)
                    with pytest.raises(UnavailableError), hasty():
                        await job.fail(operation, Refusal.INTERNAL, "no")
                    assert (await LiveDisk(daemon=daemon, id=DISK).look()).frozen
                    assert guest.slowest_s() < 5.0
                    source.answers.set()
                    reader.join()
                    await job.run(operation)
                    assert site.again(operation).state is OperationState.FAILED
                    assert not site.host.copying_held(DISK)
                finally:
                    source.answers.set()
                    reader.join()
                    guest.end()

    run(story())


@pytest.mark.clock
def test_a_snapshot_server_that_does_not_answer_is_a_source_that_hangs(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(snapshot_server, "CALM_SECONDS_MAX", 0.1)
    monkeypatch.setattr(snapshot_server, "ANSWER_SECONDS_MAX", 0.1)
    path = site.layout.store_socket
    path.parent.mkdir(parents=True)

    async def refused() -> None:
        with pytest.raises(SlowSourceError):
            await site.served_by.snapshot_server.calm(os.getpid())

    run(refused())
    # As a stopped process: the kernel takes connections for it.
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        listening.listen()
        run(refused())


def test_nothing_is_copied_while_it_is_held() -> None:
    asked: list[tuple[int, int]] = []
    looks = 0

    class Client:
        def cache_ranges(self, ranges: Any, **_options: Any) -> Iterator[tuple[int, int]]:
            for one in ranges:
                asked.append(one)
                yield one

        def flush(self) -> None:
            """Everything is durable."""

    def held() -> bool:
        nonlocal looks
        looks += 1
        assert len(asked) == (0 if looks <= 3 else looks - 3)
        return looks < 3

    ranges: Any = np.array([(0, 768)], dtype=np.int64)
    client: Any = Client()
    hydrate(client, ranges, rate_bytes_per_s=0, stop=threading.Event(), on_progress=lambda _done, _all: None, held=held)
    assert (len(asked), looks) == (3, 5)


def test_a_disk_that_was_closed_in_part_can_be_opened_elsewhere(site: Site) -> None:
    async def story() -> None:
        async with site.served():
            daemon = site.served_by.daemons.running()[0]
            await LiveDisk(daemon=daemon, id=DISK).unexport()
            await daemon.execute("blockdev-del", {"node-name": node("top", DISK)})
            site.world.instance(OTHER)
            site.change(instance_id=OTHER, nbd_socket=None)
            await site.served_by.serving.revive(DISK)
            assert (site.row().daemon, site.row().tracking) == (OTHER, TrackingState.LOST)
            assert await disks_open(daemon) == frozenset()
            with NbdClient(site.socket(), DISK) as guest:
                guest.pwrite(0, b"x" * BLOCK)

    run(story())


def test_what_a_crash_left_of_an_opening_does_not_stand_in_the_way_of_the_next(site: Site) -> None:
    async def story() -> None:
        async with site.served():
            await site.host.close(DISK)
            daemon = await site.served_by.daemons.get(INSTANCE)
            await daemon.execute("object-add", graph.throttle_group(DISK, None))
            await daemon.execute("blockdev-add", volume_of(site.layout, DISK).block_node())
            site.change(nbd_socket=None)
            await site.served_by.serving.revive(DISK)
            assert site.row().tracking == TrackingState.LIVE
            with NbdClient(site.socket(), DISK) as guest:
                guest.pwrite(0, b"x" * BLOCK)

    run(story())


def test_a_daemon_that_did_not_answer_while_it_opened_a_disk_may_have_it(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """S16."""
    real = LiveDisk.open

    async def unanswered(*arguments: Any) -> None:
        await real(*arguments)
        raise UnavailableError("it does not answer")

    async def story() -> None:
        with monkeypatch.context() as patched:
            patched.setattr(LiveDisk, "open", unanswered)
            async with site.served():
                assert (site.row().daemon, site.row().nbd_socket) == (INSTANCE, None)
                await site.served_by.serving.revive(DISK)
                assert (site.row().daemon, site.row().tracking) == (INSTANCE, TrackingState.LOST)
                with NbdClient(site.socket(), DISK) as guest:
                    guest.pwrite(0, b"x" * BLOCK)

    run(story())


def test_a_disk_in_use_does_not_keep_other_rows_from_being_published(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def elsewhere(_publication: Publication) -> None:
        """It goes to the store, which is not there."""

    for part in ("_publish_epoch", "_accounts"):
        monkeypatch.setattr(Publication, part, elsewhere)
    free = DiskId("disk-00000002")
    site.world.disk(free)
    for disk_id in (DISK, free):
        (site.layout.disk(disk_id)).mkdir(parents=True)

    def waiting() -> set[str]:
        return {note.resource_id for note in site.world.db.read_sync(lambda conn: unpublished.waiting(conn, 9, 0))}

    async def story() -> None:
        publication = parts.publication(site.installation)
        for disk_id in (DISK, free):
            site.change(disk_id, name="renamed")
        assert {DISK, free} <= waiting()
        async with site.installation.locks.graph(DISK), asyncio.timeout(30):
            await publication.publish()
        assert waiting() & {DISK, free} == {DISK}
        assert not site.layout.description(DISK).exists()
        await publication.publish()
        assert not waiting() & {DISK, free}
        assert site.layout.description(DISK).exists()

    run(story())
