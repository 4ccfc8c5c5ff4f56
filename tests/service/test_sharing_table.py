"""What a receiver of a snapshot can and cannot do, by every action of both services (S341).

The table names them all: an action that is new is missing in it, and the test fails until somebody has said what it
does with a snapshot of another account.
"""

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from drystone.api.services import SERVICES
from drystone.catalog import disks
from drystone.domain.ids import AccountId, DiskId
from drystone.domain.tracking import TrackingState
from tests.api.real_service import REGION, ZONE, RealService, real_service

NO_RESOURCE = "InvalidParameterValue.ResourceDescriptionError"
NO_SNAPSHOT = "InvalidSnapshotId.NotFound"
NOTHING = "OK"
"""It is answered, and what it answers has nothing of the snapshot nor of its owner."""
SHOWN = "shown"
MADE = "made"
UNNAMED = "unnamed"
"""No parameter of it can name a snapshot."""

UNNAMED_ACTIONS = (
    "AcknowledgeEvents", "AttachDisks", "AuditDisk", "BindAutoSnapshotPolicy", "CancelOperation", "CollectGarbage",
    "ConfirmClock", "ConfirmStore", "CopyAutoSnapshotPolicyCrossAccount", "CreateAccessKey", "CreateAccount",
    "CreateAutoSnapshotPolicy", "CreateDiskBackup", "CreateInstance", "CreateKey", "CreateSnapshotGroup",
    "CreateTag", "DeleteAccessKey", "DeleteAutoSnapshotPolicies", "DeleteInstance", "DeleteKey", "DeleteTag",
    "DescribeAccessKeys", "DescribeAccounts", "DescribeAutoSnapshotPolicies",
    "DescribeDedicatedClusterDiskStatistics", "DescribeDiskAssociatedAutoSnapshotPolicy", "DescribeDiskConfigQuota",
    "DescribeDiskSpace", "DescribeDiskStoragePool", "DescribeHistory", "DescribeHost", "DescribeInstances",
    "DescribeInstancesDiskNum", "DescribeInstancesStatus", "DescribeKeys", "DescribeOperationHistory",
    "DescribeOverview", "DescribePolicyDetails", "DescribePolicyRuns", "DescribePolicySimulation",
    "DescribeQuiesceProfiles", "DescribeQuotas", "DescribeRegions", "DescribeRemoteDiskConfigQuota",
    "DescribeRemoteDisks", "DescribeRemoteDisksDeniedActions", "DescribeSnapshotOverview", "DescribeStore",
    "DescribeStoreHealth", "DescribeStoreStatus", "DescribeTagKeys", "DescribeTagValues", "DescribeZones",
    "DetachDisks", "GetCallerIdentity", "GetSnapOverview", "GetTags", "ImportDisk", "InitializeDisks",
    "InquirePriceModifyDiskBackupQuota", "InquirePriceModifyDiskExtraPerformance", "InquiryPriceCreateDisks",
    "InquiryPriceRenewDisks", "InquiryPriceResizeDisk", "ModifyAutoSnapshotPolicyAttribute", "ModifyDiskAttributes",
    "ModifyDiskBackupQuota", "ModifyDiskExtraPerformance", "ModifyDisksChargeType", "ModifyDisksRenewFlag",
    "RenewDisk", "ResizeDisk", "RetryOperation", "RewriteDisk", "ScrubStore", "SetAccountPassword",
    "SetAccountQuota", "SetPolicyOptions", "TerminateDisks", "UnbindAutoSnapshotPolicy",
)  # fmt: skip
NEW_DISK = {"Placement": {"Zone": ZONE}, "DiskChargeType": "POSTPAID_BY_HOUR", "DiskType": "CLOUD_PREMIUM"}
SHARED = {"Name": "snapshot-type", "Values": ["SHARED_SNAPSHOT"]}


@dataclass(frozen=True, kw_only=True)
class Scene:
    """What the owner has."""

    owner: AccountId
    receiver: AccountId
    stranger: AccountId
    disk: str
    snapshot: str
    """The one that is shared."""
    other: str
    """The one before it, of the same disk."""
    group: str
    mine: str
    """A disk of the receiver's own."""

    @property
    def secrets(self) -> tuple[str, ...]:
        """What the receiver never learns."""
        return (self.owner, self.stranger, self.other, self.group, "secret-tag")


