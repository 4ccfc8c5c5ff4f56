"""S155: whatever is accepted can be shown, for ever. Every parameter has a bound, and extremes of each are sent."""

import asyncio
import json
import random
import sqlite3
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import msgspec
import pytest

from drystone.api.answers import iso_time
from drystone.api.parameters import MANY, Id, Parameters, Tag, Text, Unsigned, from_json
from drystone.api.refusals import WireError
from drystone.api.services import SERVICES
from drystone.console import app as console_app
from drystone.domain.times import TIME_S_MAX
from tests.api.fakes import context
from tests.api.nasty import bodies, unbounded
from tests.api.real_service import REGION, ZONE, RealService, real_service

ACTIONS = {f"{service.name} {name}": action for service in SERVICES for name, action in service.actions.items()}
BEYOND = {"InternalError", "ServiceUnavailable", "ResourceInsufficient"}
"""What no parameter may be answered with."""


def test_every_parameter_of_every_action_has_a_bound() -> None:
    found = {name: [*unbounded(action)] for name, action in ACTIONS.items()}
    assert len(found) > 50
    assert not {name: paths for name, paths in found.items() if paths}


def test_what_a_browser_sends_has_a_bound() -> None:
    kinds = [kind for kind in vars(console_app).values() if isinstance(kind, type) and issubclass(kind, Parameters)]
    assert len(kinds) > 2
    assert not {kind.__name__: paths for kind in kinds if (paths := [*unbounded(kind)])}


def test_a_parameter_without_a_bound_is_found() -> None:
    class Inner(Parameters, frozen=True, kw_only=True):
        value: str

    class Planted(Parameters, frozen=True, kw_only=True):
        disk_id: Id
        count: int
        at_least: Annotated[int, msgspec.Meta(ge=0)]
        share: float | None = None
        text: Annotated[str, msgspec.Meta(max_length=9)]
        names: tuple[Text, ...] = ()
        tags: Annotated[tuple[Inner, ...], MANY] = ()
        good: Annotated[tuple[Tag, ...], MANY] = ()
        size: Unsigned = 0
        anything: dict[str, str] | None = None

    assert [*unbounded(Planted)] == [
        ".Count", ".AtLeast", ".Share", ".Text", ".Names", ".Tags[].Value", ".Anything",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("body", "code", "told"),
    [
        ({"DiskId": "x" * 257, "DiskSize": 20}, "InvalidParameterValue", "`DiskId` is longer than 256 characters."),
        ({"DiskId": "a\0b", "DiskSize": 20}, "InvalidParameterValue", "`DiskId` has a zero byte."),
        ({"DiskId": "x", "DiskSize": -1}, "InvalidParameter", "`DiskSize` is out of bounds; it must be >= 0."),
    ],
)
def test_a_refusal_says_what_was_wrong(body: object, code: str, told: str) -> None:
    with pytest.raises(WireError, match=told) as refused:
        from_json(json.dumps(body).encode(), ACTIONS["cbs ResizeDisk"])
    assert refused.value.code == code


def test_too_many_entries_have_the_documented_code() -> None:
    with pytest.raises(WireError, match=r"`DiskIds` has too many entries; at most 1000 are allowed\.") as refused:
        from_json(json.dumps({"DiskIds": ["x"] * 1001}).encode(), ACTIONS["cbs TerminateDisks"])
    assert refused.value.code == "InvalidParameterValue.LimitExceeded"


@pytest.mark.parametrize("hours", [-12, 0, 8, 14])
@pytest.mark.parametrize("at", [TIME_S_MAX, 253_402_300_799.0, 1e300, float("inf"), float("nan"), -1e300])
def test_any_time_that_was_kept_can_be_shown(at: float, hours: int) -> None:
    assert len(iso_time(at)) == len("9999-01-01T00:00:00+00:00")
    assert len(context(hours).local_time(at)) == len("9999-01-01 00:00:00")


# --- the real service -----------------------------------------------------------------------------------------------


