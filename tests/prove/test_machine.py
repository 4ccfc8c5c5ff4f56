"""Real machines: what opens, what is damaged, what cannot be told, and what a guest reaches that owns its machine.

A machine takes five seconds of processor without KVM: everything that can share one does, as partitions of one disk.
"""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from drystone.domain.proof import Finding, ProofStep, conclusion
from drystone.prove import appliance
from tests.images import MIB, copied, disk_of, lvm_of, made, mounted, overwrite, put
from tests.prove.machines import opened
from tests.quiesce.databases import short_directory

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="machines run as users of their own, which needs root")
OPENS, DAMAGED, NOT_PROVEN = Finding.OPENS, Finding.DAMAGED, Finding.NOT_PROVEN
Steps = tuple[ProofStep, ...]


@pytest.fixture(scope="module")
def volumes() -> dict[str, Steps]:
    """What one machine says of many volumes, each for itself; and `""`, all of it."""
    with short_directory(memory=True) as base:
        images = _volumes(base)
        titles = disk_of(images, base / "disk")
        for image in images.values():
            image.unlink()
        steps = opened(base / "disk", base / "s", databases=("mariadb", "postgresql"))
    return {
        "": steps,
        **{
            name: tuple(step for step in steps if step.title.startswith(f"{title}: ")) for name, title in titles.items()
        },
    }


def _volumes(base: Path) -> dict[str, Path]:
    good = made(base / "good", "ext4", 256 * MIB, "-b", "4096")
    told = subprocess.run(["dumpe2fs", str(good)], check=True, capture_output=True, text=True).stdout
    table = int(told.partition("Inode table at ")[2].partition("-")[0])
    with mounted(good, base / "mount") as where:
        for number in range(200):
            (where / f"{number}").write_text("x" * 1000)
        subprocess.run(["sync", "-f", str(where)], check=True)
        crashed = copied(good, "crashed")
    images = {"good": good, "crashed": crashed, "inodes": copied(good, "inodes"), "first": copied(good, "first")}
    overwrite(images["inodes"], table * 4096 + 4096, 8192)
    put(images["first"], 0, bytes(4096))
    # A superblock that asks for what there is not: more blocks than the volume, a log elsewhere, an odd block size.
    for name, at, value in (
        ("huge", 4, b"\xff\xff\xff\x7f"),
        ("odd size", 24, b"\x1f\0\0\0"),
        ("inode size", 88, b"\x01\0"),
    ):
        images[name] = made(base / name.replace(" ", "-"), "ext4", 16 * MIB, "-O", "^metadata_csum")
        put(images[name], 1024 + at, value)
    xfs = made(base / "xfs", "xfs", 320 * MIB)
    with mounted(xfs, base / "mount") as where:
        (where / "file").write_bytes(b"x" * 100_000)
        subprocess.run(["sync", "-f", str(where)], check=True)
        images["xfs crashed"] = copied(xfs, "xfs-crashed")
    images["xfs bad"] = copied(xfs, "xfs-bad")
    overwrite(images["xfs bad"], 4096, 65536)  # The roots of the first group's trees.
    images["xfs lost"] = copied(xfs, "xfs-lost")
    overwrite(images["xfs lost"], 0, 4096)
    images["xfs count"] = copied(xfs, "xfs-count")
    put(images["xfs count"], 8, b"\x7f" * 8)
    xfs.unlink()
    images["btrfs"] = made(base / "btrfs", "btrfs", 128 * MIB)
    images["btrfs bad"] = made(base / "btrfs-bad", "btrfs", 128 * MIB)
    overwrite(images["btrfs bad"], 20 * MIB, 32 * MIB)  # A part of the trees of a new file system.
    images["btrfs root"] = made(base / "btrfs-root", "btrfs", 128 * MIB)
    put(images["btrfs root"], 0x10000 + 0x50, b"\xff" * 8)
    images["empty"] = base / "empty"
    with images["empty"].open("wb") as file:
        file.truncate(8 * MIB)
    images["luks"] = base / "luks"
    images["luks"].write_bytes(b"LUKS\xba\xbe\0\x01".ljust(8 * MIB, b"\0"))
    inside = made(base / "inside", "ext4", 16 * MIB)
    images["lvm"] = lvm_of(base / "lvm", inside, "guest", "root")
    images["traps"] = made(base / "traps", "ext4", 32 * MIB)
    with mounted(images["traps"], base / "mount") as where:
        _traps(where)
    return images


