"""The console of a real server: over HTTP, with the official client beside it."""

import http.client
import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from drystone.client_settings import parse_credentials
from tests.system.harness import Installation, installation


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    with installation(Path(tmp_path_factory.mktemp("console")), "rescan_after_s = 86400\n") as made:
        yield made


class Page:
    """A browser's requests to a real server."""

    def __init__(self, system: Installation) -> None:
        self.system = system
        self.cookie = ""
        self.csrf = ""

    def send(self, method: str, path: str, body: object = None) -> tuple[int, Mapping[str, str], Any]:
        connection = http.client.HTTPConnection(self.system.endpoint, timeout=60)
        headers = {"Cookie": self.cookie, "X-Csrf-Token": self.csrf, "Accept": "text/html"}
        if method == "POST":
            headers |= {"Content-Type": "application/json", "Origin": f"http://{self.system.endpoint}"}
        connection.request(method, path, None if body is None else json.dumps(body), headers)
        answer = connection.getresponse()
        raw = answer.read()
        connection.close()
        told = json.loads(raw) if answer.headers["Content-Type"] == "application/json" else raw
        return answer.status, dict(answer.headers), told

    def log_in(self, account: str, password: str) -> int:
        status, headers, told = self.send("POST", "/console/api/login", {"Account": account, "Password": password})
        if status == 200:
            self.cookie, self.csrf = headers["set-cookie"].partition(";")[0], told["CsrfToken"]
        return status

    def confirm(self, password: str) -> int:
        return self.send("POST", "/console/api/confirm", {"Password": password})[0]

    def call(self, service: str, action: str, **parameters: object) -> dict[str, Any]:
        status, _, told = self.send("POST", f"/console/api/call/{service}/{action}", parameters)
        assert status == 200, told
        response: dict[str, Any] = told["Response"]
        return response

    def code(self, service: str, action: str, **parameters: object) -> str:
        return str(self.call(service, action, **parameters).get("Error", {"Code": "OK"})["Code"])


@pytest.fixture(scope="module")
def admin(system: Installation) -> Page:
    page = Page(system)
    assert page.log_in("admin", system.environment["DRYSTONE_CONSOLE_PASSWORD"]) == 200
    return page


def test_what_the_first_start_leaves(system: Installation) -> None:
    path = system.data / "credentials.env"
    assert path.stat().st_mode & 0o777 == 0o600
    assert system.environment["DRYSTONE_CONSOLE_ACCOUNT"] == "admin"
    password = system.environment["DRYSTONE_CONSOLE_PASSWORD"]
    # Not to a log; only a terminal is shown it.
    assert password not in (system.data / "server.log").read_text()
    assert password not in str(
        (system.data / "catalog.db").read_bytes() + (system.data / "catalog.db-wal").read_bytes()
    )
    page = Page(system)
    status, headers, _ = page.send("GET", "/")
    assert (status, headers["location"]) == (302, "/console/")
    assert page.send("GET", "/console/")[0] in {200, 503}


