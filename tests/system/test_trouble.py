"""What goes wrong: each thing gives one clear error with the right code, and leaves nothing half done."""

import contextlib
import dataclasses
import datetime as dt
import hashlib
import hmac
import json
import os
import re
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tencentcloud.common.exception.tencent_cloud_sdk_exception import TencentCloudSDKException

from drystone.domain.errors import DrystoneError, IntegrityError
from drystone.domain.ids import DiskId
from tests.system.harness import Installation, flip, installation, random_bytes

MIB = 1 << 20
SETTINGS = "snapshots_per_disk = 2\nscratch_bytes_max = 1048576\ndisks_per_instance = 6\n"
BIN = Path(sys.executable).parent
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """An installation with small quotas."""
    with installation(Path(tmp_path_factory.mktemp("small")) / "data", SETTINGS) as made:
        yield made


@pytest.fixture(scope="module")
def disk_id(small: Installation) -> str:
    """A detached disk that stays as it is."""
    return small.create_disk(DiskName="quiet")


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(17)


@contextlib.contextmanager
def unchanged(system: Installation) -> Iterator[None]:
    """What is refused inside leaves disks, snapshots and operations as they were."""

    def state() -> list[str]:
        disks = system.call("DescribeDisks", Limit=100).DiskSet
        snapshots = system.call("DescribeSnapshots", Limit=100).SnapshotSet
        operations = system.own("DescribeOperations", Limit=1)["TotalCount"]
        return [*(one.to_json_string() for one in (*disks, *snapshots)), str(operations)]

    before = state()
    yield
    assert state() == before


@contextlib.contextmanager
def environment(system: Installation, **values: str) -> Iterator[None]:
    """Call with another key, for example."""
    before = system.environment
    system.environment = {**before, **values}
    try:
        yield
    finally:
        system.environment = before


def signed(
    system: Installation, action: str, body: bytes, *, version: str = "2017-03-12", skew_s: float = 0
) -> dict[str, Any]:
    """Send a body, whatever it is, signed with TC3; return the response."""
    at = int(time.time() + skew_s)
    date = dt.datetime.fromtimestamp(at, dt.UTC).strftime("%Y-%m-%d")
    canonical = (
        f"POST\n/\n\ncontent-type:application/json\nhost:{system.endpoint}\n\ncontent-type;host\n"
        f"{hashlib.sha256(body).hexdigest()}"
    )
    scope = f"{date}/cbs/tc3_request"
    text = f"TC3-HMAC-SHA256\n{at}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
    key = b"TC3" + system.environment["TENCENTCLOUD_SECRET_KEY"].encode()
    for part in (date, "cbs", "tc3_request"):
        key = hmac.digest(key, part.encode(), "sha256")
    signature = hmac.digest(key, text.encode(), "sha256").hex()
    credential = f"{system.environment['TENCENTCLOUD_SECRET_ID']}/{scope}"
    headers = {
        "Authorization": f"TC3-HMAC-SHA256 Credential={credential}, SignedHeaders=content-type;host, "
        f"Signature={signature}",
        "Content-Type": "application/json", "X-TC-Action": action, "X-TC-Version": version,
        "X-TC-Timestamp": str(at), "X-TC-Region": system.environment["TENCENTCLOUD_REGION"],
    }  # fmt: skip
    request = urllib.request.Request(f"http://{system.endpoint}/", data=body, headers=headers)
    with urllib.request.urlopen(request, timeout=30) as answer:
        response: dict[str, Any] = json.loads(answer.read())["Response"]
        return response


def code_of(response: Mapping[str, Any]) -> str:
    return str(response["Error"]["Code"]) if "Error" in response else "OK"


# --- the wire ---------------------------------------------------------------------------------------------------------


def test_requests_that_cannot_be_meant(small: Installation, disk_id: str) -> None:
    assert code_of(signed(small, "DescribeDisks", b"{}")) == "OK"
    cases = [
        ("DescribeDisks", b'{"DiskIds": [', "InvalidRequest"),
        ("DescribeDisks", b'{"DiskIds": "' + disk_id.encode() + b'"}', "InvalidParameter"),
        ("DescribeDisks", b'{"Limit": "ten"}', "InvalidParameter"),
        ("DescribeDisks", b'{"Limit": 101}', "InvalidParameterValue"),
        ("DescribeDisks", b'{"Colour": "red"}', "UnknownParameter"),
        ("DescribeDisks", b'{"Filters": [{"Name": "colour", "Values": ["red"]}]}', "InvalidFilter"),
        ("PaintDisks", b"{}", "InvalidAction"),
        ("TerminateDisks", b"{}", "MissingParameter"),
    ]
    with unchanged(small):
        for action, body, code in cases:
            assert code_of(signed(small, action, body)) == code, (action, body)
        assert code_of(signed(small, "DescribeDisks", b"{}", version="2017-01-01")) == "NoSuchVersion"
        assert code_of(signed(small, "DescribeDisks", b"{}", skew_s=-3600)) == "AuthFailure.SignatureExpire"


