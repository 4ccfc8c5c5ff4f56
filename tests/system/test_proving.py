"""Proofs on a real installation: a throw-away clone, found and taken away whatever is killed; the source untouched."""

import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tencentcloud.common.exception.tencent_cloud_sdk_exception import TencentCloudSDKException

from tests.system.harness import SECONDS, Installation, installation
from tests.system.test_host_device import mounted

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="block devices need root")
SECTOR = 512
OPTIONS = ("-q", "-E", "nodiscard,lazy_itable_init=1,lazy_journal_init=1")


class Proofs:
    """An installation, and a disk of its host with ext4 on it."""

    def __init__(self, system: Installation, base: Path) -> None:
        self.system = system
        self.base = base
        self.disk_id = system.create_disk()
        system.attach(self.disk_id, system.host_instance)
        self.device = Path(str(system.detail(self.disk_id)["Device"]))
        subprocess.run(["mkfs.ext4", *OPTIONS, str(self.device)], check=True, capture_output=True)
        with mounted(str(self.device), base / "mount") as where:
            for number in range(100):
                (where / f"{number}").write_text("x" * 1000)

    def begin(self, snapshot_id: str) -> str:
        return str(self.system.own("ProveSnapshot", SnapshotId=snapshot_id)["OperationId"])

    def wait(self, snapshot_id: str) -> dict[str, Any]:
        """Wait until a proof has ended; return it. Nothing of the clone is left."""
        self.system.wait_idle()
        assert self.left() == []
        opening: dict[str, Any] = self.system.record(snapshot_id)["Opening"]
        return opening

    def prove(self, snapshot_id: str) -> dict[str, Any]:
        self.begin(snapshot_id)
        return self.wait(snapshot_id)

    def left(self) -> list[str]:
        """Everything that a clone consists of, as it is there."""
        layout = self.system.layout
        found = [str(path) for path in (*layout.run.glob("proof-*"), *layout.scratch.glob("proof-*"))]
        for entry in Path("/sys/block").glob("loop*/loop/backing_file"):
            try:
                if "/proof-" in entry.read_text():
                    found.append(entry.read_text())
            except OSError:
                continue
        return found


@pytest.fixture(scope="module")
def proofs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proofs]:
    base = Path(tmp_path_factory.mktemp("drystone"))
    with installation(base / "data", "prove = true\n") as system:
        yield Proofs(system, base)


def test_a_good_snapshot_opens_and_one_with_overwritten_metadata_is_damaged(proofs: Proofs) -> None:
    system = proofs.system
    good = system.take(proofs.disk_id)
    before = system.content(good, 1 << 20)
    listed = system.call("DescribeDisks").TotalCount
    opening = proofs.prove(good)
    assert (opening["Finding"], opening["Reason"]) == ("opens", ""), opening
    assert [step["Title"] for step in opening["Steps"]] == [
        "disk: look", "disk: replay the journal of ext4", "disk: check ext4", "disk: mount"
    ]  # fmt: skip
    assert system.call("DescribeDisks").TotalCount == listed
    assert system.content(good, 1 << 20) == before
    told = subprocess.run(["dumpe2fs", str(proofs.device)], check=True, capture_output=True, text=True).stdout
    block = int(told.partition("Inode table at ")[2].partition("-")[0])
    with proofs.device.open("r+b") as device:
        device.seek(block * 4096 + 4096)
        kept = device.read(8192)
        device.seek(block * 4096 + 4096)
        device.write(b"\xa5" * 8192)
        device.flush()
        os.fsync(device.fileno())
        try:
            bad = system.take(proofs.disk_id)
        finally:
            device.seek(block * 4096 + 4096)
            device.write(kept)
    opening = proofs.prove(bad)
    assert opening["Finding"] == "damaged"
    assert "check ext4: e2fsck" in opening["Reason"]
    # The older one's proof stays.
    assert system.record(good)["Opening"]["Finding"] == "opens"
    system.call("DeleteSnapshots", SnapshotIds=[bad])


def test_killed_in_the_middle_of_a_proof(proofs: Proofs) -> None:
    """The server dies while the clone is there: what is left of it goes, and the proof is made anew."""
    system = proofs.system
    snapshot = system.take(proofs.disk_id)
    operation = proofs.begin(snapshot)
    system.wait(lambda: any("/proof-" in path for path in proofs.left()), "the clone")
    system.kill()
    system.start()
    assert proofs.wait(snapshot)["Finding"] == "opens"
    (row,) = system.own("DescribeOperations", OperationIds=[operation])["OperationSet"]
    assert row["State"] == "DONE"
    assert row["Result"]["finding"] == "opens"
    # Stopping the host takes away what a killed server left, too.
    proofs.begin(snapshot)
    system.wait(lambda: any("/proof-" in path for path in proofs.left()), "the clone")
    system.kill()
    system.host_stop()
    assert proofs.left() == []
    system.start()
    assert proofs.wait(snapshot)["Finding"] == "opens"


