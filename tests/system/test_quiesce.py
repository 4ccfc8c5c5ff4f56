"""Profiles on a real installation: a real file system on a block device of this host, frozen around the instant."""

import os
import stat
import struct
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tencentcloud.common.exception.tencent_cloud_sdk_exception import TencentCloudSDKException

from tests.system.harness import SECONDS, Installation, installation
from tests.system.test_host_device import mounted

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="freezing a file system needs root")
NEEDS_RECOVERY = 0x4
"""Of ext4's incompatible features: set while it is mounted and not frozen. Source: linux/fs/ext4/ext4.h."""


class Machine:
    """An installation, a disk of its host with ext4 on it, mounted; and programs that can be held."""

    def __init__(self, system: Installation, disk_id: str, where: Path, scratch: Path) -> None:
        self.system = system
        self.disk_id = disk_id
        self.where = where
        self.scratch = scratch

    def program(self, name: str, text: str) -> str:
        path = self.scratch / name
        path.write_text(f"#!/bin/sh\ncd {self.scratch}\n{text}\n")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
        return str(path)

    def hold(self, text: str = "touch frozen", **fields: Any) -> dict[str, Any]:
        """A command step."""
        freeze, thaw = self.program("hold", text), self.program("release", "rm -f frozen; touch released")
        return {"Kind": "command", "Freeze": [freeze], "Thaw": [thaw], "SecondsMax": 30, **fields}

    def files(self, mount: str = "") -> dict[str, Any]:
        """A file system step."""
        return {"Kind": "filesystem", "Mount": mount or str(self.where), "SecondsMax": 30}

    def profile(self, *steps: dict[str, Any], mode: str = "require", seconds: float = 60) -> None:
        self.system.own(
            "SetQuiesceProfile", ResourceId=self.disk_id, Mode=mode, FreezeSecondsMax=seconds, Steps=list(steps)
        )

    def take(self) -> dict[str, Any]:
        """Take a snapshot; return its record."""
        return self.system.record(self.system.take(self.disk_id))

    def recovers(self, snapshot_id: str) -> bool:
        """Tell whether the file system in a snapshot has to replay its journal."""
        block = self.system.stored(snapshot_id).read(1024, 1024)
        assert block[0x38:0x3A] == b"\x53\xef"
        return bool(struct.unpack_from("<I", block, 0x60)[0] & NEEDS_RECOVERY)

    def writable(self) -> bool:
        """Tell whether the file system takes a write soon, and no program is held."""
        done = threading.Event()

        def write() -> None:
            (self.where / "probe").write_text("x")
            done.set()

        threading.Thread(target=write, daemon=True).start()
        return done.wait(SECONDS) and not (self.scratch / "frozen").exists()


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    base = Path(tmp_path_factory.mktemp("drystone"))
    with installation(base / "data") as system:
        disk_id = system.create_disk()
        system.attach(disk_id, system.host_instance)
        device = str(system.detail(disk_id)["Device"])
        options = "nodiscard,lazy_itable_init=1,lazy_journal_init=1"
        subprocess.run(["mkfs.ext4", "-q", "-E", options, device], check=True, capture_output=True)
        scratch = base / "programs"
        scratch.mkdir()
        with mounted(device, base / "mount") as where:
            yield Machine(system, disk_id, where, scratch)


def test_without_a_profile_it_is_called_a_crash(machine: Machine) -> None:
    (machine.where / "a").write_text("not flushed")
    record = machine.take()
    assert (record["Consistency"], record["QuiesceMs"]) == ("crash", None)
    assert record["Transcript"] == ["no profile: nothing was held"]
    assert machine.recovers(record["SnapshotId"])


def test_held_and_let_go(machine: Machine) -> None:
    machine.profile(machine.hold("touch frozen; echo at 7"), machine.files())
    (machine.where / "b").write_text("not flushed by its writer")
    record = machine.take()
    assert record["Consistency"] == "application"
    said = record["Transcript"]
    titles = [line.partition(" ok")[0] for line in said]
    program, files = f"command {machine.scratch}/hold", f"filesystem {machine.where}"
    assert titles[:4] == [f"freeze {program}", f"freeze {files}", f"thaw {files}", f"thaw {program}"]
    assert said[0].endswith(": at 7")
    assert said[-1].startswith("held for ")
    assert record["QuiesceMs"] > record["FreezeMs"] > 0
    assert machine.writable()
    assert (machine.scratch / "released").exists()
    # It was frozen at the instant: its journal is empty, its superblock says so.
    assert not machine.recovers(record["SnapshotId"])
    (profile,) = machine.system.own("DescribeQuiesceProfiles")["QuiesceProfileSet"]
    assert (profile["ResourceId"], profile["Mode"], len(profile["Steps"])) == (machine.disk_id, "require", 2)