def _traps(where: Path) -> None:
    """Make databases of which every file that is read is something else."""
    for number, kind in enumerate(("link", "pipe", "device", "huge", "folder")):
        for name, others in (
            ("PG_VERSION", ("global/pg_control",)),
            ("ibdata1", ("mysql/x", "ib_logfile0", "b.index")),
        ):
            data = where / f"{name[:2]}{number}"
            for other in others:
                (data / other).parent.mkdir(parents=True, exist_ok=True)
                (data / other).touch()
            for path in (data / name, *([data / "b.index"] if name == "ibdata1" else [])):
                path.unlink(missing_ok=True)
                if kind == "link":
                    path.symlink_to("/etc/passwd")
                elif kind == "pipe":
                    os.mkfifo(path)
                elif kind == "device":
                    os.mknod(path, 0o20666, os.makedev(1, 5))
                elif kind == "huge":
                    with path.open("wb") as file:
                        file.truncate(1 << 40)
                else:
                    path.mkdir()
    subprocess.run(["sync", "-f", str(where)], check=True)


@pytest.mark.parametrize(
    ("name", "expected", "reason"),
    [
        ("good", OPENS, ""), ("crashed", OPENS, ""), ("inodes", DAMAGED, "check ext4: e2fsck"),
        ("first", DAMAGED, "superblock"), ("xfs crashed", OPENS, ""), ("xfs bad", DAMAGED, "xfs"),
        ("btrfs", OPENS, ""), ("btrfs bad", DAMAGED, "btrfs"), ("luks", NOT_PROVEN, "crypto_LUKS"),
        ("xfs lost", NOT_PROVEN, "not known here"), ("huge", DAMAGED, "ext"), ("odd size", DAMAGED, "ext"),
        ("inode size", DAMAGED, "ext"), ("xfs count", NOT_PROVEN, "not known here"), ("btrfs root", DAMAGED, "btrfs"),
    ],
)  # fmt: skip
def test_each_file_system_is_told_apart(volumes: dict[str, Steps], name: str, expected: Finding, reason: str) -> None:
    found, why = conclusion(volumes[name])
    assert found is expected, volumes[name]
    assert reason in why


def test_what_is_done_with_a_file_system(volumes: dict[str, Steps]) -> None:
    assert [step.title.partition(": ")[2] for step in volumes["crashed"]] == [
        "look", "replay the journal of ext4", "check ext4", "mount"
    ]  # fmt: skip
    assert [step.detail for step in volumes["empty"]] == ["nothing known is on it"]
    assert all(step.title != "machine" for step in volumes[""]), "it came to its end"


def test_nothing_that_stands_in_place_of_a_file_stops_it_or_is_shown(volumes: dict[str, Steps]) -> None:
    told = [step for step in volumes[""] if step.title.startswith(("MariaDB", "PostgreSQL"))]
    assert len(told) == 10, told
    assert {step.finding for step in told} == {NOT_PROVEN}
    assert not [step for step in told if "root:" in step.detail or step.seconds > 60]
    pipes = [step for step in told if step.title.endswith("PG1")]
    assert [step.detail for step in pipes] == ["PG_VERSION is no ordinary file"]


def test_logical_volumes_are_opened_too(volumes: dict[str, Steps]) -> None:
    assert [step.detail for step in volumes["lvm"]] == ["LVM2_member"]
    told = [step for step in volumes[""] if step.title.startswith("logical volume guest/root: ")]
    assert [step.title.partition(": ")[2] for step in told] == [
        "look",
        "replay the journal of ext4",
        "check ext4",
        "mount",
    ]
    assert {step.finding for step in told} == {OPENS}


@pytest.mark.long
def test_a_partition_table_that_leads_round_in_circles_ends() -> None:
    """Two partitions, and an extended one that names itself. Source: the master boot record's layout."""
    with short_directory(memory=True) as base:
        disk = base / "disk"
        with disk.open("wb") as file:
            file.truncate(64 * MIB)
        inside = made(base / "inside", "ext4", 16 * MIB)
        for start in (2048, 40960):
            subprocess.run(
                ["dd", f"if={inside}", f"of={disk}", "bs=512", f"seek={start}", "conv=notrunc", "status=none"],
                check=True,
            )
        entries = [(0x83, 2048, 32768), (0x83, 40960, 32768), (0x05, 80000, 1000), (0x83, 4_000_000_000, 4_000_000_000)]
        put(disk, 446, b"".join(_entry(*entry) for entry in entries) + b"\x55\xaa")
        put(disk, 80000 * 512 + 446, (_entry(0x83, 1, 100) + _entry(0x05, 0, 1000)).ljust(64, b"\0") + b"\x55\xaa")
        steps = opened(disk, base / "s")
    (step,) = steps
    assert (step.title, step.finding) == ("partitions", NOT_PROVEN)
    assert "partitions, and 128 are looked at" in step.detail