def test_keys(small: Installation, disk_id: str) -> None:
    secret_id = small.environment["TENCENTCLOUD_SECRET_ID"]
    with environment(small, TENCENTCLOUD_SECRET_KEY="wrong" * 8):
        assert small.code("DescribeDisks") == "AuthFailure.SignatureFailure"
    other = secret_id[:-4] + ("AAAA" if not secret_id.endswith("AAAA") else "BBBB")
    with environment(small, TENCENTCLOUD_SECRET_ID=other):
        assert small.code("DescribeDisks") == "AuthFailure.SecretIdNotFound"
    assert small.code("DescribeDisks", DiskIds=[disk_id]) == "OK"


def test_another_account_sees_and_changes_nothing(small: Installation, disk_id: str) -> None:
    snapshot_id = small.take(disk_id)
    key = small.own("CreateAccount", AccountName="other")
    theirs = {"TENCENTCLOUD_SECRET_ID": key["SecretId"], "TENCENTCLOUD_SECRET_KEY": key["SecretKey"]}
    instance = small.nbd_instance
    with unchanged(small), environment(small, **theirs):
        assert small.call("DescribeDisks").TotalCount == 0
        assert small.disk(disk_id) is None
        assert small.snapshot(snapshot_id) is None
        for action in ("DescribeInstances", "DescribeDiskDetails", "DescribeSnapshotRecords", "DescribeOperations"):
            assert small.own(action)["TotalCount"] == 0, action
        for action, fields, code in (
            ("CreateSnapshot", {"DiskId": disk_id}, "InvalidDiskId.NotFound"),
            ("ResizeDisk", {"DiskId": disk_id, "DiskSize": 20}, "InvalidDiskId.NotFound"),
            ("TerminateDisks", {"DiskIds": [disk_id]}, "InvalidDiskId.NotFound"),
            ("AttachDisks", {"InstanceId": instance, "DiskIds": [disk_id]}, "InvalidInstanceId.NotFound"),
            ("DeleteSnapshots", {"SnapshotIds": [snapshot_id]}, "InvalidSnapshotId.NotFound"),
            ("ApplySnapshot", {"SnapshotId": snapshot_id, "DiskId": disk_id}, "InvalidSnapshotId.NotFound"),
        ):
            assert small.code(action, **fields) == code, action
        with pytest.raises(TencentCloudSDKException, match="UnauthorizedOperation"):
            small.own("CreateAccount", AccountName="third")
    small.call("DeleteSnapshots", SnapshotIds=[snapshot_id])
    small.wait_idle()


