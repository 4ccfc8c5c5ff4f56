"""Space comes back: what a file system discards, however it is aligned, goes from the image and from snapshots."""

import functools
import os
import random
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
from tencentcloud.common.exception.tencent_cloud_sdk_exception import TencentCloudSDKException

from drystone.domain.ids import DiskId
from drystone.engine.volume import volume_of
from tests.engine.volumes import image_of
from tests.system.harness import Installation, installation
from tests.system.test_host_device import fill, mounted

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="block devices need root")
MIB = 1 << 20
BLOCK = 4096
FILES = 300
EMPTY_BYTES_MAX = 2 * MIB
"""What a snapshot of an empty file system may store: its own tables, compressed."""


def queue(device: str) -> Path:
    return Path("/sys/block") / Path(device).resolve().name / "queue"


def discards(device: str) -> bool:
    """Tell whether the kernel still sends discards to the device."""
    return int((queue(device) / "discard_max_bytes").read_text()) > 0


def held_bytes(system: Installation, disk_id: str) -> int:
    return image_of(system.layout, DiskId(disk_id)).stat().st_blocks * 512


def check(system: Installation, disk_id: str) -> None:
    """Have QEMU look over the image of a detached disk."""
    system.wait(lambda: system.detail(disk_id)["Daemon"] is None, f"{disk_id} closed")
    image = image_of(system.layout, DiskId(disk_id))
    subprocess.run(["qemu-img", "check", "-q", "-f", "qcow2", image], check=True)


@needs_root
@pytest.mark.parametrize("kind", ["ext4", "xfs", "btrfs"])
def test_what_is_deleted_is_neither_in_the_image_nor_in_a_snapshot(
    system: Installation, tmp_path: Path, kind: str
) -> None:
    disk_id = system.create_disk()
    system.attach(disk_id, system.host_instance)
    device = str(system.detail(disk_id)["Device"])
    # As users make them: this discards the whole disk.
    force = [] if kind == "ext4" else ["-f"]
    subprocess.run([f"mkfs.{kind}", "-q", *force, device], check=True, capture_output=True)
    assert discards(device)
    rng = np.random.default_rng(3)
    with mounted(device, tmp_path / "disk") as root:
        system.own(
            "SetQuiesceProfile", ResourceId=disk_id, Mode="require", FreezeSecondsMax=60,
            Steps=[{"Kind": "filesystem", "Mount": str(root), "SecondsMax": 30}],
        )  # fmt: skip
        fill(root, rng, FILES)
        subprocess.run(["sync", "-f", root], check=True)
        full = held_bytes(system, disk_id)
        kept = {path: path.read_bytes() for path in root.rglob("file-*1")}
        for path in root.rglob("file-*"):
            if path not in kept:
                path.unlink()
        for _ in range(2):
            subprocess.run(["sync", "-f", root], check=True)
            subprocess.run(["fstrim", root], check=True)
            assert discards(device)
        some = held_bytes(system, disk_id)
        assert {path: path.read_bytes() for path in kept} == kept
        first = system.record(system.take(disk_id))
        assert first["Consistency"] == "filesystem"
        assert first["StoredBytes"] < sum(map(len, kept.values())) + EMPTY_BYTES_MAX
        for path in kept:
            path.unlink()
        subprocess.run(["sync", "-f", root], check=True)
        subprocess.run(["fstrim", root], check=True)
        assert discards(device)
    emptied = held_bytes(system, disk_id)
    assert some < full
    # What stays is metadata of the file system and of the image, and is there from the start.
    assert emptied < full / 2
    system.detach(disk_id)
    check(system, disk_id)
    assert system.record(system.take(disk_id))["StoredBytes"] < EMPTY_BYTES_MAX