def test_partitions_are_opened_one_by_one(proofs: Proofs) -> None:
    system = proofs.system
    disk_id = system.create_disk()
    system.attach(disk_id, system.host_instance)
    device = Path(str(system.detail(disk_id)["Device"]))
    starts, sectors = (2048, 200_000), 100_000
    # Two Linux partitions in a table of the old kind. Source: the master boot record's layout.
    table = b"".join(
        bytes([0, 0, 2, 0, 0x83, 0, 0, 0]) + start.to_bytes(4, "little") + sectors.to_bytes(4, "little")
        for start in starts
    )
    with device.open("r+b") as file:
        file.write(bytes(446) + table.ljust(64, b"\0") + b"\x55\xaa")
    for start, kind in zip(starts, ("ext4", "ext2"), strict=True):
        offset = subprocess.run(
            ["losetup", "--find", "--show", "--offset", str(start * SECTOR), "--sizelimit", str(sectors * SECTOR),
             str(device)],
            check=True, capture_output=True, text=True,
        ).stdout.strip()  # fmt: skip
        try:
            subprocess.run([f"mkfs.{kind}", "-q", offset], check=True, capture_output=True)
        finally:
            subprocess.run(["losetup", "--detach", offset], check=True)
    opening = proofs.prove(system.take(disk_id))
    assert opening["Finding"] == "opens", opening
    assert [step["Title"] for step in opening["Steps"] if "check" in step["Title"]] == [
        "partition 1: check ext4", "partition 2: check ext2"
    ]  # fmt: skip


def test_what_cannot_be_proven_and_who_may_ask(proofs: Proofs) -> None:
    system = proofs.system
    disk_id = system.create_disk()
    system.attach(disk_id)
    system.write(disk_id, 0, b"no file system")
    snapshot = system.take(disk_id)
    system.own(
        "SetQuiesceProfile", ResourceId=disk_id, Mode="prefer", ProveEveryH=24,
        Steps=[{"Kind": "mariadb", "OptionFile": "/nowhere"}],
    )  # fmt: skip
    opening = proofs.prove(snapshot)
    assert opening["Finding"] == "not proven"
    assert [step["Title"] for step in opening["Steps"]] == ["disk: look", "content", "MariaDB"]
    assert system.record(proofs.system.take(disk_id))["Opening"] is None
    with pytest.raises(TencentCloudSDKException) as unknown:
        system.own("ProveSnapshot", SnapshotId="snap-00000000")
    assert unknown.value.get_code() == "InvalidSnapshotId.NotFound"
    key = system.own("CreateAccount", AccountName="reader")
    ours = dict(system.environment)
    system.environment |= {"TENCENTCLOUD_SECRET_ID": key["SecretId"], "TENCENTCLOUD_SECRET_KEY": key["SecretKey"]}
    try:
        with pytest.raises(TencentCloudSDKException) as refused:
            system.own("ProveSnapshot", SnapshotId=snapshot)
    finally:
        system.environment.clear()
        system.environment.update(ours)
    assert refused.value.get_code() == "UnauthorizedOperation"


def test_proofs_are_off_unless_the_configuration_allows_them(tmp_path: Path) -> None:
    with installation(tmp_path / "data") as system:
        disk_id = system.create_disk()
        system.attach(disk_id)
        snapshot = system.take(disk_id)
        with pytest.raises(TencentCloudSDKException, match=r"Proofs are off.*prove = true") as refused:
            system.own("ProveSnapshot", SnapshotId=snapshot)
        assert refused.value.get_code() == "UnsupportedOperation"
        kinds = [row["Kind"] for row in system.own("DescribeOperations")["OperationSet"]]
        assert "prove" not in kinds


def test_a_deleted_snapshot_takes_its_proof_along(proofs: Proofs) -> None:
    system = proofs.system
    snapshot = system.take(proofs.disk_id)
    proofs.begin(snapshot)
    # It is read until the proof has ended, and goes then.
    system.call("DeleteSnapshots", SnapshotIds=[snapshot])
    began = time.monotonic()
    system.wait_idle()
    assert time.monotonic() - began < SECONDS
    assert system.snapshot(snapshot) is None
    assert proofs.left() == []