def test_a_group_is_held_too(machine: Machine) -> None:
    machine.profile(machine.files())
    system = machine.system
    group = system.call("CreateSnapshotGroup", DiskIds=[machine.disk_id]).SnapshotGroupId
    (member,) = system.own("DescribeSnapshotGroupRecords", SnapshotGroupIds=[group])["SnapshotGroupRecordSet"][0][
        "MemberSet"
    ]
    system.wait_normal(member["SnapshotId"])
    assert system.record(member["SnapshotId"])["Consistency"] == "filesystem"
    assert not machine.recovers(member["SnapshotId"])
    assert machine.writable()


def test_other_file_systems_are_never_frozen(machine: Machine) -> None:
    system = machine.system
    count = system.call("DescribeSnapshots").TotalCount
    for mount in ("/", str(system.data), "/proc", str(machine.scratch / "nothing")):
        machine.profile(machine.hold(), machine.files(mount))
        with pytest.raises(TencentCloudSDKException) as refused:
            system.call("CreateSnapshot", DiskId=machine.disk_id)
        assert refused.value.get_code() == "InternalError.ResourceOpFailed"
        assert mount in str(refused.value.get_message())
        assert machine.writable()
    assert system.call("DescribeSnapshots").TotalCount == count
    machine.profile(machine.hold(), machine.files("/"), mode="prefer")
    record = machine.take()
    assert (record["Consistency"], record["ConsistencyAsked"]) == ("crash", "application")
    assert ("consistency_reduced", machine.disk_id) in system.events()
    assert any("root file system" in line for line in record["Transcript"])


@pytest.mark.clock
def test_a_step_that_fails_or_hangs(machine: Machine) -> None:
    system = machine.system
    machine.profile(machine.hold("touch frozen; sleep 1000", SecondsMax=1), machine.files())
    assert system.code("CreateSnapshot", DiskId=machine.disk_id) == "InternalError.ResourceOpFailed"
    assert machine.writable()
    machine.profile(machine.hold("exit 1"), machine.files(), mode="prefer")
    record = machine.take()
    assert record["Consistency"] == "filesystem"
    assert not machine.recovers(record["SnapshotId"])
    # The time of all together is up while a step hangs.
    machine.profile(machine.files(), seconds=1)
    machine.profile(machine.hold("touch frozen; sleep 1000"), machine.files(), seconds=1)
    assert system.code("CreateSnapshot", DiskId=machine.disk_id) == "InternalError.ResourceOpFailed"
    assert machine.writable()


def test_profiles_that_cannot_be_meant_are_refused(machine: Machine) -> None:
    system = machine.system

    def code(resource: str = "", **fields: Any) -> str:
        try:
            system.own("SetQuiesceProfile", **{"ResourceId": resource or machine.disk_id, **fields})
        except TencentCloudSDKException as error:
            return str(error.get_code())
        return "OK"

    files = machine.files()
    assert code(Steps=[]) == "InvalidParameterValue"
    assert code(Steps=[files, machine.hold()]) == "InvalidParameterValue"
    assert code(Steps=[{"Kind": "shell"}]) == "InvalidParameterValue"
    assert code(Steps=[{**files, "Mount": "relative"}]) == "InvalidParameterValue"
    assert code(Steps=[files], Mode="maybe") == "InvalidParameterValue"
    assert code(Steps=[files], FreezeSecondsMax=1000) == "InvalidParameterValue"
    secret = {"Kind": "postgresql", "Connection": "host=/run password=x"}
    assert code(Steps=[secret]) == "InvalidParameterValue"
    assert code("disk-00000000", Steps=[files]) == "InvalidDiskId.NotFound"
    assert code("ins-00000000", Steps=[files]) == "InvalidInstanceId.NotFound"
    key = system.own("CreateAccount", AccountName="user")
    ours = dict(system.environment)
    system.environment |= {"TENCENTCLOUD_SECRET_ID": key["SecretId"], "TENCENTCLOUD_SECRET_KEY": key["SecretKey"]}
    try:
        assert code(Steps=[files]) == "AuthFailure.UnauthorizedOperation"
    finally:
        system.environment.clear()
        system.environment.update(ours)


def test_drystone_is_killed_while_everything_is_frozen(machine: Machine) -> None:
    """The step after the file system's freeze hangs, Drystone is killed: the watchdog thaws, within the limit."""
    system = machine.system
    # A second step on the same file system comes after the first, and fails slowly: the first is frozen meanwhile.
    machine.profile(machine.hold("touch frozen; sleep 20"), machine.files(), seconds=30)
    caller = threading.Thread(target=lambda: system.code("CreateSnapshot", DiskId=machine.disk_id), daemon=True)
    caller.start()
    system.wait((machine.scratch / "frozen").exists, "the freeze")
    system.kill()
    deadline = time.monotonic() + SECONDS
    while (machine.scratch / "frozen").exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert machine.writable()
    system.start()
    system.own("DeleteQuiesceProfile", ResourceId=machine.disk_id)
    assert system.own("DescribeQuiesceProfiles")["TotalCount"] == 0
    assert machine.take()["Consistency"] == "crash"
