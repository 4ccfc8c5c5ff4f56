"""A host that runs out of something: the server runs, serves its disks, says why it refuses, recovers (S135, S136)."""

import contextlib
import fcntl
import os
import resource
import signal
import socket
import sqlite3
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from tencentcloud.common.exception.tencent_cloud_sdk_exception import TencentCloudSDKException

from drystone.engine.ballast import PIECES
from tests.system.harness import Installation, installation, random_bytes

MIB = 1 << 20
FILE_SYSTEM_BYTES = 96 * MIB
SIZE = 2 * MIB
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(7)


@contextlib.contextmanager
def small_file_system(tmp_path: Path, *options: str) -> Iterator[Path]:
    """Give a directory that is an ext4 of its own, with blocks as a large one has them."""
    image, where = tmp_path / "image", tmp_path / "data"
    with image.open("wb") as file:
        file.truncate(FILE_SYSTEM_BYTES)
    subprocess.run(["mkfs.ext4", "-q", "-m0", "-b", "4096", "-F", *options, str(image)], check=True)
    where.mkdir()
    subprocess.run(["mount", "-o", "loop", str(image), str(where)], check=True)
    try:
        assert where.is_mount()
        yield where
    finally:
        subprocess.run(["umount", "-l", str(where)], check=True)


def fill_bytes(directory: Path) -> None:
    """Leave not one block free."""
    directory.mkdir(exist_ok=True)
    for bytes_at_once in (MIB, 4096):
        with (directory / f"filler-{bytes_at_once}").open("ab", buffering=0) as file, contextlib.suppress(OSError):
            while True:
                file.write(bytes(bytes_at_once))
                os.fsync(file.fileno())


def fill_inodes(directory: Path) -> None:
    """Leave not one inode free."""
    directory.mkdir(exist_ok=True)
    with contextlib.suppress(OSError):
        for number in range(1 << 20):
            (directory / str(number)).touch()


def empty(directory: Path) -> None:
    for path in directory.iterdir():
        path.unlink()


def answer(system: Installation, action: str, **parameters: object) -> tuple[str, str]:
    """Return code and message of a call; a broken connection or an HTTP status is an error of the client's own."""
    try:
        system.call(action, **parameters)
    except TencentCloudSDKException as error:
        return str(error.get_code()), str(error.get_message())
    return "OK", ""


def new_disk(system: Installation) -> dict[str, object]:
    return {
        "Placement": {"Zone": system.environment["DRYSTONE_ZONE"]}, "DiskChargeType": "POSTPAID_BY_HOUR",
        "DiskType": "CLOUD_PREMIUM", "DiskSize": 10,
    }  # fmt: skip


def runs(system: Installation) -> bool:
    assert system.process is not None
    assert system.process.poll() is None, system.log()
    code, message = answer(system, "DescribeDisks")
    assert code == "OK", (message, system.log())
    return True


@needs_root
@pytest.mark.parametrize("fill", [fill_bytes, fill_inodes], ids=["no space", "no inodes"])
def test_a_full_file_system(tmp_path: Path, rng: np.random.Generator, fill: object) -> None:
    with small_file_system(tmp_path, "-N", "2000") as data, installation(data) as system:
        system.wait(lambda: len(list((data / "ballast").glob("??"))) == PIECES, "ballast")
        disk, content = system.create_disk(), random_bytes(rng, SIZE)
        system.attach(disk)
        system.write(disk, 0, content)
        first = system.take(disk)
        fill(data / "filler")  # type: ignore[operator]
        # What reads is answered, what would need room is refused with the reason, and nothing is left of it.
        assert runs(system)
        code, message = answer(system, "CreateDisks", **new_disk(system))
        assert code == "ResourceInsufficient", message
        assert "free space" in message or "inodes" in message, message
        code, message = answer(system, "CreateSnapshot", DiskId=disk)
        assert code == "ResourceInsufficient", message
        assert system.read(disk, 0, SIZE) == content
        # What gives space back is done.
        assert answer(system, "DeleteSnapshots", SnapshotIds=[first])[0] == "OK"
        system.wait(lambda: system.snapshot(first) is None, "the snapshot gone")
        # Everything dies, and a server starts on what is still full: the disk is served again.
        fill(data / "filler")  # type: ignore[operator]
        system.stop()
        system.kill_daemons(store=True)
        system.start()
        assert runs(system)
        assert system.read(disk, 0, SIZE) == content
        assert answer(system, "CreateDisks", **new_disk(system))[0] == "ResourceInsufficient"
        # It recovers by itself.
        empty(data / "filler")
        system.wait(lambda: answer(system, "CreateDisks", **new_disk(system))[0] == "OK", "room")
        last = system.take(disk)
        assert system.content(last, SIZE) == content
        system.wait(lambda: len(list((data / "ballast").glob("??"))) == PIECES, "ballast")
        assert (data / "credentials.env").read_text().count(system.endpoint) == 1
        system.wait_idle()