def test_tccli(small: Installation, disk_id: str, tmp_path: Path) -> None:
    def tccli(*arguments: str, **keys: str) -> subprocess.CompletedProcess[str]:
        values = {name: small.environment[name] for name in small.environment if name.startswith("TENCENTCLOUD_")}
        return subprocess.run(
            [str(BIN / "tccli"), "cbs", *arguments, "--endpoint", f"http://{small.endpoint}"],
            env={"HOME": str(tmp_path), "PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", **values, **keys},
            capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip

    done = tccli("DescribeDisks", "--DiskIds", json.dumps([disk_id]))
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["DiskSet"][0]["DiskId"] == disk_id
    done = tccli("CreateSnapshot", "--DiskId", "disk-zzzzzzzz")
    assert done.returncode != 0
    assert "InvalidDiskId.NotFound" in done.stdout + done.stderr
    done = tccli("DescribeDisks", TENCENTCLOUD_SECRET_KEY="wrong" * 8)
    assert done.returncode != 0
    assert "AuthFailure.SignatureFailure" in done.stdout + done.stderr


# --- values, states, quotas -------------------------------------------------------------------------------------------


def test_values_and_states(small: Installation, disk_id: str) -> None:
    zone = small.environment["DRYSTONE_ZONE"]
    new = {"Placement": {"Zone": zone}, "DiskChargeType": "POSTPAID_BY_HOUR", "DiskType": "CLOUD_PREMIUM"}
    past = dt.datetime.now(dt.UTC) - dt.timedelta(days=1)
    cases: list[tuple[str, dict[str, Any], str]] = [
        ("CreateDisks", {**new, "DiskSize": 5}, "InvalidParameterValue"),
        ("CreateDisks", {**new}, "MissingParameter"),
        ("CreateDisks", {**new, "DiskSize": 10, "DiskType": "CLOUD_CLAY"}, "InvalidParameterValue"),
        ("CreateDisks", {**new, "DiskSize": 10, "Placement": {"Zone": "ap-moon-1"}}, "InvalidParameterValue"),
        ("CreateDisks", {**new, "DiskSize": 10, "DiskName": "n" * 61}, "InvalidParameterValue"),
        ("CreateDisks", {**new, "DiskSize": 10, "DiskCount": 51}, "InvalidParameterValue.LimitExceeded"),
        ("CreateDisks", {**new, "SnapshotId": "snap-zzzzzzzz"}, "InvalidSnapshotId.NotFound"),
        ("ResizeDisk", {"DiskId": disk_id, "DiskSize": 10}, "InvalidParameterValue"),
        ("ResizeDisk", {"DiskId": disk_id, "DiskSize": 9}, "InvalidParameterValue"),
        ("ResizeDisk", {"DiskId": "disk-zzzzzzzz", "DiskSize": 20}, "InvalidDiskId.NotFound"),
        ("CreateSnapshot", {"DiskId": disk_id, "SnapshotName": "n" * 61}, "InvalidParameterValue"),
        ("CreateSnapshot", {"DiskId": disk_id, "Deadline": past.isoformat()}, "InvalidParameterValue"),
        ("CreateSnapshot", {"DiskId": disk_id, "Deadline": "tomorrow"}, "InvalidParameterValue"),
        ("CreateSnapshot", {"DiskId": "not-an-id"}, "InvalidDiskId.NotFound"),
        ("DeleteSnapshots", {"SnapshotIds": ["snap-zzzzzzzz"]}, "InvalidSnapshotId.NotFound"),
        ("DetachDisks", {"DiskIds": [disk_id]}, "InvalidDisk.NotSupported"),
        ("AttachDisks", {"InstanceId": "ins-zzzzzzzz", "DiskIds": [disk_id]}, "InvalidInstanceId.NotFound"),
        ("TerminateDisks", {"DiskIds": [disk_id, "disk-zzzzzzzz"]}, "InvalidDiskId.NotFound"),
    ]
    with unchanged(small):
        for action, fields, code in cases:
            assert small.code(action, **fields) == code, (action, fields)


def test_an_attached_disk_refuses_what_needs_it_detached(small: Installation) -> None:
    disk = small.create_disk()
    snapshot_id = small.take(disk)
    small.wait_idle()
    small.attach(disk)
    again = {"InstanceId": small.nbd_instance, "DiskIds": [disk]}
    with unchanged(small):
        assert small.code("AttachDisks", **again) == "ResourceUnavailable.Attached"
        assert small.code("TerminateDisks", DiskIds=[disk]) == "UnsupportedOperation"
        assert small.code("InitializeDisks", DiskIds=[disk]) == "InvalidDisk.NotSupported"
        applied = small.code("ApplySnapshot", SnapshotId=snapshot_id, DiskId=disk)
        assert applied == "InvalidDisk.NotSupported"
    small.detach(disk)
    grown = small.create_disk()
    with unchanged(small):
        wrong_disk = small.code("ApplySnapshot", SnapshotId=snapshot_id, DiskId=grown)
        assert wrong_disk == "InvalidParameterValue"
    small.call("ResizeDisk", DiskId=disk, DiskSize=11)
    small.wait_state(disk, "UNATTACHED")
    with unchanged(small):
        wrong_size = small.code("ApplySnapshot", SnapshotId=snapshot_id, DiskId=disk)
        assert wrong_size == "InvalidParameter.DiskSizeNotMatch"
    small.call("TerminateDisks", DiskIds=[disk, grown])


def test_while_a_snapshot_is_made(small: Installation, rng: np.random.Generator) -> None:
    """S2."""
    disk = small.create_disk()
    small.attach(disk)
    data = random_bytes(rng, MIB)
    small.write(disk, 0, data)
    with small.paused_workers():
        snapshot_id = str(small.call("CreateSnapshot", DiskId=disk).SnapshotId)
        with unchanged(small):
            creating = "ResourceUnavailable.SnapshotCreating"
            assert small.snapshot(snapshot_id).SnapshotState == "CREATING"
            assert small.code("CreateSnapshot", DiskId=disk) == creating
            assert small.code("DeleteSnapshots", SnapshotIds=[snapshot_id]) == creating
            assert small.code("ResizeDisk", DiskId=disk, DiskSize=20) == creating
            new = {
                "Placement": {"Zone": small.environment["DRYSTONE_ZONE"]}, "DiskChargeType": "POSTPAID_BY_HOUR",
                "DiskType": "CLOUD_PREMIUM", "SnapshotId": snapshot_id,
            }  # fmt: skip
            assert small.code("CreateDisks", **new) == "ResourceBusy"
        small.detach(disk)
        with unchanged(small):
            assert small.code("TerminateDisks", DiskIds=[disk]) == "ResourceBusy"
            assert small.code("ApplySnapshot", SnapshotId=snapshot_id, DiskId=disk) == creating
    small.wait_normal(snapshot_id)
    assert small.stored(snapshot_id).read(0, MIB) == data
    small.wait_idle()
    small.call("TerminateDisks", DiskIds=[disk])


def test_quotas(small: Installation) -> None:
    disks = [small.create_disk() for _ in range(7)]
    with unchanged(small):
        many = {"InstanceId": small.nbd_instance, "DiskIds": disks}
        assert small.code("AttachDisks", **many) == "LimitExceeded.InstanceAttachedDisk"
    first = small.take(disks[0])
    small.wait_idle()
    small.take(disks[0])
    small.wait_idle()
    with unchanged(small):
        assert small.code("CreateSnapshot", DiskId=disks[0]) == "InsufficientSnapshotQuota"
    small.call("DeleteSnapshots", SnapshotIds=[first])
    small.wait_idle()
    assert small.code("CreateSnapshot", DiskId=disks[0]) == "OK"
    small.wait_idle()
    small.call("TerminateDisks", DiskIds=disks)


def test_deadlines(small: Installation, disk_id: str) -> None:
    ahead = dt.datetime.now(dt.UTC).replace(microsecond=0) + dt.timedelta(days=2)
    snapshot_id = small.take(disk_id, Deadline=ahead.isoformat())
    found = small.snapshot(snapshot_id)
    assert not found.IsPermanent
    assert found.DeadlineTime
    with unchanged(small):
        both = {"SnapshotId": snapshot_id, "IsPermanent": True, "Deadline": ahead.isoformat()}
        assert small.code("ModifySnapshotAttribute", **both) == "InvalidParameterValue"
    small.call("ModifySnapshotAttribute", SnapshotId=snapshot_id, IsPermanent=True)
    assert small.snapshot(snapshot_id).IsPermanent
    small.call("DeleteSnapshots", SnapshotIds=[snapshot_id])
    small.wait_idle()


def test_client_tokens(small: Installation) -> None:
    first = small.create_disk(ClientToken="once", DiskName="token")
    with unchanged(small):
        assert small.create_disk(ClientToken="once", DiskName="token") == first
        with pytest.raises(TencentCloudSDKException, match=r"InvalidParameter\.InvalidClientToken"):
            small.create_disk(ClientToken="once", DiskName="other")
    small.call("TerminateDisks", DiskIds=[first])


def test_pages_and_filters(small: Installation) -> None:
    made = [small.create_disk(DiskName="paged") for _ in range(3)]
    named = [{"Name": "disk-name", "Values": ["paged"]}]
    pages = [small.call("DescribeDisks", Filters=named, Limit=2, Offset=offset) for offset in (0, 2, 4)]
    assert [page.TotalCount for page in pages] == [3, 3, 3]
    assert [len(page.DiskSet) for page in pages] == [2, 1, 0]
    assert sorted(disk.DiskId for page in pages for disk in page.DiskSet) == sorted(made)
    states = [*named, {"Name": "disk-state", "Values": ["ATTACHED"]}]
    assert small.call("DescribeDisks", Filters=states).TotalCount == 0
    assert small.code("DescribeDisks", DiskIds=made, Filters=named) == "InvalidParameterValue"
    small.call("TerminateDisks", DiskIds=made)


# --- scratch, space, damage -------------------------------------------------------------------------------------------


def failure(system: Installation, disk: str, snapshot_id: str) -> str:
    """Wait until a snapshot has failed; return the reason, which disk and operation agree on."""
    system.wait(lambda: system.snapshot(snapshot_id) is None, f"{snapshot_id} failed")
    system.wait_idle()
    operations = system.own("DescribeOperations", Limit=100)["OperationSet"]
    (ended,) = [one for one in operations if one["SnapshotId"] == snapshot_id]
    assert (ended["Kind"], ended["State"]) == ("snapshot", "FAILED")
    assert ended["ErrorMessage"]
    assert ended["ErrorMessage"] in system.disk(disk).ErrorPrompt
    return str(ended["ErrorMessage"])


def test_scratch_used_up_fails_the_snapshot_and_not_the_guest(small: Installation, rng: np.random.Generator) -> None:
    disk = small.create_disk()
    small.attach(disk)
    data = bytearray(random_bytes(rng, 8 * MIB))
    small.write(disk, 0, bytes(data))
    first = small.take(disk)
    before = bytes(data)
    data[:MIB] = random_bytes(rng, MIB)
    small.write(disk, 0, bytes(data[:MIB]))
    scratch = small.layout.scratch_file(DiskId(disk))
    with small.paused_workers():
        snapshot_id = str(small.call("CreateSnapshot", DiskId=disk).SnapshotId)
        assert scratch.exists()
        data[MIB : 8 * MIB] = random_bytes(rng, 7 * MIB)
        small.write(disk, MIB, bytes(data[MIB:]))
        small.wait(lambda: not scratch.exists(), "scratch given up")
        data[:4096] = random_bytes(rng, 4096)
        small.write(disk, 0, bytes(data[:4096]))
    assert "scratch" in failure(small, disk, snapshot_id)
    assert ("snapshot_failed", disk) in small.events()
    assert small.read(disk, 0, 8 * MIB) == data
    second = small.take(disk)
    assert small.record(second)["Tracking"] == "delta"
    assert small.record(second)["ChangedBytes"] == 8 * MIB
    assert small.stored(second).read(0, 8 * MIB) == data
    assert small.stored(first).read(0, 8 * MIB) == before
    assert not small.disk(disk).ErrorPrompt
    assert ("snapshot_failed", disk) not in small.events()
    small.detach(disk)


def test_a_damaged_pack_is_named_and_never_served(small: Installation, rng: np.random.Generator) -> None:
    disk = small.create_disk()
    small.attach(disk)
    data = random_bytes(rng, 2 * MIB)
    small.write(disk, 0, data)
    before = set((small.data / "store").glob("*/packs/**/*"))
    snapshot_id = small.take(disk)
    (pack,) = [path for path in set((small.data / "store").glob("*/packs/**/*")) - before if path.is_file()]
    flip(pack, pack.stat().st_size // 2)
    reader = small.stored(snapshot_id)
    with pytest.raises(IntegrityError, match=pack.name):
        reader.read(0, 2 * MIB)
    restored = small.create_disk(SnapshotId=snapshot_id)
    small.attach(restored)
    wrong = []
    with small.nbd(restored) as client:
        for start in range(0, 2 * MIB, 64 << 10):
            try:
                piece = bytes(client.pread(start, 64 << 10))
            except DrystoneError:
                wrong.append(start)
                break
            assert piece == data[start : start + (64 << 10)], "wrong bytes were served"
    assert wrong, "the damaged frame was served"
    small.wait(lambda: small.disk(restored).ErrorPrompt, "an error prompt")
    assert re.search("hydrate: ", small.disk(restored).ErrorPrompt)
    # The disk itself is whole; and the damage ends nothing else.
    assert small.read(disk, 0, 2 * MIB) == data
    small.detach(restored)
    small.call("TerminateDisks", DiskIds=[restored])
    small.wait_idle()
    flip(pack, pack.stat().st_size // 2)
    assert small.content(snapshot_id, 2 * MIB) == data
    small.detach(disk)


@contextlib.contextmanager
def mounted(where: Path, *command: str) -> Iterator[Path]:
    where.mkdir(parents=True)
    subprocess.run(["mount", *command, str(where)], check=True, capture_output=True)
    try:
        assert where.is_mount()
        yield where
    finally:
        if where.is_mount():
            subprocess.run(["umount", "-l", str(where)], check=True, capture_output=True)


@needs_root
def test_a_full_data_directory_fails_the_snapshot_and_not_the_guest(tmp_path: Path, rng: np.random.Generator) -> None:
    image = tmp_path / "image"
    with image.open("wb") as file:
        file.truncate(512 * MIB)
    subprocess.run(["mkfs.ext4", "-q", "-m0", "-F", str(image)], check=True)
    with mounted(tmp_path / "data", "-o", "loop", str(image)) as data, installation(data) as system:
        check_full(system, data / "filler", rng)


def fill(filler: Path, keep_bytes: int) -> None:
    found = os.statvfs(filler.parent)
    with filler.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, found.f_bavail * found.f_frsize - keep_bytes)


def check_full(system: Installation, filler: Path, rng: np.random.Generator) -> None:
    size = 40 * MIB
    disk = system.create_disk()
    system.attach(disk)
    content = bytearray(random_bytes(rng, size))
    system.write(disk, 0, bytes(content))
    first, before = system.take(disk), bytes(content)
    content[:] = random_bytes(rng, size)
    system.write(disk, 0, bytes(content))
    floor = system.own("DescribeHost")["FloorBytes"]
    fill(filler, floor + 12 * MIB)
    snapshot_id = str(system.call("CreateSnapshot", DiskId=disk).SnapshotId)
    content[: 4 * MIB] = random_bytes(rng, 4 * MIB)
    system.write(disk, 0, bytes(content[: 4 * MIB]))
    assert re.search("belong to the disks|free space", failure(system, disk, snapshot_id))
    assert system.read(disk, 0, size) == content
    filler.unlink()
    fill(filler, floor - MIB)
    with unchanged(system):
        assert system.code("CreateSnapshot", DiskId=disk) == "ResourceInsufficient"
    content[-MIB:] = random_bytes(rng, MIB)
    system.write(disk, size - MIB, bytes(content[-MIB:]))
    filler.unlink()
    second = system.take(disk)
    assert system.stored(second).read(0, size) == content
    assert system.stored(first).read(0, size) == before
    assert system.record(second)["Tracking"] == "delta"
    assert not list((system.data / "scratch").iterdir())


# --- starting ---------------------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True, slots=True)
class Ended:
    code: int
    error: str


def serve(data: Path, port: int = 0, **variables: str) -> Ended:
    """Start a server that must refuse to."""
    done = subprocess.run(
        [sys.executable, "-m", "drystone", "serve", "--data", str(data), "--port", str(port)],
        env={**os.environ, **variables}, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1, done.stderr
    return Ended(done.returncode, done.stderr)


def test_one_server_for_a_directory_and_a_port(small: Installation, tmp_path: Path) -> None:
    assert small.process is not None
    second = serve(small.data)
    assert second.code == 1
    assert f"is served already (pid {small.process.pid})" in second.error
    port = int(small.endpoint.rpartition(":")[2])
    taken = serve(tmp_path / "other", port)
    assert taken.code == 1
    assert f"cannot listen on 127.0.0.1:{port}" in taken.error
    assert small.code("DescribeDisks") == "OK"


def test_directories_that_cannot_be_used(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("precious")
    refused = serve(file)
    assert refused.code == 1
    assert f"{file} cannot be used" in refused.error or str(file) in refused.error
    assert file.read_text() == "precious"
    wrong = tmp_path / "wrong"
    wrong.mkdir()
    (wrong / "drystone.toml").write_text("workers = 0\n")
    refused = serve(wrong)
    assert refused.code == 1
    assert "workers" in refused.error
    assert [path.name for path in wrong.iterdir()] == ["drystone.toml"]


@needs_root
def test_a_read_only_directory(tmp_path: Path) -> None:
    with mounted(tmp_path / "data", "-t", "tmpfs", "-o", "ro", "none") as data:
        refused = serve(data)
    assert refused.code == 1
    assert "cannot be used: Read-only file system" in refused.error


def test_qemu_missing_or_too_old(tmp_path: Path) -> None:
    missing = serve(tmp_path / "data", PATH=str(tmp_path))
    assert missing.code == 1
    assert "qemu-storage-daemon or qemu-img is not installed" in missing.error
    old = tmp_path / "qemu-storage-daemon"
    old.write_text("#!/bin/sh\necho 'qemu-storage-daemon version 7.2.22 (Debian 1:7.2+dfsg-7+deb12u18)'\n")
    old.chmod(0o755)
    refused = serve(tmp_path / "data", PATH=f"{tmp_path}:{os.environ['PATH']}")
    assert refused.code == 1
    assert "QEMU 10.0 or newer is needed" in refused.error
    assert "7.2" in refused.error
    assert not (tmp_path / "data" / "catalog.db").exists()