async def _prepared(service: RealService) -> dict[str, dict[str, object]]:
    """Make what calls can be about; return a good call of each action, which destroys none of it."""
    made = await service.call(
        "CreateDisks", Placement={"Zone": ZONE}, DiskChargeType="POSTPAID_BY_HOUR", DiskType="CLOUD_SSD", DiskSize=20,
        DiskCount=2,
    )  # fmt: skip
    disk, quiet = made["DiskIdSet"]
    snapshot = (await service.call("CreateSnapshot", DiskId=disk))["SnapshotId"]
    instance = (await service.call("CreateInstance", Kind="NBD"))["InstanceId"]
    hourly = {"Hour": [3], "IntervalDays": 1}
    policy = (await service.call("CreateAutoSnapshotPolicy", Policy=[hourly]))["AutoSnapshotPolicyId"]
    await service.call("BindAutoSnapshotPolicy", AutoSnapshotPolicyId=policy, DiskIds=[quiet])
    await service.idle()
    operation = (await service.call("DescribeOperations"))["OperationSet"][0]["OperationId"]
    # What would destroy or change states names what is not there.
    no_disk, no_snapshot, no_group, no_instance = "disk-00000000", "snap-00000000", "csnap-00000000", "ins-00000000"
    new_disk: dict[str, object] = {
        "Placement": {"Zone": ZONE}, "DiskChargeType": "POSTPAID_BY_HOUR", "DiskType": "CLOUD_HSSD", "DiskSize": 500,
    }  # fmt: skip
    return {
        "CreateDisks": new_disk,
        "ResizeDisk": {"DiskId": quiet, "DiskSize": 20},
        "TerminateDisks": {"DiskIds": [no_disk]},
        "AttachDisks": {"InstanceId": no_instance, "DiskIds": [no_disk]},
        "DetachDisks": {"DiskIds": [no_disk]},
        "InitializeDisks": {"DiskIds": [no_disk]},
        "DescribeDisks": {},
        "ModifyDiskAttributes": {"DiskIds": [quiet], "DiskName": "n"},
        "DescribeDiskConfigQuota": {"InquiryType": "INQUIRY_CBS_CONFIG"},
        "DescribeInstancesDiskNum": {"InstanceIds": [instance]},
        "CreateSnapshot": {"DiskId": disk},
        "DeleteSnapshots": {"SnapshotIds": [no_snapshot]},
        "ApplySnapshot": {"SnapshotId": no_snapshot, "DiskId": no_disk},
        "CreateSnapshotGroup": {"DiskIds": [no_disk]},
        "DescribeSnapshotGroups": {},
        "DeleteSnapshotGroup": {"SnapshotGroupId": no_group},
        "ApplySnapshotGroup": {
            "SnapshotGroupId": no_group, "ApplyDisks": [{"SnapshotId": no_snapshot, "DiskId": no_disk}],
        },
        "DescribeSnapshots": {},
        "ModifySnapshotAttribute": {"SnapshotId": snapshot},
        "DescribeSnapshotOverview": {},
        "GetSnapOverview": {},
        "AuditDisk": {"DiskId": no_disk},
        "RewriteDisk": {"DiskId": no_disk},
        "DescribeInstances": {},
        "CreateInstance": {"Kind": "NBD"},
        "DeleteInstance": {"InstanceId": no_instance},
        "DescribeDiskDetails": {},
        # No snapshot is ever taken of this disk: the steps are kept and shown, and never done.
        "SetQuiesceProfile": {"ResourceId": quiet, "Steps": [{"Kind": "filesystem", "Mount": "/nowhere"}]},
        "DeleteQuiesceProfile": {"ResourceId": no_disk},
        "DescribeQuiesceProfiles": {},
        "DescribeSnapshotGroupRecords": {},
        "ProveSnapshot": {"SnapshotId": no_snapshot},
        "DescribeSnapshotRecords": {},
        "DescribeOperations": {},
        "DescribeOperationHistory": {"OperationId": operation},
        "CancelOperation": {"OperationId": "op-nothing0"},
        "RetryOperation": {"OperationId": "op-nothing0"},
        "DescribeAuditTrail": {},
        "DescribeEvents": {}, "AcknowledgeEvents": {"EventIds": ["evt-00000000"]},
        "DescribeStoreHealth": {},
        "ScrubStore": {},
        "DescribeSnapshotSpace": {"SnapshotIds": [snapshot]},
        "DescribeStore": {}, "DescribeStoreStatus": {}, "DescribeProtection": {}, "DescribeDiskSpace": {},
        "CollectGarbage": {"DryRun": True},
        "DescribeHost": {},
        "CreateAccount": {"AccountName": "x"},
        "SetAccountQuota": {"AccountId": "0"},
        "DescribeAccounts": {},
        "CreateAccessKey": {"AccountId": "0"},
        "DeleteAccessKey": {"SecretId": "x"},
        "DescribeAccessKeys": {"AccountId": service.admin},
        "ConfirmClock": {}, "ConfirmStore": {},
        "ExportSnapshot": {"SnapshotId": no_snapshot, "Path": "/nowhere/x.raw"},
        "ImportDisk": {"Path": "/nowhere/x.raw"},
        "DescribeKeys": {},
        "CreateKey": {},
        "DeleteKey": {"SecretId": "x"},
        "SetAccountPassword": {"AccountName": "nobody"},
        "DescribeOverview": {},
        "DescribeHistory": {},
        "DescribeSnapshotDifference": {"To": snapshot},
        "DescribeQuotas": {},
        "ModifyDiskExtraPerformance": {"DiskId": quiet, "ThroughputPerformance": 0},
        "ModifyDisksChargeType": {"DiskIds": [quiet], "DiskChargePrepaid": {"Period": 1}},
        "ModifyDisksRenewFlag": {"DiskIds": [quiet], "RenewFlag": "NOTIFY_AND_AUTO_RENEW"},
        "RenewDisk": {"DiskId": quiet, "DiskChargePrepaid": {"Period": 1}},
        "InquirePriceModifyDiskBackupQuota": {"DiskId": quiet, "DiskBackupQuota": 1},
        "InquirePriceModifyDiskExtraPerformance": {"DiskId": quiet, "ThroughputPerformance": 0},
        "InquiryPriceCreateDisks": {
            "DiskChargeType": "POSTPAID_BY_HOUR", "DiskType": "CLOUD_HSSD", "DiskSize": 500,
        },
        "InquiryPriceRenewDisks": {"DiskIds": [quiet], "NewDeadline": "2027-01-01 00:00:00"},
        "InquiryPriceResizeDisk": {"DiskId": quiet, "DiskSize": 20},
        "CopySnapshotCrossRegions": {"SnapshotId": snapshot, "DestinationRegions": ["ap-x"]},
        "DescribeDedicatedClusterDiskStatistics": {"DedicatedClusterId": "cluster-1"},
        "DescribeDiskStoragePool": {},
        "CreateDiskBackup": {"DiskId": quiet},
        "DeleteDiskBackups": {"DiskBackupIds": ["dbp-00000000"]},
        "ApplyDiskBackup": {"DiskBackupId": "dbp-00000000", "DiskId": no_disk},
        "DescribeDiskBackups": {},
        "ModifyDiskBackupQuota": {"DiskId": quiet, "DiskBackupQuota": 1},
        "DescribeSnapshotSharePermission": {"SnapshotId": snapshot},
        "ModifySnapshotsSharePermission": {
            "SnapshotIds": [no_snapshot], "AccountIds": ["0"], "Permission": "SHARE",
        },
        "DescribeRemoteDiskConfigQuota": {},
        "DescribeRemoteDisks": {},
        "DescribeRemoteDisksDeniedActions": {"RemoteDiskIds": ["rdisk-1"]},
        "cvm DescribeInstances": {"InstanceIds": [instance]}, "DescribeInstancesStatus": {},
        "DescribeZones": {}, "DescribeRegions": {}, "GetCallerIdentity": {},
        "DescribeResourceTagsByResourceIds": {
            "ServiceType": "cvm", "ResourcePrefix": "volume", "ResourceIds": [disk], "ResourceRegion": REGION,
        },
        "ModifyResourceTags": {
            "Resource": f"qcs::cvm:{REGION}:uin/:volume/{disk}", "ReplaceTags": [{"TagKey": "k", "TagValue": "v"}],
        },
        "TagResources": {
            "ResourceList": [f"qcs::cbs:{REGION}::instance/{disk}"], "Tags": [{"TagKey": "k", "TagValue": "v"}],
        },
        "UnTagResources": {"ResourceList": [f"qcs::cbs:{REGION}::instance/{disk}"], "TagKeys": ["k"]},
        "GetResources": {}, "DescribeTagKeys": {}, "DescribeTagValues": {"TagKeys": ["k"]}, "GetTags": {},
        "CreateTag": {"TagKey": "made", "TagValue": "v"}, "DeleteTag": {"TagKey": "no", "TagValue": "v"},
        "CreateAutoSnapshotPolicy": {"Policy": [{"Hour": [3], "IntervalDays": 1}], "DryRun": True},
        "ModifyAutoSnapshotPolicyAttribute": {"AutoSnapshotPolicyId": policy},
        "DeleteAutoSnapshotPolicies": {"AutoSnapshotPolicyIds": ["asp-00000000"]},
        "BindAutoSnapshotPolicy": {"AutoSnapshotPolicyId": policy, "DiskIds": [no_disk]},
        "UnbindAutoSnapshotPolicy": {"AutoSnapshotPolicyId": policy, "DiskIds": [no_disk]},
        "DescribeAutoSnapshotPolicies": {},
        "DescribeDiskAssociatedAutoSnapshotPolicy": {"DiskId": quiet},
        "CopyAutoSnapshotPolicyCrossAccount": {"AutoSnapshotPolicyIds": [policy], "TargetAccountUin": "0"},
        "SetPolicyOptions": {"PolicyId": policy},
        "DescribePolicyDetails": {},
        "DescribePolicyRuns": {},
        "DescribePolicySimulation": {"PolicyId": policy},
    }  # fmt: skip


