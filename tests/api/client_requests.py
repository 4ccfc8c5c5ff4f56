"""Requests that real clients were recorded to send, signed anew in each client's way.

One line of `recordings/` for each shape: Terraform's provider, the CSI driver, Cloud Custodian, and the SDKs for
Node.js, Java and Go at a host name and at a bare address. Keys and signatures were not kept.
"""

import base64
import hashlib
import hmac
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from drystone.api.signature import SignedRequest
from tests.api.signing import NOW_S, REGION, SECRET_ID, SECRET_KEY

RECORDINGS = Path(__file__).parent / "recordings"
HOSTS = {"cbs": "cbs.drystone.internal:8080", "127": "127.0.0.1:8080"}
PLAIN: Mapping[str, Mapping[str, Any]] = {
    "CreateDisks": {"Placement": {"Zone": "ap-local-1"}, "DiskChargeType": "POSTPAID_BY_HOUR", "DiskType": "CLOUD_SSD",
                    "DiskName": "node 云盘", "DiskSize": 20, "Tags": [{"Key": "by", "Value": "node & co"}]},
    "DescribeDisks": {"Filters": [{"Name": "disk-name", "Values": ["node 云盘", "other"]}], "Limit": 1},
    "CreateSnapshot": {"DiskId": "disk-00000001", "SnapshotName": "node*~'()!"},
    "DescribeSnapshots": {"SnapshotIds": ["snap-00000001"]},
    "DeleteSnapshots": {"SnapshotIds": ["snap-00000001"]},
    "TerminateDisks": {"DiskIds": ["disk-00000001"]},
}  # fmt: skip
"""What the SDKs' small story sends; of forms only the shape was kept."""


def recorded(*names: str) -> list[Mapping[str, Any]]:
    return [json.loads(line) for name in names for line in (RECORDINGS / f"{name}.jsonl").read_text().splitlines()]


@dataclass(frozen=True, kw_only=True)
class Signer:
    """Whose key signs, and when."""

    secret_id: str = SECRET_ID
    secret_key: str = SECRET_KEY
    now_s: int = NOW_S


GOLDEN = Signer()


def request_of(row: Mapping[str, Any], parameters: Mapping[str, Any], signer: Signer = GOLDEN) -> SignedRequest:
    """Return a recorded request with these parameters, as its client signs it, at the host that it was recorded at."""
    host = HOSTS.get(row["service"], f"{row['service']}.drystone.internal:8080")
    return (tc3 if ";" in row["signed"] else v1)(row, parameters, host, signer)


def flat(value: object, name: str = "") -> Iterator[tuple[str, str]]:
    """Yield the fields of a form: `Filters.0.Values.1=x`."""
    if isinstance(value, Mapping):
        for key, one in value.items():
            yield from flat(one, f"{name}.{key}" if name else key)
    elif isinstance(value, list):
        for index, one in enumerate(value):
            yield from flat(one, f"{name}.{index}")
    elif isinstance(value, bool):
        yield name, str(value).lower()
    else:
        yield name, str(value)


def tc3(row: Mapping[str, Any], parameters: Mapping[str, Any], host: str, signer: Signer = GOLDEN) -> SignedRequest:
    """Sign as the client of a recording does: the SDK for Node.js signs the host without its port."""
    get = row["method"] == "GET"
    query = urlencode([*flat(parameters)]) if get else ""
    body = b"" if get else json.dumps(parameters).encode()
    signed_host = host.partition(":")[0] if "NODEJS" in row["client"] else host
    date = datetime.fromtimestamp(signer.now_s, UTC).strftime("%Y-%m-%d")
    digest = hashlib.sha256(body).hexdigest()
    canonical = (
        f"{row['method']}\n/\n{query}\ncontent-type:{row['content_type']}\nhost:{signed_host}\n\ncontent-type;host\n{digest}"
    )  # fmt: skip
    scope = f"{date}/{row['service']}/tc3_request"
    text = f"TC3-HMAC-SHA256\n{signer.now_s}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
    key = f"TC3{signer.secret_key}".encode()
    for part in (date, row["service"], "tc3_request"):
        key = hmac.digest(key, part.encode(), "sha256")
    signature = hmac.digest(key, text.encode(), "sha256").hex()
    headers = {
        "host": host, "content-type": row["content_type"], "x-tc-action": row["action"], "x-tc-version": row["version"],
        "x-tc-timestamp": str(signer.now_s), "x-tc-region": REGION, "x-tc-requestclient": row["client"],
        "authorization": f"TC3-HMAC-SHA256 Credential={signer.secret_id}/{scope}, SignedHeaders=content-type;host, "
        f"Signature={signature}",
    }  # fmt: skip
    return SignedRequest(method=row["method"], query=query, headers=headers, body=body)


def v1(row: Mapping[str, Any], parameters: Mapping[str, Any], host: str, signer: Signer = GOLDEN) -> SignedRequest:
    fields = {
        **dict(flat(parameters)), "Action": row["action"], "Version": row["version"], "Region": REGION,
        "Timestamp": str(signer.now_s), "Nonce": "4711", "SecretId": signer.secret_id, "SignatureMethod": row["signed"],
        "RequestClient": row["client"],
    }  # fmt: skip
    text = f"{row['method']}{host}/?" + "&".join(f"{name}={fields[name]}" for name in sorted(fields))
    digest = {"HmacSHA1": "sha1", "HmacSHA256": "sha256"}[row["signed"]]
    signature = base64.b64encode(hmac.digest(signer.secret_key.encode(), text.encode(), digest)).decode()
    encoded = urlencode({**fields, "Signature": signature})
    headers = {"host": host} | ({"content-type": row["content_type"]} if row["content_type"] else {})
    get = row["method"] == "GET"
    return SignedRequest(
        method=row["method"], query=encoded if get else "", headers=headers, body=b"" if get else encoded.encode()
    )  # fmt: skip
