"""The official SDK and command line against the application on a loopback port."""

import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec
import pytest
import uvicorn
from prometheus_client import CollectorRegistry
from tencentcloud.cbs.v20170312 import models
from tencentcloud.cbs.v20170312.cbs_client import CbsClient
from tencentcloud.common.common_client import CommonClient
from tencentcloud.common.credential import Credential
from tencentcloud.common.exception.tencent_cloud_sdk_exception import TencentCloudSDKException
from tencentcloud.common.profile.client_profile import ClientProfile
from tencentcloud.common.profile.http_profile import HttpProfile

from drystone.api.app import build_application
from drystone.api.refusals import WireError
from drystone.api.server import server_config
from drystone.api.settings import ApiSettings
from tests.api.fakes import DISK, ZONE, FakeUseCases
from tests.api.signing import REGION, SECRET_ID, SECRET_KEY

TCCLI = Path(sys.executable).parent / "tccli"


@dataclass
class Running:
    """A served application."""

    port: int
    fake: FakeUseCases

    def profile(self, *, sign_method: str = "TC3-HMAC-SHA256", method: str = "POST", scheme: str = "") -> ClientProfile:
        http = HttpProfile(protocol="http", endpoint=f"{scheme}127.0.0.1:{self.port}", reqMethod=method, reqTimeout=10)
        return ClientProfile(signMethod=sign_method, httpProfile=http, language="en-US")

    def client(self, **options: Any) -> Any:
        secret_key = options.pop("secret_key", SECRET_KEY)
        return CbsClient(Credential(SECRET_ID, secret_key), REGION, self.profile(**options))


@pytest.fixture(scope="module")
def served() -> Iterator[Running]:
    fake = FakeUseCases()
    counter = iter(range(1, 1_000_000))
    application = build_application(
        fake.typed,
        settings=ApiSettings(region=REGION, rate_limits=False),
        clock=time.time,
        steady=time.time,
        monotonic=time.monotonic,
        request_id=lambda: f"00000000-0000-4000-a000-{next(counter):012x}",
        registry=CollectorRegistry(),
    )
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = uvicorn.Server(server_config(application, host="127.0.0.1", port=0))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            yield Running(listener.getsockname()[1], fake)
        finally:
            server.should_exit = True
            thread.join(timeout=20)
            assert not thread.is_alive()


@pytest.fixture
def running(served: Running) -> Running:
    served.fake.calls.seen.clear()
    served.fake.calls.failure = None
    return served


def filled(kind: Any, **fields: object) -> Any:
    request = kind()
    request.from_json_string(json.dumps(fields))
    return request


@pytest.mark.parametrize("sign_method", ["TC3-HMAC-SHA256", "HmacSHA1", "HmacSHA256"])
@pytest.mark.parametrize("method", ["POST", "GET"])
@pytest.mark.parametrize("scheme", ["", "http://"])
def test_the_sdk_in_every_mode(running: Running, sign_method: str, method: str, scheme: str) -> None:
    client = running.client(sign_method=sign_method, method=method, scheme=scheme)
    filters = [{"Name": "disk-name", "Values": ["中 文", "a&b"]}]
    response = client.DescribeDisks(
        filled(models.DescribeDisksRequest, Filters=filters, Limit=5, ReturnBindAutoSnapshotPolicy=True)
    )
    assert response.TotalCount == 1
    disk = response.DiskSet[0]
    assert (disk.DiskId, disk.DiskName, disk.Placement.Zone, disk.Tags[0].Key) == (
        DISK.id, DISK.name, ZONE, "team",
    )  # fmt: skip
    (query,) = running.fake.calls.seen[0][1]
    assert query.filters == (("disk-name", ("中 文", "a&b")),)
    assert query.limit == 5
    assert query.with_policies


def test_the_sdk_sees_refusals(running: Running) -> None:
    running.fake.calls.failure = WireError("InvalidDisk.Busy", "The disk disk-00000001 is busy.")
    with pytest.raises(TencentCloudSDKException) as refused:
        running.client().TerminateDisks(filled(models.TerminateDisksRequest, DiskIds=["disk-00000001"]))
    assert refused.value.code == "InvalidDisk.Busy"
    assert refused.value.message.endswith(f"({refused.value.requestId[-12:]})")
    with pytest.raises(TencentCloudSDKException) as refused:
        running.client(secret_key="wrong").DescribeDisks(filled(models.DescribeDisksRequest))
    assert refused.value.code == "AuthFailure.SignatureFailure"
    with pytest.raises(TencentCloudSDKException) as refused:
        running.client().TerminateRemoteDisks(filled(models.TerminateRemoteDisksRequest, RemoteDiskIds=["x"]))
    assert refused.value.code == "UnsupportedOperation"


def test_the_sdk_sees_that_a_body_is_too_large(running: Running) -> None:
    """The whole body is sent before the answer is read, so the answer must not cut the connection."""
    with pytest.raises(TencentCloudSDKException) as refused:
        running.client().DescribeDisks(filled(models.DescribeDisksRequest, DiskIds=["x" * 11_000_000]))
    assert refused.value.code == "RequestSizeLimitExceeded"
    with pytest.raises(TencentCloudSDKException) as refused:
        running.client().DescribeDisks(filled(models.DescribeDisksRequest, DiskIds=["x" * 9_000_000]))
    assert refused.value.code == "InvalidParameterValue"


