"""What real clients were recorded to send, replayed against the whole service in an order in which it succeeds.

Each answer is held to the fields that the client looks at without asking whether they are there: Terraform's provider,
written in Go, ends with a panic where one is null. What each client looks at was read in its source.
"""

import asyncio
import json
import re
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from drystone.api.services import SERVICES
from tests.api.asgi import send_signed
from tests.api.client_requests import Signer, recorded, request_of
from tests.api.real_service import ZONE, RealService, real_service

NOBODYS = "00000000"
_ID = re.compile(r"\b(disk|snap|ins|asp|dbp)-[0-9a-z]{8}\b")
DISK = (
    "DiskId DiskName DiskType DiskSize DiskState DiskUsage DiskChargeType Attached InstanceId Encrypt RenewFlag "
    "CreateTime ThroughputPerformance BurstPerformance MigratePercent Rollbacking DiskBackupQuota Tags Placement.Zone "
    "Placement.ProjectId"
)
SNAPSHOT = (
    "SnapshotId SnapshotName SnapshotState DiskId DiskUsage DiskSize Percent CreateTime Encrypt Placement.Zone "
    "Placement.ProjectId"
)


def _each(prefix: str, fields: str) -> tuple[str, ...]:
    return tuple(f"{prefix}.*.{field}" for field in fields.split())


NEEDS: Mapping[str, tuple[str, ...]] = {
    "CreateDisks": ("DiskIdSet.*",),
    "DescribeDisks": _each("DiskSet", DISK),
    "CreateSnapshot": ("SnapshotId",),
    "DescribeSnapshots": _each("SnapshotSet", SNAPSHOT),
    "DescribeDiskConfigQuota": _each("DiskConfigSet", "Available DiskType MinDiskSize MaxDiskSize"),
    "DescribeInstancesDiskNum": _each("AttachDetail", "InstanceId MaxAttachCount"),
    "CreateAutoSnapshotPolicy": ("AutoSnapshotPolicyId",),
    "DescribeAutoSnapshotPolicies": _each(
        "AutoSnapshotPolicySet",
        "AutoSnapshotPolicyId AutoSnapshotPolicyName AutoSnapshotPolicyState RetentionDays DiskIdSet CreateTime Policy",
    ),
    "CopySnapshotCrossRegions": _each("SnapshotCopyResultSet", "Code SnapshotId DestinationRegion Message"),
    "CreateDiskBackup": ("DiskBackupId",),
    "DescribeResourceTagsByResourceIds": ("TotalCount", *_each("Tags", "TagKey TagValue ResourceId")),
    "GetResources": ("PaginationToken", *_each("ResourceTagMappingList", "Resource Tags")),
    "GetCallerIdentity": ("AccountId",),
}
"""What a client looks at in an answer."""


def missing(answer: object, path: str, *, empty: bool) -> Iterator[str]:
    """Yield what a path does not lead to; a list must have an entry unless it may be empty."""
    name, _, rest = path.partition(".")
    if name == "*":
        if not isinstance(answer, list) or not (answer or empty):
            yield f"no entries before {path}"
            return
        for one in answer:
            yield from missing(one, rest, empty=empty) if rest else () if one is not None else ("a null entry",)
        return
    value = answer.get(name) if isinstance(answer, Mapping) else None
    if value is None:
        yield path
    elif rest:
        yield from missing(value, rest, empty=empty)


class Replay:
    """Sends recorded requests of one client, by their line, with ids of now in the place of those of then."""

    def __init__(self, service: RealService, signer: Signer, client: str) -> None:
        self.service = service
        self._signer = signer
        self._rows = recorded(client)
        self._left = set(range(len(self._rows)))

    async def __call__(
        self, action: str, line: int, *ids: str, answers: str = "OK", empty: bool = False,
        changed: Mapping[str, object] | None = None, quiet: bool = True,
    ) -> Mapping[str, Any]:  # fmt: skip
        """Send one.

        Args:
            action: Its action.
            line: Its line in the recording, from 0.
            ids: What stands in the place of the ids that it names, in their order.
            answers: The code that it must be answered with.
            empty: Whether lists may have nothing in them.
            changed: Parameters to send with another value.
            quiet: Whether to wait until nothing is under way before.
        """
        row = self._rows[line]
        assert row["action"] == action, (line, row)
        self._left.discard(line)
        if quiet:
            await self.service.idle()
        sent = {**_with_ids(row["parameters"], ids), **(changed or {})}
        answer = await send_signed(self.service.app, request_of(row, sent, self._signer))
        where = (action, line, sent, answer.response)
        assert answer.code == answers, where
        if answers == "OK":
            for path in NEEDS.get(action, ()):
                assert not [*missing(answer.response, path, empty=empty)], where
        return answer.response

    def all_sent(self) -> None:
        """Nothing that was recorded may be left out."""
        assert not {line: self._rows[line]["action"] for line in self._left}


