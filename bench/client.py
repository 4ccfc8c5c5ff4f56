"""A lean client: signs with TC3 and keeps its connection, so that it costs little beside what it measures."""

import hashlib
import hmac
import http.client
import json
import time
from collections.abc import Callable, Mapping
from typing import Any

CBS = ("cbs", "2017-03-12")
OWN = ("drystone", "2026-11-01")
_HEADERS = "content-type;host"
_JSON = "application/json"


class CallError(Exception):
    """The service refused a call, or what was waited for did not happen.

    Attributes:
        code: The service's code, or an empty text.
    """

    def __init__(self, message: str, code: str = "") -> None:
        super().__init__(message)
        self.code = code


class Client:
    """One connection to the server that `environment` (its credentials.env) names. Not for several threads."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment
        self._host = environment["DRYSTONE_ENDPOINT"].removeprefix("http://")
        self._connection = http.client.HTTPConnection(self._host, timeout=120)

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def headers(self, service: tuple[str, str], action: str, body: bytes) -> dict[str, str]:
        """Return the headers of a request signed now; valid for five minutes."""
        name, version = service
        stamp = int(time.time())
        date = time.strftime("%Y-%m-%d", time.gmtime(stamp))
        canonical = (
            f"POST\n/\n\ncontent-type:{_JSON}\nhost:{self._host}\n\n{_HEADERS}\n{hashlib.sha256(body).hexdigest()}"
        )
        scope = f"{date}/{name}/tc3_request"
        text = f"TC3-HMAC-SHA256\n{stamp}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
        key = f"TC3{self._environment['TENCENTCLOUD_SECRET_KEY']}".encode()
        for part in (date, name, "tc3_request", text):
            key = hmac.digest(key, part.encode(), "sha256")
        credential = f"{self._environment['TENCENTCLOUD_SECRET_ID']}/{scope}"
        return {
            "Host": self._host,
            "Content-Type": _JSON,
            "Authorization": (
                f"TC3-HMAC-SHA256 Credential={credential}, SignedHeaders={_HEADERS}, Signature={key.hex()}"
            ),
            "X-TC-Action": action,
            "X-TC-Version": version,
            "X-TC-Timestamp": str(stamp),
            "X-TC-Region": self._environment["TENCENTCLOUD_REGION"],
        }

    def raw(self, action: str, service: tuple[str, str] = CBS, **parameters: object) -> bytes:
        """Return the bytes of a whole signed HTTP request."""
        body = json.dumps(parameters).encode()
        headers = {**self.headers(service, action, body), "Content-Length": str(len(body))}
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        return f"POST / HTTP/1.1\r\n{lines}\r\n".encode() + body

    def call(self, action: str, service: tuple[str, str] = CBS, **parameters: object) -> dict[str, Any]:
        """Call an action and return its response.

        Raises:
            CallError: The service answered with an error.
        """
        body = json.dumps(parameters).encode()
        self._connection.request("POST", "/", body, self.headers(service, action, body))
        response: dict[str, Any] = json.loads(self._connection.getresponse().read())["Response"]
        if "Error" in response:
            raise CallError(f"{action}: {response['Error']}", str(response["Error"]["Code"]))
        return response

    def snapshot_is_normal(self, snapshot_id: str) -> bool:
        """Tell whether a snapshot is complete; it must be there."""
        found = self.call("DescribeSnapshots", SnapshotIds=[snapshot_id])["SnapshotSet"]
        if not found:
            raise CallError(f"snapshot {snapshot_id} failed and is gone")
        return bool(found[0]["SnapshotState"] == "NORMAL")

    def disk_state(self, disk_id: str) -> str:
        """Return a disk's state, or an empty text when it is gone."""
        found = self.call("DescribeDisks", DiskIds=[disk_id])["DiskSet"]
        return str(found[0]["DiskState"]) if found else ""

    def detail(self, disk_id: str) -> dict[str, Any]:
        """Return how a disk is served and tracked."""
        return dict(self.call("DescribeDiskDetails", OWN, DiskIds=[disk_id])["DiskDetailSet"][0])

    def record(self, snapshot_id: str) -> dict[str, Any]:
        """Return how a snapshot was taken."""
        return dict(self.call("DescribeSnapshotRecords", OWN, SnapshotIds=[snapshot_id])["SnapshotRecordSet"][0])


LATE_S_MAX = 0.5


def wait(condition: Callable[[], bool], what: str, *, every_s: float = 0.005, seconds: float = 600) -> float:
    """Ask until a condition holds; return the monotonic time at which it was seen to, at most 1 % late.

    Asking costs the server processor time that what is measured needs: the longer it takes, the less often.

    Raises:
        CallError: It did not hold in time.
    """
    began = time.monotonic()
    while not condition():
        waited_s = time.monotonic() - began
        if waited_s > seconds:
            raise CallError(f"waited {seconds:g} s for {what}")
        time.sleep(max(every_s, min(waited_s / 100, LATE_S_MAX)))
    return time.monotonic()