def test_the_sdk_warns_of_the_deprecated_action(running: Running) -> None:
    with pytest.warns(DeprecationWarning, match="DescribeSnapshotOverview"):
        answer = running.client().call("GetSnapOverview", {})
    assert b"92.45" in answer if isinstance(answer, bytes) else "92.45" in answer


def test_the_sdk_and_the_second_service(running: Running) -> None:
    client = CommonClient("drystone", "2026-11-01", Credential(SECRET_ID, SECRET_KEY), REGION, running.profile())
    assert client.call_json("DescribeHost", {})["Response"]["QemuVersion"] == "10.0.2"
    made = client.call_json("CreateInstance", {"Kind": "NBD"})["Response"]
    assert made["InstanceId"] == "ins-00000001"
    with pytest.raises(TencentCloudSDKException) as refused:
        client.call_json("CreateInstance", {})
    assert refused.value.code == "MissingParameter"


def test_create_disks_with_every_parameter(running: Running) -> None:
    response = running.client().CreateDisks(
        filled(
            models.CreateDisksRequest,
            Placement={"Zone": ZONE},
            DiskChargeType="PREPAID",
            DiskType="CLOUD_SSD",
            DiskSize=20,
            DiskName="名字",
            Tags=[{"Key": "k", "Value": "v"}],
            DiskChargePrepaid={"Period": 1},
            ClientToken="cluster/pvc",
        )
    )
    assert response.DiskIdSet == ["disk-00000001", "disk-00000002"]
    (new,) = running.fake.calls.seen[0][1]
    assert (new.name, new.tags, new.prepaid_period, new.client_token) == ("名字", (("k", "v"),), 1, "cluster/pvc")


def tccli(running: Running, home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    common = ("--endpoint", f"http://127.0.0.1:{running.port}", "--region", REGION)
    keys = ("--secretId", SECRET_ID, "--secretKey", SECRET_KEY)
    return subprocess.run(
        [str(TCCLI), "cbs", *arguments, *common, *keys],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={"HOME": str(home), "PATH": "/usr/bin:/bin", "LANG": "C.UTF-8"},
    )


def test_tccli_describes(running: Running, tmp_path: Path) -> None:
    done = tccli(running, tmp_path, "DescribeDisks", "--DiskIds", '["disk-00000001"]', "--Limit", "3")
    assert done.returncode == 0, done.stdout + done.stderr
    answer = json.loads(done.stdout)
    assert answer["DiskSet"][0]["DiskId"] == "disk-00000001"
    (query,) = running.fake.calls.seen[0][1]
    assert (query.disk_ids, query.limit) == (("disk-00000001",), 3)


def test_tccli_makes_a_snapshot(running: Running, tmp_path: Path) -> None:
    done = tccli(running, tmp_path, "CreateSnapshot", "--DiskId", "disk-00000001", "--SnapshotName", "first")
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(done.stdout)["SnapshotId"] == "snap-00000001"


def test_tccli_sees_refusals(running: Running, tmp_path: Path) -> None:
    running.fake.calls.failure = WireError("InvalidDiskId.NotFound", "The disk `disk-x` does not exist.")
    done = tccli(running, tmp_path, "TerminateDisks", "--DiskIds", '["disk-x"]')
    assert done.returncode != 0
    assert "InvalidDiskId.NotFound" in done.stdout + done.stderr


def raw(running: Running, request: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", running.port), timeout=10) as connection:
        connection.sendall(request)
        connection.shutdown(socket.SHUT_WR)
        answer = b""
        while piece := connection.recv(65536):
            answer += piece
        return answer


@pytest.mark.parametrize(
    ("request_bytes", "code"),
    [
        (
            b"POST / HTTP/1.1\r\nHost: http://127.0.0.1:1\r\nContent-Length: 2\r\n\r\n{}",
            "AuthFailure.InvalidAuthorization",
        ),
        (b"DELETE / HTTP/1.1\r\nHost: a\r\n\r\n", "UnsupportedProtocol"),
        (b"GET /?Action=%ff&Signature=1 HTTP/1.1\r\nHost: a\r\n\r\n", "InvalidParameter"),
        (b"POST / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", "InvalidRequest"),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999\r\n\r\n", "RequestSizeLimitExceeded"),
    ],
)
def test_raw_requests(running: Running, request_bytes: bytes, code: str) -> None:
    answer = raw(running, request_bytes)
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 ")
    assert b"\r\ncontent-type: application/json\r\n" in head + b"\r\n"
    assert msgspec.json.decode(body)["Response"]["Error"]["Code"] == code


def test_an_old_clock_is_told(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    from tencentcloud.common import abstract_client

    class Late:
        def __init__(self, now: Callable[[], float]) -> None:
            self._now = now

        def time(self) -> float:
            return self._now() - 600

    monkeypatch.setattr(abstract_client, "time", Late(time.time))
    with pytest.raises(TencentCloudSDKException) as refused:
        running.client().DescribeDisks(filled(models.DescribeDisksRequest))
    assert refused.value.code == "AuthFailure.SignatureExpire"


def test_identity_never_shows_its_secret(running: Running) -> None:
    identity = running.fake.authenticate.keys[SECRET_ID]
    assert SECRET_KEY not in repr(replace(identity))
