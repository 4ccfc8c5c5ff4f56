"""What rows and storage daemons say of each other, with a real daemon: a disk opened in part, silent, refused."""

import contextlib
import os
import random
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from drystone.catalog import disks, operations, snapshots
from drystone.domain.disk import Disk, DiskState
from drystone.domain.errors import SnapshotBrokenError, UnavailableError
from drystone.domain.ids import DiskId, IdSource, InstanceId, SnapshotId
from drystone.domain.operation import Operation, OperationState
from drystone.domain.snapshot import Snapshot, SnapshotState
from drystone.domain.tracking import Phase, TrackingState
from drystone.engine import live
from drystone.engine.layout import Layout, node
from drystone.nbd.client import NbdClient
from drystone.service.host import Host
from drystone.service.installation import Installation
from drystone.service.jobs import snapshot as snapshot_job
from drystone.service.jobs.create_disk import make_image
from drystone.service.jobs.snapshot import TakeSnapshot
from drystone.service.operations import Operations
from drystone.service.snapshot_begin import begin_snapshot, freeze_target
from tests.service.records_world import NOW, OWNER, ZONE, World, run

DISK = DiskId("disk-00000001")
INSTANCE = InstanceId("ins-00000001")
BLOCK = 4096


class Site:
    """A server's part that serves one disk of 1 GiB, attached to an NBD instance."""

    def __init__(self, world: World, data: Path) -> None:
        self.world, self.data = world, data
        self.layout = Layout(data)
        world.instance(INSTANCE)
        world.disk(DISK, size_gib=1, state=DiskState.ATTACHED, instance_id=INSTANCE, tracking=TrackingState.STOPPED)
        self.hosts: list[Host] = []
        self.start()

    def start(self) -> None:
        """Begin as a server that was just started."""
        nothing: Any = SimpleNamespace(store_id="st-1")
        self.installation = Installation(
            db=self.world.db, clock=lambda: self.world.now, ids=IdSource(random.Random(len(self.hosts))),
            layout=self.layout, store=nothing, workers=nothing,
            operations=Operations(db=self.world.db, clock=lambda: NOW), environment=dict(os.environ), throttle=False,
            scratch_bytes_max=1, floor_bytes_max=0, floor_percent=0, hydration_bytes_per_s=0, background=nothing,
            compaction_dead_percent=20,
        )  # fmt: skip
        self.host = Host(self.installation)
        self.hosts.append(self.host)

    @contextlib.asynccontextmanager
    async def served(self) -> AsyncIterator[Path]:
        """Make the disk and serve it; every daemon has ended afterwards."""
        await make_image(self.installation, self.row(), epoch=0)
        try:
            await self.host.revive(DISK)
            yield self.socket()
        finally:
            for name in (INSTANCE, DISK):
                await self.host.kill_daemon(name)
            for host in self.hosts:
                await host.leave()

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
        return self.world.db.write_sync(
            lambda conn: begin_snapshot(conn, self.installation, self.row(), template, request_id="r-1")
        )

    def operation(self, begun: Any) -> Operation:
        found = self.world.db.read_sync(lambda conn: operations.get(conn, begun.operation.id))
        assert found is not None
        return found


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    async def sweep(_installation: Any) -> None:
        """No store is there to be swept."""

    monkeypatch.setattr(snapshot_job, "sweep", sweep)
    world = World.open(tmp_path / "catalog.db")
    world.add_accounts()
    yield Site(world, tmp_path)
    world.db.close()


def test_a_disk_whose_bitmap_is_gone_is_not_served_as_if_it_were_tracked(site: Site) -> None:
    async def story() -> None:
        async with site.served():
            daemon = site.host.daemons()[0]
            before = site.row()
            assert (before.tracking, before.bitmap is not None) == (TrackingState.LIVE, True)
            await live.drop_bitmap(daemon, DISK, before.bitmap or "")
            disk, _ = await site.host.opened(DISK)
            assert disk.tracking == TrackingState.LOST
            held = await live.bitmaps(daemon, DISK)
            assert [(one.name, one.recording) for one in held.values()] == [(disk.bitmap, True)]

    run(story())


@pytest.mark.parametrize("frozen", [False, True])
def test_a_snapshot_that_fails_because_its_bitmap_is_gone_does_not_count_it_as_merged(
    site: Site, *, frozen: bool
) -> None:
    async def story() -> None:
        async with site.served() as socket:
            daemon = site.host.daemons()[0]
            begun = site.begin()
            if frozen:
                await live.freeze(daemon, [freeze_target(site.installation, begun)])
                await daemon.remove_export(node("view", DISK))
            await live.drop_bitmap(daemon, DISK, begun.freeze.old_bitmap)
            with NbdClient(socket, DISK) as guest:
                guest.pwrite(0, b"x" * BLOCK)
            await TakeSnapshot(site.installation, site.host).fail(begun.operation, "InternalError", "the time was up")
            ended, disk = site.operation(begun), site.row()
            assert (ended.state, ended.error) == (OperationState.FAILED, "the time was up")
            assert disk.tracking == TrackingState.LOST
            assert (await live.bitmaps(daemon, DISK))[disk.bitmap or ""].recording

    run(story())


def test_a_snapshot_that_is_given_up_is_never_committed_and_keeps_what_was_written(site: Site) -> None:
    async def story() -> None:
        async with site.served() as socket:
            daemon = site.host.daemons()[0]
            with NbdClient(socket, DISK) as guest:
                guest.pwrite(3 * BLOCK, b"x" * BLOCK)
                begun = site.begin()
                await live.freeze(daemon, [freeze_target(site.installation, begun)])
                guest.pwrite(7 * BLOCK, b"x" * BLOCK)
            job = TakeSnapshot(site.installation, site.host)
            await job._record_frozen(begun.operation)

            # The daemon does not answer just then: what is known by then is that it was given up.
            async def silent(_disk_id: DiskId) -> None:
                raise UnavailableError("it does not answer")

            with pytest.MonkeyPatch.context() as patched:
                patched.setattr(site.host, "settle", silent)
                with pytest.raises(UnavailableError):
                    await job.fail(begun.operation, "InternalError", "the store is full")
            given_up = site.operation(begun)
            assert (given_up.state, given_up.phase, given_up.error) == (
                OperationState.RUNNING, Phase.FROZEN, "the store is full",
            )  # fmt: skip
            uploaded: Any = SimpleNamespace(
                operation=given_up, session=given_up.payload["session"], result=None, job=None
            )
            with pytest.raises(SnapshotBrokenError):
                site.world.db.write_sync(lambda conn: job.commit(conn, uploaded=uploaded))
            await job.run(given_up)
            assert site.operation(begun).state is OperationState.FAILED
            assert site.world.db.read_sync(lambda conn: snapshots.get(conn, begun.operation.snapshot_id)) is None
            disk = site.row()
            assert disk.tracking == TrackingState.LIVE
            await live.unexport(daemon, DISK)
            assert (await live.read_bitmap(daemon, DISK, disk.bitmap or "")).tolist() == [[3, 4], [7, 8]]

    run(story())