async def _everything_is_shown(service: RealService, good: dict[str, dict[str, object]], after: str) -> None:
    for action, base in good.items():
        if action.rpartition(" ")[2].startswith(("Describe", "Get")):
            answer = await service.send(action, json.dumps(base).encode())
            assert "Error" not in answer, (after, action, answer)


async def _extremes(data: Path, chosen: Callable[[list[tuple[str, bytes]]], list[tuple[str, bytes]]]) -> Counter[str]:
    seen: Counter[str] = Counter()
    async with real_service(data, snapshots_per_disk=1000, snapshots_per_region=10_000) as service:
        good = await _prepared(service)
        actions = {name: of.actions[name.rpartition(" ")[2]] for name, of in service.actions.items()}
        assert set(good) == set(actions)
        await _everything_is_shown(service, good, "nothing")
        for called, action in actions.items():
            changed = False
            for name, body in chosen([*bodies(action, good[called])]):
                if called == "CreateSnapshot":
                    await service.idle()
                answer = await service.send(called, body)
                code = answer.get("Error", {}).get("Code", "OK")
                assert code not in BEYOND, (called, name, body[:300], answer)
                seen[code] += 1
                # What shows most is asked after each change, everything after each action.
                if code == "OK" and action.changes:
                    changed = True
                    for shown in ("DescribeDisks", "DescribeSnapshots", "DescribeSnapshotRecords"):
                        assert "Error" not in await service.send(shown, b"{}"), (shown, called, body[:300])
            if changed:
                await service.idle()
                await _everything_is_shown(service, good, called)
    return seen