@needs_root
def test_discards_of_whole_2_kib_are_done_for_ever(system: Installation) -> None:
    """Exactly what is discarded reads as zeros, through snapshots too; what is zeroed with allocation does likewise."""
    disk_id = system.create_disk()
    system.attach(disk_id, system.host_instance)
    device = str(system.detail(disk_id)["Device"])
    rng = random.Random(8)
    size = 4 * MIB
    truth = bytearray(rng.randbytes(size))
    with Path(device).open("r+b", buffering=0) as file:
        file.write(truth)
        os.fsync(file.fileno())
    commands: tuple[tuple[str, ...], ...] = (
        ("blkdiscard",), ("blkdiscard", "--zeroout"), ("fallocate", "--punch-hole"), ("fallocate", "--zero-range"),
    )  # fmt: skip
    unit = 2048
    before = bytes(truth)

    def discard(turn: int) -> None:
        start = rng.randrange(0, size // unit - 1) * unit
        length = min(rng.choice((1, 2, 3, 7, 32, 33, 100)) * unit, size - start)
        subprocess.run(
            [*commands[turn % len(commands)], "--offset", str(start), "--length", str(length), device], check=True
        )  # fmt: skip
        truth[start : start + length] = bytes(length)
        assert discards(device), (turn, start, length)

    with system.paused_workers():
        # Under a frozen view, which shows what was before.
        frozen = str(system.call("CreateSnapshot", DiskId=disk_id).SnapshotId)
        for turn in range(20):
            discard(turn)
    system.wait_normal(frozen)
    assert system.stored(frozen).read(0, size) == before
    for turn in range(20):
        discard(turn)
    found = system.take(disk_id)
    assert system.record(found)["Tracking"] == "delta"
    assert system.stored(found).read(0, size) == truth
    system.detach(disk_id)
    check(system, disk_id)
    system.attach(disk_id)
    assert system.read(disk_id, 0, size) == truth


def test_over_nbd_a_discard_of_any_alignment_is_done_or_left(system: Installation) -> None:
    """A block that was discarded reads as before or as zeros; what is beside it stays; snapshots say what is so."""
    disk_id = system.create_disk()
    system.attach(disk_id)
    rng = random.Random(9)
    size = 4 * MIB
    truth = bytearray(rng.randbytes(size))
    system.write(disk_id, 0, bytes(truth))
    before = held_bytes(system, disk_id)
    may = np.zeros(size, dtype=bool)
    with system.paused_workers(), system.nbd(disk_id) as client:
        frozen = str(system.call("CreateSnapshot", DiskId=disk_id).SnapshotId)
        for _ in range(60):
            start = rng.randrange(size // 512 - 1) * 512
            length = min(rng.choice((512, 1024, 4096, 65_536, 200_192)), size - start)
            client.trim(start, length)
            may[start : start + length] = True
        client.flush()
        now = np.frombuffer(client.pread(0, size), dtype=np.uint8)
    was = np.frombuffer(bytes(truth), dtype=np.uint8)
    assert np.all((now == was) | (may & (now == 0)))
    assert held_bytes(system, disk_id) < before
    system.wait_normal(frozen)
    assert system.stored(frozen).read(0, size) == truth
    found = system.take(disk_id)
    assert system.record(found)["Tracking"] == "delta"
    assert system.stored(found).read(0, size) == now.tobytes()
    with system.nbd(disk_id) as client:
        for start in range(0, size, MIB):
            client.trim(start + 512, MIB - 1024)
        client.flush()
        last = client.pread(0, size)
    second = system.take(disk_id)
    assert system.record(second)["Tracking"] == "delta"
    assert system.stored(second).read(0, size) == last
    assert system.stored(found).read(0, size) == now.tobytes()
    system.detach(disk_id)
    check(system, disk_id)


# --- images of an earlier version -------------------------------------------------------------------------------------


def age(system: Installation, disk_id: str) -> None:
    """Make a detached disk's image one of an earlier version, with the checkpoint that it would have."""
    system.wait(lambda: system.detail(disk_id)["Daemon"] is None, f"{disk_id} closed")
    image = image_of(system.layout, DiskId(disk_id))
    volume = volume_of(system.layout, DiskId(disk_id))
    found = volume.recorded()
    assert found is not None
    old = image.with_suffix(".old")
    subprocess.run(["qemu-img", "convert", "-f", "qcow2", "-O", "qcow2", image, old], check=True)
    old.replace(image)
    volume.record(found.checkpoint.epoch, found.ranges)
    assert volume.is_outdated()


def refused(system: Installation, disk_id: str) -> str:
    with pytest.raises(TencentCloudSDKException) as caught:
        system.own("RewriteDisk", DiskId=disk_id)
    return str(caught.value.get_code())


def ended(system: Installation, operation: str) -> dict[str, object]:
    def look() -> dict[str, object]:
        return dict(system.own("DescribeOperations", OperationIds=[operation])["OperationSet"][0])

    system.wait(lambda: look()["State"] != "RUNNING", f"{operation} ended")
    return look()


def prepared(system: Installation, rng: np.random.Generator, mib: int = 4) -> tuple[str, bytes]:
    """A detached disk of an earlier version, with a snapshot and a change since; and what it holds."""
    disk_id = system.create_disk()
    system.attach(disk_id)
    content = bytearray(rng.bytes(mib * MIB))
    system.write(disk_id, 0, bytes(content))
    system.take(disk_id)
    content[9 * BLOCK : 11 * BLOCK] = rng.bytes(2 * BLOCK)
    system.write(disk_id, 9 * BLOCK, bytes(content[9 * BLOCK : 11 * BLOCK]))
    assert refused(system, disk_id) == "ResourceUnavailable.Attached"
    system.detach(disk_id)
    age(system, disk_id)
    return disk_id, bytes(content)


def test_an_image_is_rewritten_and_nothing_else_changes(system: Installation) -> None:
    rng = np.random.default_rng(5)
    disk_id, content = prepared(system, rng)
    assert system.detail(disk_id)["NeedsRewrite"]
    assert ended(system, str(system.own("RewriteDisk", DiskId=disk_id)["OperationId"]))["State"] == "DONE"
    detail = system.detail(disk_id)
    assert (detail["NeedsRewrite"], detail["Tracking"]) == (False, "STOPPED")
    check(system, disk_id)
    # What had changed before is known, and nothing more is read.
    second = system.take(disk_id)
    record = system.record(second)
    assert (record["Tracking"], record["ChangedBytes"]) == ("delta", 2 * BLOCK)
    assert system.stored(second).read(0, len(content)) == content
    system.attach(disk_id)
    assert system.read(disk_id, 0, len(content)) == content
    system.detach(disk_id)
    # Again: there is nothing to do.
    assert ended(system, str(system.own("RewriteDisk", DiskId=disk_id)["OperationId"]))["State"] == "DONE"
    system.call("TerminateDisks", DiskIds=[disk_id])
    system.wait(lambda: system.disk(disk_id) is None, "it is gone")
    assert refused(system, disk_id) == "InvalidDiskId.NotFound"
    system.wait(lambda: not system.layout.disk(DiskId(disk_id)).exists(), "its files are gone")


def test_a_server_that_is_killed_while_it_rewrites_goes_on(tmp_path: Path) -> None:
    rng = np.random.default_rng(6)
    with installation(tmp_path / "a path with blanks") as system:
        disk_id, content = prepared(system, rng, 24)

        def reached(phase: str) -> bool:
            found = system.own("DescribeOperations", Limit=20)["OperationSet"]
            (one,) = [operation for operation in found if operation["Kind"] == "rewrite"]
            return bool(one["Phase"] == phase or one["State"] != "RUNNING")

        system.own("RewriteDisk", DiskId=disk_id)
        for phase in ("COPYING", "COMPARING"):
            system.wait(functools.partial(reached, phase), phase)
            time.sleep(rng.uniform(0, 0.05))
            system.kill()
            system.start()
        system.wait_state(disk_id, "UNATTACHED")
        assert not system.detail(disk_id)["NeedsRewrite"]
        second = system.take(disk_id)
        assert system.stored(second).read(0, len(content)) == content
        names = {file.name for file in system.layout.disk(DiskId(disk_id)).iterdir()}
        assert not names & {"disk.rewrite", "disk.part"}
