"""A real file system with real files on a real block device of this host."""

import hashlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from tests.system.harness import Installation

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="block devices need root")
FILES = 400


@contextmanager
def mounted(device: str, where: Path) -> Iterator[Path]:
    where.mkdir(exist_ok=True)
    subprocess.run(["mount", device, str(where)], check=True)
    try:
        # Never write to a path before it is known what is mounted there.
        assert where.stat().st_dev != where.parent.stat().st_dev
        assert where.is_mount()
        yield where
    finally:
        subprocess.run(["umount", str(where)], check=True)


def hashes(root: Path) -> dict[str, str]:
    return {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


def fill(root: Path, rng: np.random.Generator, count: int) -> None:
    for number in range(count):
        path = root / f"{number % 7}" / f"file-{number}"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(rng.bytes(int(rng.integers(1, 200_000))))


def fsck(device: str) -> None:
    subprocess.run(["e2fsck", "-fn", device], check=True, capture_output=True)


def test_ext4_survives_snapshot_delete_restore_and_rollback(system: Installation, tmp_path: Path) -> None:
    rng = np.random.default_rng(11)
    disk_id = system.create_disk()
    system.attach(disk_id, system.host_instance)
    device = system.detail(disk_id)["Device"]
    assert device == f"/dev/disk/by-id/virtio-{disk_id}"
    # Nothing is left to be written in the background: it would count as changed.
    options = "lazy_itable_init=0,lazy_journal_init=0"
    subprocess.run(["mkfs.ext4", "-q", "-E", options, device], check=True)
    with mounted(device, tmp_path / "disk") as root:
        fill(root, rng, FILES)
        os.sync()
        before = hashes(root)
        first = system.take(disk_id)
        for name in rng.choice(sorted(before), FILES // 100, replace=False):
            (root / str(name)).write_bytes(rng.bytes(50_000))
        shutil.rmtree(root / "3")
        os.sync()
        after = hashes(root)
        second = system.take(disk_id)
        assert system.code("DetachDisks", DiskIds=[disk_id]) == "ResourceBusy"
    assert system.record(second)["Tracking"] == "delta"
    assert system.record(second)["ChangedBytes"] < system.record(first)["ChangedBytes"] / 4
    system.call("DeleteSnapshots", SnapshotIds=[first])
    restored = system.create_disk(SnapshotId=second)
    # At once, while it hydrates, as a block device.
    system.attach(restored, system.host_instance)
    with mounted(system.detail(restored)["Device"], tmp_path / "restored") as root:
        assert hashes(root) == after
    system.wait(lambda: not system.detail(restored)["Hydrating"], "hydrated")
    fsck(system.detail(restored)["Device"])
    with mounted(system.detail(restored)["Device"], tmp_path / "restored") as root:
        assert hashes(root) == after
    system.detach(restored)
    with mounted(device, tmp_path / "disk") as root:
        shutil.rmtree(root / "1")
    system.detach(disk_id)
    system.call("ApplySnapshot", SnapshotId=second, DiskId=disk_id)
    system.wait_state(disk_id, "UNATTACHED")
    system.attach(disk_id, system.host_instance)
    fsck(device)
    with mounted(device, tmp_path / "disk") as root:
        assert hashes(root) == after
    system.detach(disk_id)


def test_a_disk_grows_while_it_is_a_block_device(system: Installation) -> None:
    disk_id = system.create_disk()
    system.attach(disk_id, system.host_instance)
    device = system.detail(disk_id)["Device"]
    system.call("ResizeDisk", DiskId=disk_id, DiskSize=12)
    system.wait_state(disk_id, "ATTACHED")
    size = subprocess.run(["blockdev", "--getsize64", device], check=True, capture_output=True, text=True).stdout
    assert int(size) == 12 << 30
    system.detach(disk_id)