def _some(bodies_of: list[tuple[str, bytes]]) -> list[tuple[str, bytes]]:
    """Choose three of each parameter, and every deadline of the call that changes one: seconds, not minutes."""
    rng = random.Random(len(bodies_of))
    groups: dict[str, list[tuple[str, bytes]]] = {}
    for name, body in bodies_of:
        groups.setdefault(name, []).append((name, body))
    cheap = {name: name == "Deadline" and b"DiskId" not in group[0][1] for name, group in groups.items()}
    chosen = {name: group if cheap[name] else rng.sample(group, min(3, len(group))) for name, group in groups.items()}
    return [one for group in chosen.values() for one in group]


@pytest.mark.timeout(120)
def test_extremes_leave_everything_to_be_shown(tmp_path: Path) -> None:
    seen = asyncio.run(_extremes(tmp_path / "d", _some))
    assert seen["OK"] > 40, seen
    assert seen["InvalidParameterValue"] > 40, seen


@pytest.mark.long
@pytest.mark.timeout(1200)
def test_every_extreme_of_every_parameter_leaves_everything_to_be_shown(tmp_path: Path) -> None:
    seen = asyncio.run(_extremes(tmp_path / "d", list))
    assert seen["OK"] > 300, seen
    assert seen["InvalidParameterValue"] > 300, seen


async def _shown_after_an_older_version(data: Path) -> None:
    async with real_service(data) as service:
        good = await _prepared(service)
        await service.idle()
        with sqlite3.connect(data / "catalog.db") as catalog:
            for value in (253_402_300_799.0, 1e300, -1e300, 9e999):
                catalog.execute("UPDATE snapshot SET permanent = 0, deadline_at = ?, modified_at = ?", (value, value))
                catalog.execute(
                    "UPDATE disk SET created_at = ?, deadline_at = ?, charge_type = 'PREPAID'", (value, value)
                )
                catalog.execute("UPDATE operation SET created_at = ?, updated_at = ?", (value, value))
                catalog.commit()
                await _everything_is_shown(service, good, str(value))


def test_rows_of_an_older_version_are_shown(tmp_path: Path) -> None:
    asyncio.run(_shown_after_an_older_version(tmp_path / "d"))