def test_a_log_that_cannot_be_written(tmp_path: Path, rng: np.random.Generator) -> None:
    with installation(tmp_path / "data") as system:
        system.stop()
        system.stderr = Path("/dev/full")
        system.start()
        disk, content = system.create_disk(), random_bytes(rng, SIZE)
        system.attach(disk)
        system.write(disk, 0, content)
        assert system.record(system.take(disk))["Tracking"] == "full"
        assert answer(system, "ModifyDiskAttributes", DiskIds=[disk], DiskName="x")[0] == "OK"
        assert runs(system)
        system.stop()
        system.start()
        assert system.read(disk, 0, SIZE) == content
        assert runs(system)


def test_a_catalog_that_another_program_holds(tmp_path: Path, rng: np.random.Generator) -> None:
    with installation(tmp_path / "data") as system:
        disk, content = system.create_disk(), random_bytes(rng, SIZE)
        system.attach(disk)
        system.write(disk, 0, content)
        holder = sqlite3.connect(system.layout.catalog, isolation_level=None)
        holder.execute("BEGIN IMMEDIATE")
        code, message = answer(system, "DetachDisks", DiskIds=[disk])
        assert code == "ServiceUnavailable"
        assert "held by another program" in message
        assert runs(system)
        system.stop()
        # It starts, too, and what it could not write it writes later.
        system.start()
        assert system.read(disk, 0, SIZE) == content
        assert runs(system)
        holder.execute("ROLLBACK")
        holder.close()
        system.detach(disk)
        system.wait_idle()


@contextlib.contextmanager
def few_descriptors(system: Installation, spare: int) -> Iterator[None]:
    """Let the server open only so many more files."""
    assert system.process is not None
    pid = system.process.pid
    before = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    used = max(int(entry.name) for entry in Path(f"/proc/{pid}/fd").iterdir())
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (used + 1 + spare, before[1]))
    try:
        yield
    finally:
        resource.prlimit(pid, resource.RLIMIT_NOFILE, before)


def test_no_descriptors_left(tmp_path: Path, rng: np.random.Generator) -> None:
    with installation(tmp_path / "data") as system:
        disk, content = system.create_disk(), random_bytes(rng, SIZE)
        system.attach(disk)
        system.write(disk, 0, content)
        with few_descriptors(system, spare=6), contextlib.ExitStack() as stack:
            host, _, port = system.endpoint.partition(":")
            for _ in range(20):
                with contextlib.suppress(OSError):
                    stack.enter_context(socket.create_connection((host, int(port)), timeout=5))
            assert answer(system, "CreateSnapshot", DiskId=disk)[0] != "OK"
            assert system.process is not None
            assert system.process.poll() is None, system.log()
        system.wait(lambda: answer(system, "DescribeDisks")[0] == "OK", "calls answered again", seconds=30.0)
        assert system.content(system.take(disk), SIZE) == content
        assert runs(system)


EXT4_IOC_SHUTDOWN = 0x8004587D
"""Source: linux/fs/ext4/ext4.h, _IOR('X', 125, __u32)."""
NO_LOG_FLUSH = 2


@needs_root
def test_a_drive_that_breaks(tmp_path: Path, rng: np.random.Generator) -> None:
    """Everything under the data directory answers with errors; nothing of it ends the server."""
    with small_file_system(tmp_path) as data, installation(data) as system:
        disk = system.create_disk()
        system.attach(disk)
        system.write(disk, 0, random_bytes(rng, SIZE))
        daemons = system.daemons()
        assert data.is_mount()
        directory = os.open(data, os.O_RDONLY)
        fcntl.ioctl(directory, EXT4_IOC_SHUTDOWN, struct.pack("I", NO_LOG_FLUSH))
        os.close(directory)
        assert system.process is not None
        calls: tuple[tuple[str, dict[str, object]], ...] = (
            ("CreateDisks", new_disk(system)), ("CreateSnapshot", {"DiskId": disk}),
            ("DetachDisks", {"DiskIds": [disk]}),
        )  # fmt: skip
        try:
            for action, parameters in calls:
                code, message = answer(system, action, **parameters)
                assert code in {"ServiceUnavailable", "InternalError", "ResourceInsufficient"}, (code, message)
                assert system.process.poll() is None
        finally:
            # Nobody can read any more where they are.
            for pid in daemons.values():
                os.kill(pid, signal.SIGKILL)


@needs_root
def test_a_disk_that_could_not_be_snapshotted_is_refused(tmp_path: Path) -> None:
    with small_file_system(tmp_path) as data, installation(data) as system:
        code, message = answer(system, "CreateDisks", **{**new_disk(system), "DiskSize": 16384})
        assert code == "InvalidParameterValue"
        assert "up to 16383 GiB" in message
        disk = system.create_disk(16383)
        code, message = answer(system, "ResizeDisk", DiskId=disk, DiskSize=20000)
        assert code == "InvalidParameterValue"
        assert "up to 16383 GiB" in message
        system.attach(disk)
        system.take(disk)
