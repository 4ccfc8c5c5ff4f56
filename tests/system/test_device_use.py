"""A disk that is a block device of this host: nobody loses it while it is used, and no byte lands on another disk."""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from tencentcloud.common.exception.tencent_cloud_sdk_exception import TencentCloudSDKException

from drystone.domain.ids import DiskId
from drystone.engine import device_use, host_device
from drystone.engine.host_device import HostDevices
from tests.system import host_world
from tests.system.device_rounds import play
from tests.system.harness import GIB, Installation
from tests.system.host_world import autoclear, is_of, read_past_cache, run, standing, until, write_through

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="block devices need root")
MARK_AT = 9 * GIB
"""Where disks of 10 GiB are marked: past every file system that is made here."""


def path(disk_id: str) -> str:
    return f"/dev/disk/by-id/virtio-{disk_id}"


def device(disk_id: str) -> Path:
    """Return the device that the link leads to; it is this disk's."""
    found = Path(path(disk_id)).readlink()
    assert is_of(found, disk_id), (disk_id, found, standing(found))
    return found


@pytest.fixture
def disk_id(system: Installation) -> Iterator[str]:
    made = system.create_disk()
    system.attach(made, system.host_instance)
    yield made
    system.wait(lambda: system.disk(made).DiskState in {"ATTACHED", "UNATTACHED"}, "at rest")
    if system.disk(made).DiskState == "ATTACHED":
        system.detach(made)
    assert not list(host_device.LINKS.glob(f"virtio-{made}*"))


def mark(disk_id: str) -> bytes:
    return disk_id.encode().ljust(4096, b".")


def used(system: Installation, disk_id: str, use: AbstractContextManager[object], says: str) -> None:
    """A detach while it is used is refused at once and changes nothing; afterwards it goes (S102)."""
    before = device(disk_id)
    links = {entry.name: entry.readlink() for entry in host_device.LINKS.glob(f"virtio-{disk_id}*")}
    write_through(path(disk_id), MARK_AT, mark(disk_id))
    with use:
        with pytest.raises(TencentCloudSDKException) as refused:
            system.call("DetachDisks", DiskIds=[disk_id])
        assert refused.value.get_code() == "ResourceBusy"
        assert says in str(refused.value.get_message()), refused.value.get_message()
        assert system.disk(disk_id).DiskState == "ATTACHED"
        assert {entry.name: entry.readlink() for entry in host_device.LINKS.glob(f"virtio-{disk_id}*")} == links
        assert device(disk_id) == before
        assert not autoclear(before)
    assert device(disk_id) == before
    system.detach(disk_id)
    assert standing(before) is None
    system.attach(disk_id, system.host_instance)
    assert read_past_cache(path(disk_id), MARK_AT, 4096) == mark(disk_id)


def test_btrfs(system: Installation, disk_id: str, tmp_path: Path) -> None:
    run("mkfs.btrfs", "-q", "-b", str(1 * GIB), path(disk_id))
    used(system, disk_id, host_world.mounted(device(disk_id), tmp_path / "mnt"), f"mounted at {tmp_path}/mnt")


def test_second_device_of_a_btrfs(system: Installation, disk_id: str, tmp_path: Path) -> None:
    other = system.create_disk()
    system.attach(other, system.host_instance)
    # Its files have a number of no device, and the table of mounts names the first of the two only.
    run(
        "mkfs.btrfs", "-q", "-b", str(1 * GIB), "-d", "single", "-m", "single", str(device(other)), str(device(disk_id))
    )
    run("btrfs", "device", "scan", str(device(other)), str(device(disk_id)))
    used(system, disk_id, host_world.mounted(device(other), tmp_path / "mnt"), f"mounted at {tmp_path}/mnt")
    subprocess.run(["btrfs", "device", "scan", "--forget"], check=False, capture_output=True)
    system.detach(other)


def test_mount_namespace(system: Installation, disk_id: str, tmp_path: Path) -> None:
    run("mkfs.ext4", "-q", path(disk_id), "100M")
    use = host_world.mounted_elsewhere(device(disk_id), tmp_path / "a b")
    used(system, disk_id, use, f"mounted at {tmp_path}/a b where process")


def test_open_device(system: Installation, disk_id: str) -> None:
    used(system, disk_id, host_world.opened(device(disk_id)), "open in process")