def test_disks_and_snapshots_through_a_session(system: Installation, admin: Page) -> None:
    zone = {"Zone": system.environment["DRYSTONE_ZONE"]}
    made = admin.call(
        "cbs", "CreateDisks", DiskType="CLOUD_PREMIUM", DiskChargeType="POSTPAID_BY_HOUR", DiskSize=10, Placement=zone
    )
    disk = made["DiskIdSet"][0]
    system.wait_state(disk, "UNATTACHED")
    system.attach(disk)
    system.write(disk, 0, b"1" * (1 << 20))
    first = admin.call("cbs", "CreateSnapshot", DiskId=disk, SnapshotName="first")["SnapshotId"]
    system.wait_normal(first)
    system.write(disk, 5 << 30, b"2" * 8192)
    second = system.take(disk)
    system.wait_idle()

    glance = admin.call("drystone", "DescribeOverview")
    assert (glance["Disks"], glance["DisksAttached"], glance["DisksBytes"]) == (1, 1, 10 << 30)
    assert (glance["SnapshotsCount"], glance["LogicalBytes"], glance["ChangedBytes"]) == (2, 20 << 30, (1 << 20) + 8192)
    assert glance["SavedByIncrementsBytes"] == (20 << 30) - (1 << 20) - 8192
    assert glance["StoreBytesFree"] > 0
    assert {one["Kind"] for one in glance["RecentOperations"]} >= {"snapshot", "attach", "create_disk"}
    assert admin.call("drystone", "DescribeEvents")["EventSet"] == []
    points = admin.call("drystone", "DescribeHistory", Hours=1)["Points"]
    assert points[-1]["LogicalBytes"] == 20 << 30

    difference = admin.call("drystone", "DescribeSnapshotDifference", From=first, To=second)
    assert (difference["SizeBytes"], difference["ChangedBytes"]) == (10 << 30, 8192)
    bucket = (5 << 30) // difference["BucketBytes"]
    assert [number for number, size in enumerate(difference["Buckets"]) if size] == [bucket]
    assert len(difference["Buckets"]) == 1024
    holds = admin.call("drystone", "DescribeSnapshotDifference", To=second)
    assert (holds["ChangedBytes"], sum(holds["Buckets"])) == ((1 << 20) + 8192, (1 << 20) + 8192)
    quotas = admin.call("drystone", "DescribeQuotas")
    assert (quotas["SnapshotsMax"], quotas["SnapshotsCount"], quotas["SnapshotsPerDiskMax"]) == (128, 2, 64)

    # Another account sees none of it, and cannot tell it from what is not there.
    key = system.own("CreateAccount", AccountName="other")
    assert admin.code("drystone", "SetAccountPassword", AccountName="other") == "AuthFailure.PasswordRequired"
    assert admin.confirm("wrong") == 400
    assert admin.confirm(system.environment["DRYSTONE_CONSOLE_PASSWORD"]) == 200
    made_password = admin.call("drystone", "SetAccountPassword", AccountName="other")["Password"]
    other = Page(system)
    assert other.log_in("other", made_password) == 200
    assert other.call("cbs", "DescribeDisks", DiskIds=[disk])["TotalCount"] == 0
    assert other.code("cbs", "CreateSnapshot", DiskId=disk) == other.code(
        "cbs", "CreateSnapshot", DiskId="disk-00000000"
    )
    for snapshot in (first, "snap-00000000"):
        assert other.code("drystone", "DescribeSnapshotDifference", To=snapshot) == "InvalidSnapshotId.NotFound"
        assert other.code("cbs", "DeleteSnapshots", SnapshotIds=[snapshot]) == "InvalidSnapshotId.NotFound"
    assert other.call("drystone", "DescribeOverview")["StoreBytesFree"] is None
    assert other.code("drystone", "DescribeHost") == "UnauthorizedOperation"
    assert other.code("drystone", "SetAccountPassword", AccountName="admin") == "UnauthorizedOperation"
    assert other.code("drystone", "DeleteKey", SecretId=system.environment["TENCENTCLOUD_SECRET_ID"], Force=True) == (
        "ResourceNotFound"
    )
    assert other.code("drystone", "DeleteKey", SecretId=key["SecretId"]) == "ResourceInUse"
    assert other.code("drystone", "CreateKey") == "AuthFailure.PasswordRequired"
    assert other.confirm(made_password) == 200
    assert other.code("drystone", "CreateKey") == "OK"
    assert other.code("drystone", "DeleteKey", SecretId=key["SecretId"]) == "OK"
    (made,) = other.call("drystone", "DescribeKeys")["KeySet"]
    assert made["MadeBy"].startswith("console-")


def test_a_session_survives_the_server_and_a_password_does_not_survive_its_change(
    system: Installation, admin: Page
) -> None:
    system.kill()
    system.start()
    page = admin
    assert page.send("GET", "/console/api/session")[0] == 200
    first = system.environment["DRYSTONE_CONSOLE_PASSWORD"]
    own = "a password of my own"
    assert page.send("POST", "/console/api/password", {"Old": first, "New": own})[0] == 200
    credentials = parse_credentials((system.data / "credentials.env").read_text())
    assert "DRYSTONE_CONSOLE_PASSWORD" not in credentials
    assert credentials["TENCENTCLOUD_SECRET_KEY"] == system.environment["TENCENTCLOUD_SECRET_KEY"]
    assert Page(system).log_in("admin", first) == 401
    command = [sys.executable, "-m", "drystone", "account", "password", "admin", "--data", str(system.data)]
    given = subprocess.run(
        [*command, "--stdin"], input="one more password\n", text=True, capture_output=True, check=False
    )
    assert (given.returncode, given.stdout) == (0, "admin\n"), given.stderr
    assert page.send("GET", "/console/api/session")[0] == 401
    assert Page(system).log_in("admin", "one more password") == 200
