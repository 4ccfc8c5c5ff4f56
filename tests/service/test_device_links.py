"""Links of block devices while disks are attached and detached; the kernel's loop devices are played."""

import asyncio
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from drystone.catalog import disks
from drystone.domain.disk import DiskState
from drystone.domain.ids import DiskId
from drystone.engine import device_use, host_device, loop, partitions
from drystone.engine.host_device import HostDevices
from drystone.service.disk_locks import DiskLocks
from drystone.service.host.watch import Watch
from drystone.service.rounds import Bugs
from tests.service.parts import transactions
from tests.service.records_world import World, run

pytestmark = pytest.mark.usefixtures("both_catalogs")

A, B = DiskId("disk-0000000a"), DiskId("disk-0000000b")


class Site:
    """An installation with loop devices that are files in a directory."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.run, self.sys, self.dev = root / "run", root / "sys", root / "dev"
        for directory in (self.run / "ins-1", self.sys, self.dev):
            directory.mkdir(parents=True)
        monkeypatch.setattr(host_device, "LINKS", root / "links")
        (root / "links").mkdir()
        monkeypatch.setattr(loop, "BLOCK_DEVICES", self.sys)
        monkeypatch.setattr(loop, "DEVICES", self.dev)
        monkeypatch.setattr(loop, "make", self.make)
        monkeypatch.setattr(loop, "release", self.release)
        monkeypatch.setattr(loop, "stands_on", lambda device, file: loop.file_of(device) == file)
        monkeypatch.setattr(device_use, "user_of", lambda _device: None)
        monkeypatch.setattr(host_device, "_flush", lambda _device: None)
        monkeypatch.setattr(partitions, "find", self.find)
        self.world = World.open(root / "catalog.db")
        self.world.add_accounts()
        self.world.instance("ins-1")
        self.devices = HostDevices(self.run, {})
        self.locks, self.bugs = DiskLocks(), Bugs()
        self.revived: list[DiskId] = []
        other: Any = SimpleNamespace(bugs=self.bugs, revive=self.revive)
        self.watch = Watch(
            transactions=transactions(self.world.db), locks=self.locks, operations=other, devices=self.devices,
            daemons=other, snapshot_server=other, host=other, serving=other,
        )  # fmt: skip

    async def revive(self, disk_id: DiskId) -> None:
        self.revived.append(disk_id)

    async def find(self, _device: Path) -> None:
        pass

    def make(self, file: Path, before: Callable[[Path], None]) -> Path:
        number = next(n for n in range(1000) if not (self.sys / f"loop{n}").exists())
        device = self.dev / f"loop{number}"
        before(device)
        (self.sys / device.name / "loop").mkdir(parents=True)
        (self.sys / device.name / "loop/backing_file").write_text(f"{file}\n")
        (self.sys / device.name / "loop/autoclear").write_text("0\n")
        device.touch()
        return device

    def release(self, device: Path) -> bool:
        if self.opened(device):
            return False
        self.take_away(device)
        return True

    def take_away(self, device: Path) -> None:
        for name in ("backing_file", "autoclear"):
            (self.sys / device.name / "loop" / name).unlink()
        (self.sys / device.name / "loop").rmdir()
        (self.sys / device.name).rmdir()

    def opened(self, device: Path) -> list[str]:
        """Return the descriptors that this process has of a device."""
        return [entry.name for entry in Path("/proc/self/fd").iterdir() if _leads(entry) == device]

    async def attach(self, disk_id: DiskId) -> None:
        async with self.locks.graph(disk_id):
            link = await self.devices.attach_loop(disk_id, self.run / "ins-1" / f"{disk_id}.raw")
            self.set(disk_id, DiskState.ATTACHED, "ins-1", str(link))

    async def detach(self, disk_id: DiskId) -> None:
        async with self.locks.graph(disk_id):
            await self.devices.detach(disk_id)
            self.set(disk_id, DiskState.UNATTACHED, None, None)

    def set(self, disk_id: DiskId, state: DiskState, instance_id: str | None, device: str | None) -> None:
        values: dict[str, object] = {"state": state, "instance_id": instance_id, "device": device}
        self.world.db.write_sync(lambda conn: disks.compare_and_set(conn, disk_id, expected={}, values=values))

    def links(self) -> dict[str, str]:
        return {entry.name: entry.readlink().name for entry in host_device.LINKS.iterdir()}


def _leads(entry: Path) -> Path | None:
    try:
        return entry.readlink()
    except OSError:
        return None


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    made = Site(tmp_path, monkeypatch)
    for name in (A, B):
        made.world.disk(name)
    yield made
    made.devices.let_go()
    made.world.db.close()


@pytest.mark.parametrize("then_attach", [True, False])
def test_a_detach_and_an_attach_while_links_are_looked_at(
    site: Site, monkeypatch: pytest.MonkeyPatch, *, then_attach: bool
) -> None:
    """S105: the round has read which devices there are when A goes and B gets its number."""
    standing, looked, go = loop.standing, threading.Event(), threading.Event()

    def gated() -> Iterator[tuple[Path, Path]]:
        found = list(standing())
        if not looked.is_set() and threading.current_thread() is not threading.main_thread():
            looked.set()
            assert go.wait(10)
        return iter(found)

    async def play() -> None:
        await site.attach(A)
        device = site.dev / site.links()[f"virtio-{A}"]
        site.devices.let_go()  # As after a start: it is to be held again.
        monkeypatch.setattr(loop, "standing", gated)
        async with asyncio.TaskGroup() as group:
            group.create_task(site.watch._keep_devices())
            assert await asyncio.to_thread(looked.wait, 10)
            await site.detach(A)
            if then_attach:
                await site.attach(B)
                assert site.links() == {f"virtio-{B}": device.name}
            go.set()
        assert site.links() == ({f"virtio-{B}": device.name} if then_attach else {})
        assert set(site.devices.held) == ({B} if then_attach else set())
        assert len(site.opened(device)) == (1 if then_attach else 0)
        if then_attach:
            await site.detach(B)

    run(play())


def test_a_disk_that_is_being_changed_is_left_to_whoever_changes_it(site: Site) -> None:
    """S105."""

    async def play() -> None:
        await site.attach(A)
        for entry in host_device.LINKS.iterdir():
            entry.unlink()
        async with site.locks.graph(A):
            await site.watch._keep_devices()
            assert site.links() == {}
        await site.watch._keep_devices()
        assert site.links() == {f"virtio-{A}": "loop0"}

    run(play())


def test_what_is_left_of_disks_that_are_not_attached_goes(site: Site) -> None:
    """S105, S101: their links, and what is held of them; never a link of another installation."""

    async def play() -> None:
        await site.attach(A)
        links = host_device.LINKS
        elsewhere = links / "virtio-disk-0000000c"
        elsewhere.symlink_to("/dev/loop77")
        (links / f"virtio-{B}").symlink_to("/dev/loop78")
        (links / "virtio-disk-0000000d").symlink_to(site.dev / "loop0")
        (links / f"virtio-{A}-part9").symlink_to(site.dev / "loop0p9")
        other = site.make(site.run.parent / "other" / "ins-1" / "disk-0000000e.raw", lambda _device: None)
        (links / "virtio-disk-0000000e").symlink_to(other)
        for gone in (B, DiskId("disk-0000000f")):
            site.devices.held[gone] = (other, loop.hold(other))
        await site.watch._keep_devices()
        assert site.links() == {
            f"virtio-{A}": "loop0", elsewhere.name: "loop77", "virtio-disk-0000000e": other.name,
        }  # fmt: skip
        assert set(site.devices.held) == {A}
        assert site.opened(other) == []

    run(play())


def test_a_dead_device_of_a_disk_that_was_detached_has_no_link(site: Site) -> None:
    """S105: by its row; whoever has it mounted may keep it standing on the disk's file for days."""

    async def play() -> None:
        await site.attach(A)
        site.set(A, DiskState.UNATTACHED, None, None)
        await site.watch._keep_devices()
        assert (site.links(), site.devices.held, site.revived) == ({}, {}, [])

    run(play())