def test_claimed_device(system: Installation, disk_id: str) -> None:
    used(system, disk_id, host_world.opened(device(disk_id), os.O_RDWR | os.O_EXCL), "open in process")


def test_swap(system: Installation, disk_id: str) -> None:
    partitioned(system, disk_id, (2048, 204800))
    used(system, disk_id, host_world.swapped(f"{path(disk_id)}-part1"), "swap")


def test_partition(system: Installation, disk_id: str, tmp_path: Path) -> None:
    partitioned(system, disk_id, (2048, 204800), (206848, 204800))
    run("mkfs.ext4", "-q", f"{path(disk_id)}-part2")
    used(system, disk_id, host_world.mounted(f"{path(disk_id)}-part2", tmp_path / "mnt"), f"mounted at {tmp_path}/mnt")


def test_loop_device_on_it(system: Installation, disk_id: str) -> None:
    used(system, disk_id, host_world.looped(device(disk_id)), "held by /dev/loop")


@pytest.mark.skipif(not host_world.has_device_mapper(), reason="this kernel has no device mapper")
def test_device_mapper(system: Installation, disk_id: str) -> None:
    used(system, disk_id, host_world.mapped(device(disk_id)), "held by /dev/dm-")


def partitioned(system: Installation, disk_id: str, *table: tuple[int, int]) -> None:
    """Give the disk a partition table, and attach it again."""
    write_through(path(disk_id), 0, host_world.mbr(*table))
    system.detach(disk_id)
    system.attach(disk_id, system.host_instance)


def test_partitions_have_links_and_go_with_the_device(system: Installation, disk_id: str) -> None:
    partitioned(system, disk_id, (2048, 204800), (206848, 409600))
    before = device(disk_id)
    for number, sectors in ((1, 204800), (2, 409600)):
        part = Path(f"{path(disk_id)}-part{number}")
        assert part.readlink() == before.with_name(f"{before.name}p{number}")
        assert int(run("blockdev", "--getsz", str(part))) == sectors
    # One that somebody makes while it is attached has a link soon.
    run("partx", "--delete", "--nr", "2", str(before))
    until(lambda: not Path(f"{path(disk_id)}-part2").is_symlink(), "the second partition's link gone")
    run("partx", "--add", "--nr", "2", str(before))
    until(Path(f"{path(disk_id)}-part2").exists, "the second partition's link")
    system.detach(disk_id)
    assert not before.with_name(f"{before.name}p1").exists()
    # Another disk on that number has none of it.
    other = system.create_disk()
    system.attach(other, system.host_instance)
    assert not list(host_device.LINKS.glob(f"virtio-{other}-part*"))
    system.detach(other)


def test_losetup_by_somebody_takes_no_device_away(system: Installation, disk_id: str) -> None:
    before = device(disk_id)
    write_through(path(disk_id), MARK_AT, mark(disk_id))
    host_world.take_down(before)  # What `losetup -D` does to each.
    assert is_of(before, disk_id)  # Not for a moment is the number anybody's.
    others = [attached(system) for _ in range(2)]
    write_through(path(disk_id), MARK_AT, mark(disk_id))
    assert [read_past_cache(path(other), MARK_AT, 4096) for other in others] == [mark(other) for other in others]
    assert device(disk_id) == before
    until(lambda: not autoclear(before), "what was done to the device is taken back")
    for other in others:
        system.detach(other)


def attached(system: Installation) -> str:
    """Return a new disk with a device and a mark."""
    other = system.create_disk()
    system.attach(other, system.host_instance)
    write_through(path(other), MARK_AT, mark(other))
    return other


def test_losetup_while_the_server_is_down(system: Installation, disk_id: str, tmp_path: Path) -> None:
    """S100."""
    before = device(disk_id)
    write_through(path(disk_id), MARK_AT, mark(disk_id))
    system.kill()
    host_world.take_down(before)
    assert standing(before) is None
    foreign = tmp_path / "foreign"
    foreign.write_bytes(bytes(1 << 20))
    with host_world.looped(foreign) as taken:
        system.start()
        until(lambda: Path(path(disk_id)).is_symlink() and is_of(Path(path(disk_id)).readlink(), disk_id), "a device")
        assert device(disk_id) != Path(taken)
        assert read_past_cache(path(disk_id), MARK_AT, 4096) == mark(disk_id)
        assert foreign.read_bytes() == bytes(1 << 20)


