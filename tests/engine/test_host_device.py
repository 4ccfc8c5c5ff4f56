"""Kernel nbd devices of disks whose storage daemon died: no such kernel is needed, what `nbd-client` does is played."""

import asyncio
from pathlib import Path

import pytest

from drystone.domain.errors import UnavailableError
from drystone.domain.ids import DiskId
from drystone.engine import command, device_use, host_device, loop
from drystone.engine.host_device import HostDevices

DEVICES = HostDevices(Path("/run/drystone-test"), {})
DISK, OTHER = DiskId("disk-00000001"), DiskId("disk-00000002")


class Kernel:
    """Three nbd devices, and who is connected where."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.root = root
        self.connected: dict[str, str] = {}
        self.mounted: set[str] = set()
        for name in ("LINKS", "SOCKETS"):
            monkeypatch.setattr(host_device, name, root / name)
        monkeypatch.setattr(loop, "BLOCK_DEVICES", root / "sys")
        monkeypatch.setattr(device_use, "user_of", lambda device: "/mnt" if device.name in self.mounted else None)
        monkeypatch.setattr(command, "run", self.run)
        for number in range(3):
            (root / "sys" / f"nbd{number}").mkdir(parents=True)

    async def run(self, *words: str) -> str:
        if words[1] == "-d":
            name = Path(words[2]).name
            del self.connected[name]
            (self.root / "sys" / name / "pid").unlink()
        else:
            assert words[:2] == ("nbd-client", "-unix")
            name = Path(words[3]).name
            assert name not in self.connected
            self.connected[name] = words[2]
            (self.root / "sys" / name / "pid").write_text("7")
        return ""


@pytest.fixture
def kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Kernel:
    return Kernel(tmp_path, monkeypatch)


def attach(socket: str, disk_id: DiskId = DISK) -> str:
    """Attach, and return the name of the device."""
    link = asyncio.run(DEVICES.attach_nbd(disk_id, Path(socket)))
    return link.readlink().name


def abandon(*, served_again: bool) -> None:
    asyncio.run(DEVICES.abandon(DISK, [], served_again=served_again))


def test_a_disk_that_is_served_elsewhere_is_connected_there(kernel: Kernel) -> None:
    attach("/run/disk-00000001/nbd")
    assert attach("/run/disk-00000001/nbd") == "nbd0"
    assert attach("/run/ins-1/nbd") == "nbd0"
    assert kernel.connected == {"nbd0": "/run/ins-1/nbd"}
    # A link alone is no proof that the device is this disk's: it is left alone.
    (host_device.SOCKETS / DISK).unlink()
    attach("/run/ins-1/nbd")
    assert kernel.connected == {"nbd0": "/run/ins-1/nbd", "nbd1": "/run/ins-1/nbd"}
    assert host_device._socket_of(DISK) == Path("/run/ins-1/nbd")


def test_a_device_that_reconnects_by_itself_stays_while_its_disk_is_attached(kernel: Kernel) -> None:
    attach("/run/ins-1/nbd")
    kernel.mounted = {"nbd0"}
    abandon(served_again=True)
    assert attach("/run/ins-1/nbd") == "nbd0"
    assert kernel.connected == {"nbd0": "/run/ins-1/nbd"}


def test_a_device_of_a_disk_that_was_detached_reconnects_to_nobody(kernel: Kernel) -> None:
    attach("/run/ins-1/nbd")
    abandon(served_again=False)
    assert kernel.connected == {}
    assert DEVICES.device_of(DISK) is None
    assert list(host_device.SOCKETS.iterdir()) == []
    abandon(served_again=False)


def test_a_device_that_was_given_up_while_it_was_mounted_is_not_given_to_another_disk(kernel: Kernel) -> None:
    attach("/run/disk-00000001/nbd")
    kernel.mounted = {"nbd0"}
    assert attach("/run/ins-1/nbd") == "nbd1"
    assert attach("/run/ins-2/nbd", OTHER) == "nbd2"
    assert kernel.connected == {"nbd1": "/run/ins-1/nbd", "nbd2": "/run/ins-2/nbd"}
    with pytest.raises(UnavailableError, match="in use"):
        attach("/run/ins-3/nbd", DiskId("disk-00000003"))
