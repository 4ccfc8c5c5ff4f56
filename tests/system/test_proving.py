"""Proofs on a real installation: a throw-away clone and machine, gone whatever is killed; the source untouched."""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tencentcloud.common.exception.tencent_cloud_sdk_exception import TencentCloudSDKException

from drystone.prove.machine import users
from tests.prove.machines import IMAGES
from tests.system.harness import SECONDS, Installation, installation
from tests.system.test_host_device import mounted

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="block devices need root")
SETTINGS = f'prove_kvm = false\nprove_images = "{IMAGES}"\nprove_memory_mib = 512\n'
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
        """Everything that a clone and its machine consist of, as it is there."""
        layout = self.system.layout
        found = [str(path) for path in (*layout.run.glob("proof-*"), *layout.scratch.glob("proof-*"))]
        return found + self.processes()

    def processes(self) -> list[str]:
        """The machine and the clone's storage daemon."""
        found = []
        for entry in Path("/proc").glob("[0-9]*/cmdline"):
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                line = entry.read_bytes()
                machine = b"drystone.seconds" in line and self._is_of_server(entry.parent)
                if machine or f"{self.system.layout.run}/proof-".encode() in line:
                    found.append(entry.parent.name)
        return found

    def _is_of_server(self, process: Path) -> bool:
        server = self.system.process
        user = int((process / "status").read_text().partition("Uid:")[2].split()[0])
        return server is not None and user in users(server.pid, 16)

    def machine(self) -> list[int]:
        return [
            int(pid) for pid in self.processes() if b"drystone.seconds" in Path(f"/proc/{pid}/cmdline").read_bytes()
        ]

    def daemon(self) -> list[int]:
        return [int(pid) for pid in self.processes() if int(pid) not in self.machine()]


@pytest.fixture(scope="module")
def proofs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proofs]:
    base = Path(tmp_path_factory.mktemp("drystone"))
    with installation(base / "data", SETTINGS) as system:
        yield Proofs(system, base)


def test_a_good_snapshot_opens(proofs: Proofs) -> None:
    system = proofs.system
    good = system.take(proofs.disk_id)
    before = system.content(good, 1 << 20)
    listed = system.call("DescribeDisks").TotalCount
    opening = proofs.prove(good)
    assert (opening["Finding"], opening["Reason"]) == ("opens", ""), opening
    assert [step["Title"] for step in opening["Steps"]] == [
        "partitions", "disk: look", "disk: replay the journal of ext4", "disk: check ext4", "disk: mount"
    ]  # fmt: skip
    assert system.call("DescribeDisks").TotalCount == listed
    assert system.content(good, 1 << 20) == before


@pytest.mark.long
def test_a_snapshot_with_overwritten_metadata_is_damaged(proofs: Proofs) -> None:
    system = proofs.system
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
    system.call("DeleteSnapshots", SnapshotIds=[bad])


def test_the_server_is_killed_in_the_middle_of_a_proof(proofs: Proofs) -> None:
    """S90: the machine dies with it; what is left of the clone goes, and the proof is made anew."""
    system = proofs.system
    snapshot = system.take(proofs.disk_id)
    operation = proofs.begin(snapshot)
    system.wait(lambda: proofs.machine() != [], "the machine")
    (machine,) = proofs.machine()
    system.kill()
    system.wait(lambda: not _runs(machine), "the machine's end")
    system.start()
    assert proofs.wait(snapshot)["Finding"] == "opens"
    (row,) = system.own("DescribeOperations", OperationIds=[operation])["OperationSet"]
    assert row["State"] == "DONE"
    assert row["Result"]["finding"] == "opens"


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


@pytest.mark.parametrize("victim", ["machine", "daemon"])
def test_the_machine_or_the_clone_dies(proofs: Proofs, victim: str) -> None:
    """Nothing is proven by that, and nothing is left (S91)."""
    system = proofs.system
    snapshot = system.take(proofs.disk_id)
    proofs.begin(snapshot)
    system.wait(lambda: proofs.machine() != [], "the machine")
    (pid,) = proofs.machine() if victim == "machine" else proofs.daemon()
    os.kill(pid, signal.SIGKILL)
    opening = proofs.wait(snapshot)
    assert opening["Finding"] == "not proven"
    assert opening["Reason"].startswith("machine:" if victim == "machine" else "clone: its storage daemon died"), (
        opening
    )


@pytest.mark.long
def test_stopping_the_host_takes_away_what_a_killed_server_left(proofs: Proofs) -> None:
    system = proofs.system
    snapshot = system.take(proofs.disk_id)
    proofs.begin(snapshot)
    system.wait(lambda: proofs.daemon() != [], "the clone")
    system.kill()
    system.host_stop()
    assert proofs.left() == []
    system.start()
    assert proofs.wait(snapshot)["Finding"] == "opens"


@pytest.mark.long
def test_what_cannot_be_proven(proofs: Proofs) -> None:
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
    assert [step["Title"] for step in opening["Steps"]] == ["partitions", "disk: look", "content", "MariaDB"]
    assert system.record(proofs.system.take(disk_id))["Opening"] is None


def test_who_may_ask(proofs: Proofs) -> None:
    system = proofs.system
    snapshot = system.take(proofs.disk_id)
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


def test_proofs_can_be_switched_off(tmp_path: Path) -> None:
    with installation(tmp_path / "data", "prove = false\n") as system:
        disk_id = system.create_disk()
        system.attach(disk_id)
        snapshot = system.take(disk_id)
        with pytest.raises(TencentCloudSDKException, match="switched off by `prove = false`") as refused:
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
    system.wait(lambda: proofs.machine() != [], "the machine")
    os.kill(proofs.machine()[0], signal.SIGKILL)
    began = time.monotonic()
    system.wait_idle()
    assert time.monotonic() - began < SECONDS
    assert system.snapshot(snapshot) is None
    assert proofs.left() == []