def _entry(kind: int, start: int, sectors: int) -> bytes:
    return bytes([0, 0, 2, 0, kind, 0, 0, 0]) + start.to_bytes(4, "little") + sectors.to_bytes(4, "little")


HOSTILE = '''
"""Owns its machine: root, in a kernel that it may change. It tries everything and says what it got."""
import glob, os, socket, subprocess, sys
from drystone.prove.wire import END, HELLO, encode_step
from drystone.domain.proof import Finding, ProofStep

def main():
    (name,) = glob.glob("/sys/class/virtio-ports/*/name")
    channel = os.open("/dev/" + name.split("/")[4], os.O_RDWR)
    def tell(title, detail=""):
        os.write(channel, encode_step(ProofStep(title=title, finding=Finding.OPENS, seconds=0.0, detail=detail)))
    def tries(title, act):
        try:
            tell(title, "GOT " + str(act()))
        except Exception as error:
            tell(title, "nothing: " + type(error).__name__)
    os.write(channel, HELLO)
    tell("user", str(os.getuid()))
    tell("interfaces", " ".join(os.listdir("/sys/class/net")))
    tell("disks", " ".join(sorted(os.listdir("/sys/block"))))
    tell("devices", " ".join(sorted(os.listdir("/sys/bus/virtio/devices"))))
    tell("pci", " ".join(sorted(open(path + "/class").read().strip() for path in glob.glob("/sys/bus/pci/devices/*"))))
    known = open("/proc/filesystems").read().split()
    tell("filesystems", " ".join(word for word in known if word in ("9p", "virtiofs")))
    def vsock():
        with socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM) as one:
            one.settimeout(5)
            one.connect((2, 1024))
    def network():
        with socket.socket() as one:
            one.settimeout(5)
            one.connect(("10.0.2.2", 22))
    def programs():
        subprocess.run(["blockdev", "--setrw", "/dev/vda"], check=False, capture_output=True)
        with open("/dev/vda", "r+b", buffering=0) as disk:
            disk.write(b"x" * 4096)
            os.fsync(disk.fileno())
    def clone():
        with open("/dev/vdb", "r+b", buffering=0) as disk:
            disk.write(b"y" * 4096)
            os.fsync(disk.fileno())
        return "its own"
    def beyond():
        with open("/dev/vdb", "r+b", buffering=0) as disk:
            disk.seek(0, 2)
            disk.write(b"z" * 4096)
    tries("vsock", vsock)
    tries("network", network)
    tries("programs", programs)
    tries("clone", clone)
    tries("beyond", beyond)
    tries("secrets", lambda: [path for path in ("/etc/shadow", "/etc/ssh", "/root", "/home") if os.path.exists(path)])
    os.write(channel, b"x" * 100)
    with open("/dev/console", "wb", buffering=0) as console:
        while True:
            console.write(bytes(4096))
            os.write(channel, b"x" * 4096)
'''


def test_a_guest_that_owns_its_machine_reaches_its_clone_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """P16, S165 from inside: no network, no other disk, no file of the host; and what it says without end ends it."""
    for path in appliance.SHIPPED:
        target = tmp_path / "package" / path
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(appliance.PACKAGE / path, target)
    (tmp_path / "package/prove/guest/main.py").write_text(HOSTILE)
    monkeypatch.setattr(appliance, "PACKAGE", tmp_path / "package")
    with short_directory(memory=True) as base:
        (base / "clone").write_bytes(bytes(MIB))
        *steps, last = opened(base / "clone", base / "s")
        written = (base / "clone").read_bytes()
    told = {step.title: step.detail for step in steps}
    assert told["user"] == "0"
    assert told["interfaces"] == "lo"
    assert [name for name in told["disks"].split() if not name.startswith(("loop", "ram"))] == ["vda", "vdb"]
    assert len(told["devices"].split()) == 3, "two disks and the channel"
    assert not [kind for kind in told["pci"].split() if kind.startswith("0x02")], "a network's"
    assert told["filesystems"] == ""
    for title in ("vsock", "network", "programs", "beyond"):
        assert told[title].startswith("nothing"), (title, told[title])
    assert told["clone"] == "GOT its own"
    assert told["secrets"] == "GOT []"
    assert (last.title, last.finding) == ("machine", NOT_PROVEN)
    assert "over" in last.detail
    assert written == (b"y" * 4096).ljust(MIB, b"\0")