def _with_ids(parameters: Mapping[str, Any], ids: tuple[str, ...]) -> dict[str, Any]:
    """Put ids in the place of those that were recorded, by kind and in order."""
    text, given = json.dumps(parameters), list(ids)
    now: dict[str, str] = {}
    for match in _ID.finditer(text):
        was, kind = match[0], match[1]
        fits = next((one for one in given if one.startswith(f"{kind}-")), None)
        if was in now:
            continue
        if fits is not None:
            given.remove(fits)
        assert fits is not None or was.endswith(NOBODYS), f"{was} of {text} is of then"
        now[was] = fits or was
    assert not given, f"{given} are not asked for by {text}"
    made: dict[str, Any] = json.loads(_ID.sub(lambda match: now[match[0]], text))
    return made


async def _terraform(send: Replay) -> None:
    service = send.service
    (ins, elsewhere) = [(await service.call("CreateInstance", Kind="NBD"))["InstanceId"] for _ in range(2)]
    (first,) = (await send("CreateDisks", 17))["DiskIdSet"]
    await send("DescribeDisks", 25, first)
    told = await send("DescribeResourceTagsByResourceIds", 45, first)
    assert {tag["TagKey"]: tag["TagValue"] for tag in told["Tags"]} == {"env": "test", "team": "blue"}
    assert [disk["DiskId"] for disk in (await send("DescribeDisks", 26))["DiskSet"]] == [first]
    await send("CreateTag", 43)
    await send("ModifyResourceTags", 46, first)
    # Without what was changed the next plan would change it again.
    told = await send("DescribeResourceTagsByResourceIds", 45, first)
    assert {tag["TagKey"]: tag["TagValue"] for tag in told["Tags"]} == {"team": "red", "owner": "ops"}
    # What it makes by name it reads by another action, and finds it gone if that does not have it.
    found = (await service.call("GetTags", TagKeys=["team"]))["Tags"]
    assert ("team", "red") in [(tag["TagKey"], tag["TagValue"]) for tag in found]
    await send("ModifyDiskAttributes", 33, first)
    # It makes an attachment and a snapshot of one disk at once.
    await send("AttachDisks", 5, ins, first)
    monday = (await send("CreateSnapshot", 20, first, quiet=False))["SnapshotId"]
    await send("DescribeSnapshots", 30, monday, quiet=False)
    await send("ResizeDisk", 40, first)
    tuesday = (await send("CreateSnapshot", 22, first))["SnapshotId"]
    await send("DescribeSnapshots", 29, tuesday)
    assert len((await send("DescribeSnapshots", 28, first))["SnapshotSet"]) == 2
    await send("ModifyResourceTags", 47, tuesday)
    (copy,) = (await send("CreateDisks", 16, tuesday))["DiskIdSet"]
    assert [disk["DiskId"] for disk in (await send("DescribeDisks", 27))["DiskSet"]] == [copy]
    assert (await send("DescribeResourceTagsByResourceIds", 44, copy, empty=True))["Tags"] == []

    # What is refused for good ends a run at once: no code that it tries again, but the documented one.
    await send("AttachDisks", 6, elsewhere, first, answers="ResourceUnavailable.Attached")
    await send("ApplySnapshot", 2, tuesday, first, answers="InvalidDisk.NotSupported")
    await send("TerminateDisks", 42, first, copy, answers="UnsupportedOperation")
    await send("AttachDisks", 3, ins, answers="InvalidDiskId.NotFound")
    await send("AttachDisks", 4, copy, answers="InvalidInstanceId.NotFound")
    await send("CreateSnapshot", 21, answers="InvalidDiskId.NotFound")
    await send("CreateDisks", 14, answers="InvalidParameter.DiskConfigNotSupported")
    await send("CreateDisks", 15, answers="InvalidSnapshotId.NotFound")
    await send("CreateDisks", 18, answers="InvalidParameterValue")
    await send("CreateDisks", 13, answers="InvalidParameter.DiskConfigNotSupported")

    await send("DetachDisks", 31, first, ins)
    await send("ApplySnapshot", 1, tuesday, first)
    await send("CreateDisks", 12)
    (undone,) = (await send("CreateDisks", 19))["DiskIdSet"]
    (prepaid,) = (await send("CreateDisks", 11))["DiskIdSet"]
    await send("ModifyDisksChargeType", 38, undone)
    made = await service.call(
        "CreateDisks", Placement={"Zone": ZONE}, DiskChargeType="POSTPAID_BY_HOUR", DiskType="CLOUD_SSD", DiskSize=500
    )
    (large,) = made["DiskIdSet"]
    await send("ModifyDiskAttributes", 34, large)
    await send("ModifyDiskAttributes", 35, large)
    await send("ModifyDiskAttributes", 32, large)
    await send("ModifyDiskExtraPerformance", 37, large)

    policy = (await send("CreateAutoSnapshotPolicy", 9))["AutoSnapshotPolicyId"]
    await send("BindAutoSnapshotPolicy", 7, policy, copy)
    await send("DescribeAutoSnapshotPolicies", 24)
    await send("ModifyDiskBackupQuota", 36, copy)
    point = (await send("CreateDiskBackup", 10, copy))["DiskBackupId"]
    await send("ApplyDiskBackup", 0, point, copy)
    receiver = (await service.call("CreateAccount", AccountName="receiver"))["AccountId"]
    await send("ModifySnapshotsSharePermission", 39, tuesday, changed={"AccountIds": [receiver]})
    # There is one region.
    await send("CopySnapshotCrossRegions", 8, tuesday, answers="InvalidParameterValue")
    await send("DeleteSnapshots", 23, monday)
    await send("TerminateDisks", 41, prepaid)