def table(scene: Scene) -> dict[str, tuple[str, dict[str, Any]]]:
    """Return of each action what it comes to when it names the shared snapshot, and how it is called so."""
    one, mine = scene.snapshot, scene.mine
    named = [{"Name": "snapshot-id", "Values": [one]}]
    resource = f"qcs::cvm:{REGION}:uin/:snapshot/{one}"
    tags = [{"TagKey": "mine", "TagValue": "v"}]
    answers: dict[str, tuple[str, dict[str, Any]]] = {
        "CreateDisks": (MADE, {**NEW_DISK, "SnapshotId": one}),
        "DescribeSnapshots": (SHOWN, {"SnapshotIds": [one]}),
        "ApplySnapshot": (NO_SNAPSHOT, {"SnapshotId": one, "DiskId": mine}),
        "ApplySnapshotGroup": (
            "InvalidParameter", {"SnapshotGroupId": scene.group, "ApplyDisks": [{"SnapshotId": one, "DiskId": mine}]},
        ),
        "CopySnapshotCrossRegions": (NO_SNAPSHOT, {"SnapshotId": one, "DestinationRegions": ["ap-x"]}),
        "DeleteSnapshotGroup": (NO_SNAPSHOT, {"SnapshotGroupId": scene.group}),
        "DeleteSnapshots": (NO_SNAPSHOT, {"SnapshotIds": [one]}),
        "DescribeSnapshotGroups": (NOTHING, {"Filters": named}),
        "DescribeSnapshotSharePermission": (NO_SNAPSHOT, {"SnapshotId": one}),
        "ModifySnapshotAttribute": (NO_SNAPSHOT, {"SnapshotId": one, "SnapshotName": "mine"}),
        "ModifySnapshotsSharePermission": (
            NO_SNAPSHOT, {"SnapshotIds": [one], "AccountIds": [scene.stranger], "Permission": "SHARE"},
        ),
        "CreateSnapshot": ("ResourceNotFound.NotFound", {"DiskBackupId": one}),
        "ApplyDiskBackup": ("ResourceNotFound.NotFound", {"DiskBackupId": one, "DiskId": mine}),
        "DeleteDiskBackups": ("ResourceNotFound.NotFound", {"DiskBackupIds": [one]}),
        "DescribeDiskBackups": (NOTHING, {"DiskBackupIds": [one]}),
        "DescribeSnapshotDifference": (NO_SNAPSHOT, {"To": one}),
        "DescribeSnapshotGroupRecords": (NOTHING, {"SnapshotGroupIds": [scene.group]}),
        "DescribeSnapshotRecords": (NOTHING, {"SnapshotIds": [one]}),
        "DescribeSnapshotSpace": (NO_SNAPSHOT, {"SnapshotIds": [one]}),
        "ExportSnapshot": ("UnauthorizedOperation", {"SnapshotId": one, "Path": "/nowhere/x.raw"}),
        "ProveSnapshot": ("UnauthorizedOperation", {"SnapshotId": one}),
        "SetQuiesceProfile": ("AuthFailure.UnauthorizedOperation", {"ResourceId": one, "Steps": []}),
        "DeleteQuiesceProfile": ("AuthFailure.UnauthorizedOperation", {"ResourceId": one}),
        "DescribeOperations": (NOTHING, {"Filters": [{"Name": "resource-id", "Values": [one]}]}),
        "DescribeAuditTrail": (NOTHING, {"Filters": [{"Name": "resource-id", "Values": [scene.other]}]}),
        "DescribeResourceTagsByResourceIds": (
            NOTHING, {"ServiceType": "cvm", "ResourcePrefix": "snapshot", "ResourceIds": [scene.other],
                      "ResourceRegion": REGION},
        ),
        "GetResources": (NOTHING, {"ResourceList": [resource]}),
        "ModifyResourceTags": (NO_RESOURCE, {"Resource": resource, "ReplaceTags": tags}),
        "TagResources": (NO_RESOURCE, {"ResourceList": [resource], "Tags": tags}),
        "UnTagResources": (NO_RESOURCE, {"ResourceList": [resource], "TagKeys": ["k"]}),
        "DescribeEvents": (NOTHING, {}),
        "DescribeProtection": (NOTHING, {}),
        "DescribeDisks": (NOTHING, {}),
        "DescribeDiskDetails": (NOTHING, {}),
    }  # fmt: skip
    for action in UNNAMED_ACTIONS:
        assert action not in answers, action
        answers[action] = (UNNAMED, {})
    return answers