def test_link_of_an_older_installation_leads_to_no_disk(system: Installation) -> None:
    disk_id = system.create_disk()
    number = host_world.free_number()
    old = [host_device.LINKS / "virtio-disk-zzzzzz00", host_device.LINKS / "virtio-disk-zzzzzz00-part1"]
    own = host_device.LINKS / f"virtio-{disk_id}"
    host_device.LINKS.mkdir(parents=True, exist_ok=True)
    try:
        # The next numbers too: another test on this machine may take the first.
        for index, entry in enumerate(old):
            entry.symlink_to(number if index == 0 else number.with_name(f"{number.name}p1"))
        own.symlink_to(number.with_name("loop7"))
        system.attach(disk_id, system.host_instance)
        found = device(disk_id)
        for entry in old:
            assert not entry.is_symlink() or found.name not in {entry.readlink().name, entry.readlink().name[:-2]}
        system.detach(disk_id)
        # A link by itself is never a reason to touch a device.
        with host_world.opened("/dev/null"):
            own.symlink_to(number)
            devices = HostDevices(system.layout.run, {})
            assert devices.device_of(DiskId(disk_id)) is None
            assert devices.numbers(DiskId(disk_id)) == frozenset()
    finally:
        for entry in (*old, own):
            entry.unlink(missing_ok=True)


def test_daemon_killed_while_it_is_mounted(system: Installation, disk_id: str, tmp_path: Path) -> None:
    run("mkfs.ext4", "-q", path(disk_id), "100M")
    write_through(path(disk_id), MARK_AT, mark(disk_id))
    before = device(disk_id)
    with host_world.mounted(before, tmp_path / "mnt"):
        system.kill_daemons()
        until(lambda: Path(path(disk_id)).is_symlink() and Path(path(disk_id)).readlink() != before, "a new device")
        assert device(disk_id) != before
        write_through(path(disk_id), MARK_AT, mark(disk_id))
    until(lambda: standing(before) is None, "the dead device is gone once it is unmounted")
    others = [attached(system) for _ in range(2)]
    write_through(path(disk_id), MARK_AT, mark(disk_id))
    for one in (disk_id, *others):
        assert read_past_cache(device(one), MARK_AT, 4096) == mark(one)
    for other in others:
        system.detach(other)


def test_reboot(system: Installation, disk_id: str, tmp_path: Path) -> None:
    """Daemons, devices and mounts are gone; links are still there, and their numbers are somebody else's."""
    write_through(path(disk_id), MARK_AT, mark(disk_id))
    link = Path(path(disk_id))
    before = link.readlink()
    system.kill()
    system.kill_daemons(store=True)
    host_world.take_down(before)
    for mount in list(device_use.mounts()):
        if mount.place.startswith(f"{system.layout.run}/"):
            run("umount", "--lazy", "--no-canonicalize", mount.place)
    foreign = tmp_path / "foreign"
    foreign.write_bytes(bytes(1 << 20))
    with host_world.looped(foreign) as taken, contextlib.ExitStack() as stack:
        stack.callback(link.unlink, missing_ok=True)
        link.unlink()
        link.symlink_to(taken)
        system.start()
        until(lambda: link.is_symlink() and is_of(link.readlink(), disk_id), "a device again")
        assert read_past_cache(link, MARK_AT, 4096) == mark(disk_id)
        assert foreign.read_bytes() == bytes(1 << 20)
        stack.pop_all()


def test_stop_of_the_host_says_who_uses_a_disk(system: Installation, disk_id: str) -> None:
    with host_world.opened(device(disk_id)) as pid:
        words = ["-m", "drystone", "host", "stop", "--data", str(system.data)]
        refused = subprocess.run([sys.executable, *words], check=False, capture_output=True, text=True)
        assert refused.returncode != 0
        assert f"{disk_id} is in use on this host: it is open in process {pid}" in refused.stderr
        system._end(signal.SIGTERM)
        assert is_of(device(disk_id), disk_id)
    system.start()
    assert is_of(device(disk_id), disk_id)


def test_random_rounds(system: Installation, tmp_path: Path, *, long: bool) -> None:
    play(system, seed=11, rounds=100 if long else 12, room=tmp_path)