async def _csi(send: Replay) -> None:
    service = send.service
    ins = (await service.call("CreateInstance", Kind="NBD"))["InstanceId"]
    await send("DescribeInstancesDiskNum", 11, ins)
    await send("DescribeDiskConfigQuota", 8)
    await send("DescribeResourceTagsByResourceIds", 16, empty=True)
    made = await send("CreateDisks", 4)
    tags = recorded("csi")[4]["parameters"]["Tags"]
    # It builds its tags from a map, so a second try has them in any order.
    again = await send("CreateDisks", 4, changed={"Tags": [*reversed(tags)]})
    assert made["DiskIdSet"] == again["DiskIdSet"]
    (volume,) = made["DiskIdSet"]
    await send("CreateDisks", 2, changed={"DiskSize": 10})
    await send("CreateDisks", 2, answers="InvalidParameter.InvalidClientToken")
    await send("CreateDisks", 3, answers="InvalidParameterValue")
    await send("DescribeDisks", 9, volume)
    assert (await send("DescribeDisks", 10))["TotalCount"] == 2
    await send("CreateSnapshot", 5, volume, answers="InvalidParameterValue")
    snapshot = (await send("CreateSnapshot", 6, volume))["SnapshotId"]
    # It looks at once, and takes a snapshot that is not there for a failure.
    await send("DescribeSnapshots", 12, snapshot, quiet=False)
    await send("CreateDisks", 1, snapshot)
    await send("AttachDisks", 0, volume, ins)
    await send("ResizeDisk", 14, volume)
    await send("DetachDisks", 13, volume)
    await send("DeleteSnapshots", 7, snapshot)
    await send("TerminateDisks", 15, volume)


async def _custodian(send: Replay) -> None:
    disks = [
        (await send.service.call(
            "CreateDisks", Placement={"Zone": ZONE}, DiskChargeType="POSTPAID_BY_HOUR", DiskType="CLOUD_PREMIUM",
            DiskSize=10,
        ))["DiskIdSet"][0]
        for _ in range(10)
    ]  # fmt: skip
    for line in (2, 3):
        await send("GetCallerIdentity", line)
    await send("DescribeDisks", 0)
    await send("DescribeSnapshots", 1, empty=True)
    asked = recorded("custodian")[4]["parameters"]["ResourceList"]
    assert (await send("GetResources", 4, *disks[: len(asked)], empty=True))["ResourceTagMappingList"] == []
    assert (await send("TagResources", 5, *disks))["FailedResources"] == []
    found = await send("GetResources", 4, *disks[: len(asked)])
    names = [one["Resource"] for one in found["ResourceTagMappingList"]]
    assert [name.rpartition("/")[2] for name in names] == disks[: len(asked)]
    # It looks its resources up by the names that it sent.
    assert all(name.startswith("qcs::cbs:ap-local::instance/") for name in names)
    assert (await send("UnTagResources", 6, *disks))["FailedResources"] == []


STORIES = {"terraform": _terraform, "csi": _csi, "custodian": _custodian}


@pytest.mark.parametrize("client", STORIES)
def test_what_a_client_sends_succeeds(tmp_path: Path, client: str) -> None:
    async def run() -> None:
        async with real_service(tmp_path / "d") as service:
            key = await service.call("CreateKey")
            signer = Signer(secret_id=key["SecretId"], secret_key=key["SecretKey"], now_s=int(time.time()))
            send = Replay(service, signer, client)
            await STORIES[client](send)
            send.all_sent()

    asyncio.run(run())


def test_all_that_clients_call_is_served() -> None:
    served = {name for service in SERVICES for name in service.actions}
    assert {row["action"] for client in STORIES for row in recorded(client)} <= served


def test_what_is_null_or_absent_is_found() -> None:
    answer = {"DiskSet": [{"A": 0, "B": {"C": None}}, {"A": None, "B": {"C": ""}}], "None": [], "Ids": [None]}
    found = {path: len([*missing(answer, path, empty=False)]) for path in
             ("DiskSet.*.A", "DiskSet.*.B.C", "None.*.A", "Other", "Other.*.A", "Ids.*")}  # fmt: skip
    assert found == {"DiskSet.*.A": 1, "DiskSet.*.B.C": 1, "None.*.A": 1, "Other": 1, "Other.*.A": 1, "Ids.*": 1}
    assert not [*missing(answer, "None.*.A", empty=True)]