MAY_NAME = ("ResourceId", "Resource", "ResourceIds", "ResourceList", "From", "To", "ApplyDisks")
NO_NAMES = {"SnapshotName", "DeleteSnapshot", "SnapshotGroupName"}


def may_name_a_snapshot(fields: Mapping[str, Any]) -> bool:
    return any(field in MAY_NAME or (field.startswith("Snapshot") and field not in NO_NAMES) for field in fields)


async def stage(service: RealService) -> Scene:
    accounts = [
        AccountId((await service.call("CreateAccount", AccountName=name))["AccountId"])
        for name in ("owner", "receiver", "stranger")
    ]
    owner, receiver, stranger = accounts
    (disk,) = (await service.call("CreateDisks", account=owner, **NEW_DISK, DiskSize=10))["DiskIdSet"]
    (mine,) = (await service.call("CreateDisks", account=receiver, **NEW_DISK, DiskSize=10))["DiskIdSet"]
    made = []
    for name in ("before", "monday"):
        tags = [{"Key": "k", "Value": "secret-tag"}]
        answer = await service.call("CreateSnapshot", account=owner, DiskId=disk, SnapshotName=name, Tags=tags)
        made.append(answer["SnapshotId"])
        await rest(service, owner)
    instance = (await service.call("CreateInstance", account=owner, Kind="NBD"))["InstanceId"]
    await service.call("AttachDisks", account=owner, InstanceId=instance, DiskIds=[disk])
    group = (await service.call("CreateSnapshotGroup", account=owner, DiskIds=[disk]))["SnapshotGroupId"]
    await rest(service, owner)
    await service.call("DetachDisks", account=owner, DiskIds=[disk])
    for to in (receiver, stranger):
        await share(service, owner, made[1], to, "SHARE")
    return Scene(
        owner=owner, receiver=receiver, stranger=stranger, disk=disk, snapshot=made[1], other=made[0], group=group,
        mine=mine,
    )  # fmt: skip


async def rest(service: RealService, account: AccountId) -> None:
    running = [{"Name": "state", "Values": ["RUNNING"]}]
    while (await service.call("DescribeOperations", account=account, Filters=running))["TotalCount"]:
        await asyncio.sleep(0.02)


async def share(service: RealService, owner: AccountId, snapshot: str, to: AccountId, permission: str) -> None:
    await service.call(
        "ModifySnapshotsSharePermission", account=owner, SnapshotIds=[snapshot], AccountIds=[to],
        Permission=permission,
    )  # fmt: skip


async def code_of(service: RealService, action: str, account: AccountId, **parameters: object) -> tuple[str, str]:
    answer = await service.send(action, json.dumps(parameters).encode(), account=account)
    return answer.get("Error", {}).get("Code", "OK"), json.dumps(answer)


async def check_lists(service: RealService, scene: Scene, secrets: Sequence[str]) -> None:
    """See that what the receiver is told without naming anything has none of these."""
    for name in (name for of in SERVICES for name in of.actions if name.startswith(("Describe", "Get"))):
        _code, text = await code_of(service, name, scene.receiver)
        assert not [secret for secret in secrets if secret in text], (name, text)