def test_a_device_that_becomes_anothers_while_it_is_opened_gets_no_link(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """S105, S101: another program has taken it down, and the number is somebody else's."""
    hold = loop.hold

    def held(device: Path) -> int:
        (site.sys / device.name / "loop/backing_file").write_text("/home/stranger.img\n")
        return hold(device)

    async def play() -> None:
        await site.attach(A)
        site.devices.let_go()
        monkeypatch.setattr(loop, "hold", held)
        await site.watch._keep_devices()
        assert (site.links(), site.devices.held, site.revived) == ({}, {}, [A])
        assert site.opened(site.dev / "loop0") == []

    run(play())


def test_a_device_that_somebody_took_away_is_lost(site: Site) -> None:
    async def play() -> None:
        await site.attach(A)
        site.take_away(site.dev / "loop0")
        await site.watch._keep_devices()
        assert site.revived == [A]
        assert site.links() == {}
        assert site.devices.held == {}

    run(play())


def test_a_device_that_cannot_be_held_leaves_no_descriptor(site: Site) -> None:
    """S105: an open device cannot be taken away."""

    async def play() -> None:
        await site.attach(A)
        site.devices.let_go()
        device = site.dev / "loop0"
        site.take_away(device)
        with pytest.raises(OSError, match="No such file"):
            loop.hold(device)
        assert site.opened(device) == []

    run(play())


def test_links_that_cannot_be_made_do_not_end_the_round(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """S105: daemons that died are looked for in the same round; a failure is noted once, not twice a second."""

    def fails(path: Path, _target: Path) -> None:
        raise FileExistsError(17, "File exists", str(path))

    async def play() -> None:
        await site.attach(A)
        await site.attach(B)
        for entry in host_device.LINKS.iterdir():
            entry.unlink()
        with monkeypatch.context() as patch:
            patch.setattr(host_device, "_replace_link", fails)
            for _ in range(3):
                await site.watch._keep_devices()
        assert site.bugs.counts.total() == 2
        assert site.revived == []
        await site.watch._keep_devices()
        assert set(site.links()) == {f"virtio-{A}", f"virtio-{B}"}
        with monkeypatch.context() as patch:
            patch.setattr(host_device, "_all_links", lambda: fails(host_device.LINKS, host_device.LINKS))
            await site.watch._keep_devices()

    run(play())


def test_looking_at_ten_times_as_many_disks_is_ten_times_the_work(site: Site) -> None:
    """Counted in calls: it is done twice a second, under Python's one lock."""

    async def play() -> list[int]:
        counts, made = [], set()
        for number in range(100):
            disk_id = DiskId(f"disk-1{number:07}")
            await site.devices.attach_loop(disk_id, site.run / "ins-1" / f"{disk_id}.raw")
            made.add(disk_id)
            if len(made) in {10, 100}:
                counts.append(_calls(lambda: site.devices.look(made)))
        return counts

    few, many = run(play())
    assert many < few * 12


def _calls(work: Callable[[], Any]) -> int:
    count = 0

    def counted(_frame: Any, event: str, _arg: Any) -> None:
        nonlocal count
        count += event in {"call", "c_call"}

    sys.setprofile(counted)
    try:
        found = work()
    finally:
        sys.setprofile(None)
    assert found == host_device.Sight(wrong=frozenset(), doubtful=frozenset())
    return count
