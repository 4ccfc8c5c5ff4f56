"""Encrypted disks on a real host: every path works, and nothing that they hold is anywhere in clear (S380 to S383)."""

import os
import resource
import shutil
import time
from pathlib import Path
from typing import Any

import pytest

from drystone.domain.ids import DiskId
from drystone.engine.descriptions import FoundDisk, find_disks
from drystone.engine.luks import LuksKey
from drystone.offline.maintenance import recover
from drystone.offline.store_keys import create_key, destroy_key, export_key, import_key, rotate_key
from drystone.service.host.disk_keys import open_key
from drystone.snapstore.key_files import KeyFiles
from tests.engine.volumes import image_of
from tests.system.harness import Installation, installation
from tests.system.test_s3 import command_lines_and_logs
from tests.system.test_sealed import SETTINGS, World

MIB = 1 << 20
LENGTH = 2 * MIB


def text(mark: str) -> bytes:
    """What a guest writes, which is found again wherever it lies in clear."""
    line = f"what {mark} wrote, over and over. ".encode()
    return (line * (LENGTH // len(line) + 1))[:LENGTH]


def showing(data: Path, *contents: bytes) -> list[str]:
    """The files of a data directory that hold a line of any of these."""
    found = []
    for path in sorted(data.rglob("*")):
        if path.is_file() and not path.is_symlink() and path.suffix not in {".raw.fuse", ".sock"}:
            raw = path.read_bytes() if path.stat().st_size < 64 * MIB else _allocated(path)
            if any(content[:64] in raw for content in contents):
                found.append(str(path.relative_to(data)))
    return found


def _allocated(path: Path) -> bytes:
    """What a large sparse file holds."""
    parts, at = [], 0
    descriptor = os.open(path, os.O_RDONLY)
    try:
        size = os.fstat(descriptor).st_size
        while at < size:
            try:
                start = os.lseek(descriptor, at, os.SEEK_DATA)
            except OSError:
                break
            at = os.lseek(descriptor, start, os.SEEK_HOLE)
            parts.append(os.pread(descriptor, at - start, start))
    finally:
        os.close(descriptor)
    return b"".join(parts)


def key_of(system: Installation, disk: str) -> LuksKey:
    described: Any = next(
        one.description
        for one in find_disks(system.layout)
        if isinstance(one, FoundDisk) and one.description.id == disk
    )
    return open_key(KeyFiles(system.layout.keys), described, described.encryption)


def encrypted(system: Installation, **parameters: Any) -> str:
    disk = system.create_disk(Encrypt="ENCRYPT", **parameters)
    system.attach(disk)
    return disk


def test_an_encrypted_disk_is_as_any_other(tmp_path: Path) -> None:
    """S380, S381: snapshots, increments, clones, rollback, resize, export, restart, kill -9."""
    one, two, three = text("the first"), text("the second"), text("the third")
    with installation(tmp_path / "data", SETTINGS) as system:
        payroll = create_key(system.data, "payroll", at=1.0)
        disk = encrypted(system, KmsKeyId="payroll", EncryptType="ENCRYPT_V2", DiskName="x")
        told = system.disk(disk)
        assert (told.Encrypt, told.KmsKeyId, told.EncryptType) == (True, payroll.key.key_id, "ENCRYPT_V2")
        system.write(disk, 0, one)
        first = system.take(disk)
        assert system.snapshot(first).Encrypt is True
        # While it is frozen, what the guest overwrites lies in scratch.
        with system.paused_workers():
            second = system.call("CreateSnapshot", DiskId=disk).SnapshotId
            system.write(disk, 0, two)
            scratch = system.layout.scratch_file(DiskId(disk))
            assert scratch.stat().st_blocks * 512 > LENGTH
            assert showing(system.data, one, two) == []
        system.wait_normal(second)
        system.write(disk, LENGTH, three)
        third = system.take(disk)
        record = system.record(third)
        assert (record["Tracking"], record["ChangedBytes"]) == ("delta", 2 * LENGTH)
        assert [system.content(name, LENGTH) for name in (first, second, third)] == [one, one, two]
        copy = system.create_disk(SnapshotId=first)
        assert system.disk(copy).Encrypt is True
        system.attach(copy)
        assert system.read(copy, 0, LENGTH) == one
        system.call("ResizeDisk", DiskId=disk, DiskSize=20)
        system.wait_state(disk, "ATTACHED")
        assert system.disk(disk).DiskSize == 20
        system.call("ResizeDisk", DiskId=disk, DiskSize=21)
        system.wait_state(disk, "ATTACHED")
        assert system.read(disk, 0, 2 * LENGTH) == two + three
        fourth = system.take(disk)
        system.kill()
        system.kill_daemons(store=True)
        system.start()
        system.wait_state(disk, "ATTACHED")
        system.wait_idle()
        assert system.read(disk, 0, 2 * LENGTH) == two + three
        assert system.read(copy, 0, LENGTH) == one
        system.write(disk, 0, one)
        system.detach(disk)
        system.call("ApplySnapshot", SnapshotId=fourth, DiskId=disk)
        system.wait_state(disk, "UNATTACHED")
        system.attach(disk)
        assert system.read(disk, 0, 2 * LENGTH) == two + three
        fifth = system.take(disk)
        assert system.content(fifth, 2 * LENGTH) == two + three
        assert system.own("AuditDisk", DiskId=disk)
        system.wait_idle()
        out = tmp_path / "out.raw"
        system.own("ExportSnapshot", SnapshotId=fifth, Path=str(out))
        system.wait_idle()
        with out.open("rb") as file:
            assert file.read(2 * LENGTH) == two + three
        assert showing(system.data, one, two, three) == []
        keys = [path.read_text().split("\n1     ")[1][:19] for path in system.layout.keys.glob("*.key")]
        for pid in (*system.daemons().values(), system.process.pid if system.process else 0):
            assert resource.prlimit(pid, resource.RLIMIT_CORE) == (0, 0)
        seen = command_lines_and_logs(system)
        assert not any(digits in seen for digits in keys)
        for name in (disk, copy):
            assert key_of(system, name).passphrase not in seen
            assert key_of(system, name).secret not in image_of(system.layout, DiskId(name)).read_bytes()


@pytest.mark.long
def test_a_missing_key_stops_its_disks_alone_and_a_recovery_adopts_them(tmp_path: Path) -> None:
    """S382, S246: the key is in row and disk.json; a rotation wraps it anew in both."""
    content = text("somebody")
    with installation(tmp_path / "data", SETTINGS) as system:
        payroll = create_key(system.data, "payroll", at=1.0)
        disk = encrypted(system, KmsKeyId="payroll")
        system.write(disk, 0, content)
        snapshot = system.take(disk)
        other = encrypted(system)
        system.write(other, 0, content)
        system.wait_idle()
        system.host_stop()
        sheet = export_key(system.data, "payroll")
        key = system.layout.keys / f"{payroll.key.key_id}.key"
        away = tmp_path / "away"
        shutil.move(key, away)
        system.start()
        system.wait_state(other, "ATTACHED")
        assert system.read(other, 0, LENGTH) == content
        system.wait(lambda: f"import key {key.stem}" in system.log(), "the server says which key is missing")
        assert not system.is_served(disk)
        import_key(system.data, sheet)
        assert system.read(disk, 0, LENGTH) == content
        assert system.content(snapshot, LENGTH) == content
        system.wait_idle()
        system.host_stop()
        before = image_of(system.layout, DiskId(disk)).read_bytes()
        done = rotate_key(system.data, "payroll", at=2.0)
        assert done.key != key.stem
        assert not key.exists()
        assert image_of(system.layout, DiskId(disk)).read_bytes() == before
        system.start()
        system.wait_state(disk, "ATTACHED")
        assert system.read(disk, 0, LENGTH) == content
        system.host_stop()
        # The catalog is lost: what lies beside the image is enough.
        for path in (*system.data.glob("catalog.db*"), *system.layout.backups.glob("*")):
            path.unlink()
        report = recover(system.data, None, None, World())
        assert sorted(report.disks_adopted) == sorted([disk, other])
        assert snapshot in report.snapshots_imported
        system.start()
        assert system.disk(disk).KmsKeyId == done.key
        assert system.snapshot(snapshot).Encrypt is True
        for name in (disk, other):
            system.attach(name)
            assert system.read(name, 0, LENGTH) == content
        assert system.content(snapshot, LENGTH) == content
        # Its snapshots are made unreadable: they go, and the disk goes on with another key (S384).
        system.own("ConfirmStore")
        kept = system.take(other)
        system.wait_idle()
        system.host_stop()
        begun = destroy_key(system.data, disk, at=time.time(), rng=World.rng)
        assert begun.snapshots == (snapshot,)
        system.start()
        system.wait(lambda: f'"key_id": "{begun.keys[0]}"' in system.log(), "the key is destroyed")
        assert system.snapshot(snapshot) is None
        assert list(system.layout.store.glob(f"*/keys/{begun.keys[0]}/*")) == [
            *system.layout.store.glob(f"*/keys/{begun.keys[0]}/destroyed")
        ]
        system.wait_state(disk, "ATTACHED")
        assert system.content(kept, LENGTH) == content
        assert system.content(system.take(disk), LENGTH) == content