async def check_every_action(service: RealService, scene: Scene) -> None:
    expected = table(scene)
    actions = {name: action for of in SERVICES for name, action in of.actions.items()}
    assert set(expected) == set(actions)
    await check_lists(service, scene, [*scene.secrets, scene.snapshot, scene.disk])
    # The disk comes last: what it was made from is the receiver's to know, and its operations name it.
    for name, (what, parameters) in sorted(expected.items(), key=lambda one: one[1][0] == MADE):
        fields = {field.encode_name for field in msgspec.structs.fields(actions[name])}
        if what == UNNAMED:
            assert not may_name_a_snapshot(dict.fromkeys(fields)), name
            continue
        code, text = await code_of(service, name, scene.receiver, **parameters)
        assert code == (NOTHING if what in {SHOWN, MADE} else what), (name, text)
        # A refusal says again what the call itself has named.
        asked = json.dumps(parameters)
        assert not [secret for secret in scene.secrets if secret in text and secret not in asked], (name, text)
        if what == NOTHING:
            assert scene.snapshot not in text, (name, text)
    # An administrator may do more with what is its own, and no more with what it receives.
    await share(service, scene.owner, scene.snapshot, service.admin, "SHARE")
    for name in ("ExportSnapshot", "ProveSnapshot", "DescribeSnapshotDifference", "DescribeSnapshotSpace"):
        given = expected[name][1]
        if "Path" in given:
            given = {**given, "Path": str(service.parts.layout.data.parent / "x.raw")}
        code, _text = await code_of(service, name, service.admin, **given)
        assert code == NO_SNAPSHOT, name
    await share(service, scene.owner, scene.snapshot, service.admin, "CANCEL")
    await rest(service, scene.receiver)
    said = json.dumps([parameters for _, parameters in expected.values()])
    await check_lists(service, scene, [secret for secret in scene.secrets if secret not in said])
    after = await service.call("DescribeSnapshots", account=scene.owner, SnapshotIds=[scene.snapshot])
    (kept,) = after["SnapshotSet"]
    assert (kept["SnapshotName"], kept["ShareReference"]) == ("monday", 2)
    assert kept["TimeStartShare"] == kept["CreateTime"].partition(" ")[0]


async def check_its_end(service: RealService, scene: Scene) -> None:
    new = {**NEW_DISK, "SnapshotId": scene.snapshot}
    shown = await service.call("DescribeSnapshots", account=scene.receiver, Filters=[SHARED])
    (one,) = shown["SnapshotSet"]
    assert (one["SnapshotType"], one["Tags"], one["ShareReference"]) == ("SHARED_SNAPSHOT", [], 0)
    (disk,) = (await service.call("CreateDisks", account=scene.receiver, **new))["DiskIdSet"]
    await share(service, scene.owner, scene.snapshot, scene.receiver, "CANCEL")
    assert (await code_of(service, "CreateDisks", scene.receiver, **new))[0] == NO_SNAPSHOT
    assert (await service.call("DescribeSnapshots", account=scene.receiver, Filters=[SHARED]))["TotalCount"] == 0
    deletion = {"SnapshotIds": [scene.snapshot]}
    assert (await code_of(service, "DeleteSnapshots", scene.owner, **deletion))[0] == (
        "UnsupportedOperation.SnapHasShared"
    )
    await share(service, scene.owner, scene.snapshot, scene.stranger, "CANCEL")
    # What was begun is filled to its end, though the snapshot is deleted meanwhile.
    await service.call("DeleteSnapshots", account=scene.owner, **deletion)
    await rest(service, scene.receiver)
    row = await service.parts.db.read(lambda conn: disks.get(conn, DiskId(disk)))
    assert row is not None
    assert not row.hydrating
    # S342: no snapshot of an account builds on one of another's.
    assert (row.base_snapshot_id, row.tracking) == (None, TrackingState.LOST)
    assert (await code_of(service, "InitializeDisks", scene.receiver, DiskIds=[disk]))[0] == (
        "InvalidDisk.NotSupported"
    )
    taken = (await service.call("CreateSnapshot", account=scene.receiver, DiskId=disk))["SnapshotId"]
    await rest(service, scene.receiver)
    (record,) = (await service.call("DescribeSnapshotRecords", account=scene.receiver, SnapshotIds=[taken]))[
        "SnapshotRecordSet"
    ]
    assert (record["Tracking"], record["ParentSnapshotId"]) == ("full", None)
    assert scene.other not in json.dumps(
        await service.call("DescribeDiskDetails", account=scene.receiver, DiskIds=[disk])
    )


async def _played(data: Path) -> None:
    async with real_service(data) as service:
        scene = await stage(service)
        await check_every_action(service, scene)
        await check_its_end(service, scene)


def test_a_receiver_can_make_a_disk_and_nothing_else_until_sharing_ends(tmp_path: Path) -> None:
    """S341, S342."""
    asyncio.run(_played(tmp_path / "d"))
