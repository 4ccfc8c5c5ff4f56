"""Both services over fake use cases: what reaches a use case, and every field that comes back."""

import asyncio
import itertools
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import tccli
from prometheus_client import CollectorRegistry

from drystone.api.app import Application, build_application
from drystone.api.cbs.service import NOT_SERVED
from drystone.api.description import description
from drystone.api.refusals import WireError
from drystone.api.services import SERVICES
from drystone.api.settings import ApiSettings
from drystone.domain.policy import Retention, Spread, Trigger
from drystone.domain.quiesce import Step, StepKind
from drystone.service.calls.metrics import InstallationCollector
from drystone.service.requests import (
    ConfigQuery,
    DiskChanges,
    DiskQuery,
    GroupRollback,
    NewDisks,
    NewPolicy,
    NewSnapshot,
    NewSnapshotGroup,
    OperationQuery,
    PolicyChanges,
    PolicyOptions,
    SimulationQuery,
    SnapshotChanges,
    SnapshotGroupQuery,
    SnapshotQuery,
)
from tests.api.asgi import ACCOUNT, request_ids, send_signed
from tests.api.fakes import DISK, GROUP, OPERATION, POLICY, SNAPSHOT, ZONE, FakeUseCases
from tests.api.real_service import by_action
from tests.api.signing import NOW_S, REGION, SECRET_ID, sdk_request

APIS: Mapping[str, Mapping[str, Any]] = {
    service.name: json.loads(file.read_text(encoding="utf-8"))
    for service in SERVICES
    for file in Path(tccli.__file__).parent.glob(
        f"services/{service.name}/v{service.version.replace('-', '')}/api.json"
    )
}
"""The official descriptions: of all services but the second."""
Call = Callable[..., Mapping[str, Any]]


@pytest.fixture
def fake() -> FakeUseCases:
    return FakeUseCases()


@pytest.fixture
def app(fake: FakeUseCases) -> Application:
    ticks = itertools.count()
    return build_application(
        fake.typed,
        settings=ApiSettings(region=REGION, rate_limits=False),
        clock=lambda: NOW_S,
        steady=lambda: NOW_S,
        monotonic=lambda: float(next(ticks)),
        request_id=request_ids(),
        registry=CollectorRegistry(),
    )


@pytest.fixture
def call(app: Application, monkeypatch: pytest.MonkeyPatch) -> Call:
    def send(action: str, **params: object) -> Mapping[str, Any]:
        service = by_action(SERVICES)[action]
        name = action.rpartition(" ")[2]
        request = sdk_request(
            monkeypatch, action=name, params=params, service=service.name, version=service.version
        )  # fmt: skip
        answer = asyncio.run(send_signed(app, request))
        response = dict(answer.response)
        assert "Error" not in response, response
        del response["RequestId"]
        return response

    return send


SECOND_SERVICE: Mapping[str, Mapping[str, object]] = {
    "AuditDisk": {"DiskId": DISK.id},
    "CreateAccessKey": {"AccountId": ACCOUNT},
    "CreateAccount": {"AccountName": "owner"},
    "CreateInstance": {"Kind": "NBD", "InstanceName": "vm"},
    "SetAccountQuota": {"AccountId": ACCOUNT, "Disks": 5},
    "CreateKey": {},
    "DeleteKey": {"SecretId": "AKIDnew", "Force": True},
    "DescribeKeys": {},
    "SetAccountPassword": {"AccountName": "owner"},
    "DescribeOverview": {},
    "DescribeQuotas": {},
    "DescribeAuditTrail": {"Filters": [{"Name": "outcome", "Values": ["OK"]}]},
    "DescribeEvents": {"After": 3},
    "AcknowledgeEvents": {"EventIds": ["evt-00000001"]},
    "DescribeHistory": {"Hours": 3},
    "DescribeSnapshotDifference": {"From": "snap-00000000", "To": SNAPSHOT.id},
    "DeleteAccessKey": {"SecretId": "AKIDnew"},
    "DeleteInstance": {"InstanceId": "ins-00000001"},
    "DescribeAccessKeys": {"AccountId": ACCOUNT},
    "DescribeAccounts": {},
    "DescribeDiskDetails": {},
    "DescribeHost": {},
    "DescribeInstances": {},
    "DescribeOperations": {},
    "DescribeOperationHistory": {"OperationId": OPERATION.id},
    "CancelOperation": {"OperationId": OPERATION.id},
    "RetryOperation": {"OperationId": OPERATION.id},
    "DeleteQuiesceProfile": {"ResourceId": DISK.id},
    "DescribeQuiesceProfiles": {},
    "DescribeSnapshotGroupRecords": {},
    "SetQuiesceProfile": {"ResourceId": DISK.id, "Steps": [{"Kind": "filesystem", "Mount": "/srv"}]},
    "DescribeSnapshotRecords": {},
    "ProveSnapshot": {"SnapshotId": SNAPSHOT.id},
    "RewriteDisk": {"DiskId": DISK.id},
    "CollectGarbage": {"DryRun": False, "Threshold": 0},
    "DescribeSnapshotSpace": {"SnapshotIds": [SNAPSHOT.id]},
    "DescribeStore": {},
    "DescribeStoreStatus": {},
    "DescribeDiskSpace": {"DiskIds": [DISK.id], "Days": 7, "AllAccounts": False},
    "DescribeProtection": {"Filters": [{"Name": "protected", "Values": ["false"]}]},
    "DescribeStoreHealth": {},
    "DescribePolicyDetails": {},
    "DescribePolicyRuns": {"Filters": [{"Name": "state", "Values": ["failed"]}]},
    "DescribePolicySimulation": {"PolicyId": POLICY.id, "Days": 1},
    "SetPolicyOptions": {"PolicyId": POLICY.id, "RetentionAmount": 5},
    "ScrubStore": {},
    "ConfirmClock": {},
    "ConfirmStore": {},
    "ExportSnapshot": {"SnapshotId": SNAPSHOT.id, "Path": "/x.raw"},
    "ImportDisk": {
        "Path": "/x.qcow2",
        "Format": "qcow2",
        "DiskName": "n",
        "DiskType": "CLOUD_SSD",
        "DiskSize": 20,
        "Force": False,
    },
}
WEEKLY = {"Hour": [12, 0], "DayOfWeek": [6, 5]}
CBS: Mapping[str, Mapping[str, object]] = {
    "BindAutoSnapshotPolicy": {"AutoSnapshotPolicyId": POLICY.id, "DiskIds": [DISK.id]},
    "CopyAutoSnapshotPolicyCrossAccount": {"AutoSnapshotPolicyIds": [POLICY.id], "TargetAccountUin": ACCOUNT},
    "CreateAutoSnapshotPolicy": {"Policy": [WEEKLY]},
    "DeleteAutoSnapshotPolicies": {"AutoSnapshotPolicyIds": [POLICY.id]},
    "DescribeAutoSnapshotPolicies": {},
    "DescribeDiskAssociatedAutoSnapshotPolicy": {"DiskId": DISK.id},
    "ModifyAutoSnapshotPolicyAttribute": {"AutoSnapshotPolicyId": POLICY.id, "IsActivated": False},
    "UnbindAutoSnapshotPolicy": {"AutoSnapshotPolicyId": POLICY.id, "DiskIds": [DISK.id]},
    "ApplyDiskBackup": {"DiskBackupId": "dbp-00000001", "DiskId": DISK.id},
    "ApplySnapshot": {"SnapshotId": SNAPSHOT.id, "DiskId": DISK.id},
    "ApplySnapshotGroup": {
        "SnapshotGroupId": GROUP.id,
        "ApplyDisks": [{"SnapshotId": SNAPSHOT.id, "DiskId": DISK.id}],
    },
    "AttachDisks": {"InstanceId": "ins-00000001", "DiskIds": [DISK.id], "InstanceType": "eks"},
    "CopySnapshotCrossRegions": {"SnapshotId": SNAPSHOT.id, "DestinationRegions": ["ap-x"]},
    "CreateDiskBackup": {"DiskId": DISK.id},
    "CreateDisks": {"Placement": {"Zone": ZONE}, "DiskChargeType": "POSTPAID_BY_HOUR", "DiskType": "CLOUD_SSD"},
    "CreateSnapshot": {"DiskId": DISK.id},
    "CreateSnapshotGroup": {"DiskIds": [DISK.id]},
    "DeleteDiskBackups": {"DiskBackupIds": ["dbp-00000001"]},
    "DeleteSnapshotGroup": {"SnapshotGroupId": GROUP.id},
    "DeleteSnapshots": {"SnapshotIds": [SNAPSHOT.id]},
    "DescribeDedicatedClusterDiskStatistics": {"DedicatedClusterId": "cluster-1"},
    "DescribeDiskBackups": {},
    "DescribeDiskConfigQuota": {"InquiryType": "INQUIRY_CBS_CONFIG"},
    "DescribeDiskStoragePool": {},
    "DescribeRemoteDiskConfigQuota": {},
    "DescribeRemoteDisks": {},
    "DescribeRemoteDisksDeniedActions": {"RemoteDiskIds": ["rdisk-1"]},
    "DescribeDisks": {},
    "DescribeInstancesDiskNum": {"InstanceIds": ["ins-00000001"]},
    "DescribeSnapshotGroups": {},
    "DescribeSnapshotOverview": {},
    "DescribeSnapshotSharePermission": {"SnapshotId": SNAPSHOT.id},
    "DescribeSnapshots": {},
    "DetachDisks": {"DiskIds": [DISK.id]},
    "GetSnapOverview": {},
    "InitializeDisks": {"DiskIds": [DISK.id]},
    "InquirePriceModifyDiskBackupQuota": {"DiskId": DISK.id, "DiskBackupQuota": 2},
    "InquirePriceModifyDiskExtraPerformance": {"DiskId": DISK.id, "ThroughputPerformance": 10},
    "InquiryPriceCreateDisks": {"DiskChargeType": "POSTPAID_BY_HOUR", "DiskType": "CLOUD_SSD", "DiskSize": 20},
    "InquiryPriceRenewDisks": {"DiskIds": [DISK.id], "DiskChargePrepaids": [{"Period": 1}]},
    "InquiryPriceResizeDisk": {"DiskId": DISK.id, "DiskSize": 30},
    "ModifyDiskAttributes": {"DiskIds": [DISK.id]},
    "ModifyDiskBackupQuota": {"DiskId": DISK.id, "DiskBackupQuota": 2},
    "ModifyDiskExtraPerformance": {"DiskId": DISK.id, "ThroughputPerformance": 10},
    "ModifyDisksChargeType": {"DiskIds": [DISK.id], "DiskChargePostpaid": True},
    "ModifyDisksRenewFlag": {"DiskIds": [DISK.id], "RenewFlag": "NOTIFY_AND_AUTO_RENEW"},
    "ModifySnapshotAttribute": {"SnapshotId": SNAPSHOT.id},
    "ModifySnapshotsSharePermission": {
        "SnapshotIds": [SNAPSHOT.id],
        "AccountIds": ["100000000002"],
        "Permission": "SHARE",
    },
    "RenewDisk": {"DiskId": DISK.id, "DiskChargePrepaid": {"Period": 1}},
    "ResizeDisk": {"DiskId": DISK.id, "DiskSize": 30},
    "TerminateDisks": {"DiskIds": [DISK.id]},
}

DISK_NAME = f"qcs::cvm:{REGION}:uin/:volume/{DISK.id}"
NEIGHBOURS: Mapping[str, Mapping[str, object]] = {
    "CreateTag": {"TagKey": "team", "TagValue": "red"},
    "DeleteTag": {"TagKey": "team", "TagValue": "red"},
    "DescribeResourceTagsByResourceIds": {
        "ServiceType": "cvm", "ResourcePrefix": "volume", "ResourceIds": [DISK.id], "ResourceRegion": REGION,
    },
    "DescribeTagKeys": {},
    "DescribeTagValues": {"TagKeys": ["team"]},
    "GetResources": {},
    "GetTags": {},
    "ModifyResourceTags": {"Resource": DISK_NAME, "DeleteTags": [{"TagKey": "team"}]},
    "TagResources": {"ResourceList": [DISK_NAME], "Tags": [{"TagKey": "team", "TagValue": "red"}]},
    "UnTagResources": {"ResourceList": [DISK_NAME], "TagKeys": ["team"]},
    "cvm DescribeInstances": {},
    "DescribeInstancesStatus": {},
    "DescribeRegions": {},
    "DescribeZones": {},
    "GetCallerIdentity": {},
}  # fmt: skip
CALLS: Mapping[str, Mapping[str, object]] = {**CBS, **SECOND_SERVICE, **NEIGHBOURS}
OF_NO_USE_CASE = {"DescribeRegions", "GetCallerIdentity"}
"""What the wire knows by itself."""
CLOCK_SHOWN = {
    "MachineTime": "2026-09-21T14:13:29+00:00", "SteadyTime": "2026-09-21T14:13:20+00:00",
    "DoubtedSince": "2026-09-21T14:13:20+00:00", "ExpiryWaitsSeconds": 2,
}  # fmt: skip
READS = ("Describe", "Get", "Inquir")
OF_THE_WHOLE_STORE = {"ConfirmClock", "ConfirmStore", "ScrubStore", "CreateTag", "DeleteTag"}
"""Changes that are about nothing in particular: all others say in the trail what they touched."""


def test_all_documented_actions_are_known() -> None:
    assert {service.name for service in SERVICES} == {*APIS, "drystone"}
    for service in SERVICES:
        if service.name in APIS:
            assert service.known == set(APIS[service.name]["actions"])
    assert len(APIS["cbs"]["actions"]) == 61
    assert set(by_action(SERVICES)) == set(CALLS)
    for called, service in by_action(SERVICES).items():
        name = called.rpartition(" ")[2]
        action = service.actions[name]
        assert action.__name__ == name
        assert action.changes != name.startswith(READS), name


@pytest.mark.parametrize("action", sorted(CALLS))
def test_each_action_answers_and_changes_are_audited(call: Call, fake: FakeUseCases, action: str) -> None:
    call(action, **CALLS[action])
    name = action.rpartition(" ")[2]
    told = [(caller.account_id, caller.secret_id, caller.action) for caller in fake.calls.callers]
    assert told == ([] if action in OF_NO_USE_CASE else [(ACCOUNT, SECRET_ID, name)])
    rows = [(row[0].action, row[2]) for row in fake.audit.rows]
    assert rows == ([] if name.startswith(READS) else [(name, "OK")])
    assert "secret-of" not in str(fake.audit.rows)
    assert all(row[1] for row in fake.audit.rows) == (action not in OF_THE_WHOLE_STORE)


@pytest.mark.parametrize(
    ("action", "touched"),
    [
        ("ApplySnapshotGroup", f"{GROUP.id} {DISK.id} {SNAPSHOT.id}"),
        ("CreateSnapshotGroup", f"{DISK.id} {GROUP.id}"),
        ("DeleteSnapshotGroup", GROUP.id),
        ("CreateDiskBackup", f"{DISK.id} dbp-00000001"),
        ("ApplyDiskBackup", f"{DISK.id} dbp-00000001"),
        ("DeleteDiskBackups", "dbp-00000001"),
        ("ModifySnapshotsSharePermission", f"{SNAPSHOT.id} 100000000002"),
        ("SetQuiesceProfile", DISK.id),
        ("ExportSnapshot", f"{SNAPSHOT.id} /x.raw op-00000003"),
        ("ImportDisk", f"/x.qcow2 {DISK.id} op-00000004"),
        ("ModifyResourceTags", DISK.id),
        ("TagResources", DISK.id),
        ("UnTagResources", DISK.id),
    ],
)
def test_the_trail_says_what_was_touched(call: Call, fake: FakeUseCases, action: str, touched: str) -> None:
    call(action, **CALLS[action])
    assert [row[1].split() for row in fake.audit.rows] == [touched.split()]


@pytest.mark.parametrize("action", sorted({**CBS, **NEIGHBOURS}))
def test_answers_have_the_documented_fields(call: Call, action: str) -> None:
    response = call(action, **CALLS[action])
    objects, name = APIS[by_action(SERVICES)[action].name]["objects"], action.rpartition(" ")[2]
    documented = {member["name"] for member in objects[f"{name}Response"]["members"]} - {"RequestId"}
    assert set(response) - {"DeprecatedWarning"} == documented


DESCRIPTION: Mapping[str, Any] = json.loads(json.dumps(description(SERVICES)))
ANSWERS = {
    (service["name"], action["name"]): action["answer"]
    for service in DESCRIPTION["services"]
    for action in service["actions"]
}
DESCRIBED: Mapping[str, type | tuple[type, ...]] = {
    "string": str, "integer": int, "number": (int, float), "boolean": bool,
}  # fmt: skip


def check_described(fields: list[Mapping[str, Any]], value: Mapping[str, Any]) -> None:
    assert [field["name"] for field in fields] == list(value)
    for field in fields:
        found = value[field["name"]]
        if found is None:
            assert field.get("nullable") or field["type"] == "any", field
            continue
        assert isinstance(found, list) == bool(field.get("list")), field
        for one in found if isinstance(found, list) else [found]:
            if field["type"] in DESCRIPTION["structures"]:
                check_described(DESCRIPTION["structures"][field["type"]], one)
            elif field["type"] != "any":
                assert isinstance(one, DESCRIBED[field["type"]]), field
                assert isinstance(one, bool) == (field["type"] == "boolean"), field
                assert one in field.get("enum", [one]), field


@pytest.mark.parametrize("action", sorted(CALLS))
def test_answers_are_as_the_description_says(call: Call, action: str) -> None:
    described = ANSWERS[by_action(SERVICES)[action].name, action.rpartition(" ")[2]]
    check_described(described, call(action, **CALLS[action]))


def test_the_description_that_clients_are_made_of_is_this_one() -> None:
    committed = Path(__file__).resolve().parents[2] / "console/api.json"
    assert json.loads(committed.read_text()) == DESCRIPTION, "run ./dev docs"


ABSENT = {("Instance", "GPUInfo")}
TYPES: Mapping[str, type | tuple[type, ...]] = {
    "int": int,
    "bool": bool,
    "string": str,
    "float": float,
    "list": list,
    "object": dict,
}


def check_object(name: str, value: Mapping[str, Any], service: str = "cbs") -> None:
    objects = APIS[service]["objects"]
    members = {member["name"]: member for member in objects[name]["members"]}
    assert set(value) == {member for member in members if (name, member) not in ABSENT}, name
    for field, member in members.items():
        if (name, field) in ABSENT:
            assert not member.get("output_required"), field
            continue
        if value[field] is None:
            assert member.get("value_allowed_null"), (name, field)
            continue
        assert isinstance(value[field], TYPES[member["type"]]), (name, field)
        assert not (member["type"] == "int" and isinstance(value[field], bool)), (name, field)
        if member["type"] == "object":
            check_object(member["member"], value[field], service)
        if member["type"] == "list" and member["member"] in objects:
            for item in value[field]:
                check_object(member["member"], item, service)


def test_every_field_of_every_object_is_there_with_its_type(call: Call) -> None:
    check_object("Disk", call("DescribeDisks")["DiskSet"][0])
    check_object("Disk", call("DescribeDisks", ReturnBindAutoSnapshotPolicy=True)["DiskSet"][0])
    check_object("Snapshot", call("DescribeSnapshots")["SnapshotSet"][0])
    check_object("AutoSnapshotPolicy", call("DescribeAutoSnapshotPolicies")["AutoSnapshotPolicySet"][0])
    check_object("DiskBackup", call("DescribeDiskBackups")["DiskBackupSet"][0])
    check_object("SharePermission", call("DescribeSnapshotSharePermission", SnapshotId="s")["SharePermissionSet"][0])
    check_object("SnapshotGroup", call("DescribeSnapshotGroups")["SnapshotGroupSet"][0])
    check_object("DiskConfig", call("DescribeDiskConfigQuota", InquiryType="x")["DiskConfigSet"][0])
    check_object("AttachDetail", call("DescribeInstancesDiskNum", InstanceIds=["x"])["AttachDetail"][0])
    check_object("Instance", call("cvm DescribeInstances")["InstanceSet"][0], "cvm")
    check_object("InstanceStatus", call("DescribeInstancesStatus")["InstanceStatusSet"][0], "cvm")
    check_object("ZoneInfo", call("DescribeZones")["ZoneSet"][0], "cvm")
    check_object("RegionInfo", call("DescribeRegions")["RegionSet"][0], "cvm")
    action = "DescribeResourceTagsByResourceIds"
    check_object("TagResource", call(action, **NEIGHBOURS[action])["Tags"][0], "tag")
    check_object("ResourceTagMapping", call("GetResources")["ResourceTagMappingList"][0], "tag")
    check_object("Tag", call("GetTags")["Tags"][0], "tag")


def test_prices_are_nothing_in_the_documented_form(call: Call) -> None:
    for action in (name for name in CBS if name.startswith("Inquir")):
        (kind,) = (
            one["member"] for one in APIS["cbs"]["objects"][f"{action}Response"]["members"] if one["type"] == "object"
        )
        price = call(action, **CBS[action])["DiskPrice"]
        check_object(kind, price)
        of_prepaid = action == "InquiryPriceRenewDisks"
        assert price["OriginalPrice"] == (0.0 if of_prepaid else None)
        assert price["UnitPriceHigh"] == (None if of_prepaid else "0")
        assert price["ChargeUnit"] == (None if of_prepaid else "HOUR")


def test_a_disk_is_rendered_as_documented(call: Call) -> None:
    response = call("DescribeDisks")
    assert response["TotalCount"] == 1
    assert response["DiskSet"] == [
        {
            "DiskId": "disk-00000001",
            "DiskName": "data 中文",
            "DiskState": "ATTACHED",
            "DiskSize": 20,
            "DiskType": "CLOUD_SSD",
            "DiskUsage": "DATA_DISK",
            "DiskChargeType": "POSTPAID_BY_HOUR",
            "Placement": {
                "Zone": ZONE,
                "ProjectId": 7,
                "ProjectName": "",
                "CageId": "",
                "CdcId": "",
                "CdcName": "",
                "DedicatedClusterId": "",
            },
            "Portable": True,
            "Shareable": False,
            "Attached": True,
            "InstanceId": "ins-00000001",
            "InstanceIdList": [],
            "InstanceType": "CVM",
            "LastAttachInsId": "ins-00000001",
            "AttachMode": "PF",
            "DeleteWithInstance": False,
            "DeleteSnapshot": 1,
            "SnapshotAbility": True,
            "SnapshotCount": 2,
            "SnapshotSize": 2,
            "AutoSnapshotPolicyIds": None,
            "Rollbacking": False,
            "RollbackPercent": 100,
            "Migrating": False,
            "MigratePercent": 100,
            "Encrypt": False,
            "EncryptType": "",
            "KmsKeyId": "",
            "Tags": [{"Key": "team", "Value": "storage"}],
            "ThroughputPerformance": 0,
            "BurstPerformance": False,
            "BackupDisk": False,
            "DiskBackupQuota": 0,
            "DiskBackupCount": 0,
            "RenewFlag": "NOTIFY_AND_MANUAL_RENEW",
            "AutoRenewFlagError": False,
            "DeadlineTime": "",
            "DeadlineError": False,
            "DifferDaysOfDeadline": None,
            "IsReturnable": False,
            "ReturnFailCode": 10,
            "CreateTime": "2018-09-26 17:36:07",
            "ErrorPrompt": "",
        }
    ]


def test_a_snapshot_is_rendered_as_documented(call: Call) -> None:
    assert call("DescribeSnapshots")["SnapshotSet"] == [
        {
            "SnapshotId": "snap-00000001",
            "SnapshotName": "first",
            "SnapshotState": "NORMAL",
            "SnapshotType": "PRIVATE_SNAPSHOT",
            "SnapshotMode": "STANDARD_SNAPSHOT",
            "Percent": 100,
            "DiskId": "disk-00000001",
            "DiskSize": 20,
            "DiskUsage": "DATA_DISK",
            "Placement": {
                "Zone": ZONE,
                "ProjectId": 0,
                "ProjectName": "",
                "CageId": "",
                "CdcId": "",
                "CdcName": "",
                "DedicatedClusterId": "",
            },
            "IsPermanent": False,
            "DeadlineTime": "2018-09-27 17:36:07",
            "CreateTime": "2018-09-26 17:36:07",
            "LatestModifyTime": "2022-04-02T17:44:55+00:00",
            "IsLocked": False,
            "Encrypt": False,
            "CopyFromRemote": False,
            "CopyingToRegions": [],
            "ShareReference": 0,
            "TimeStartShare": "",
            "Images": [],
            "ImageCount": 0,
            "AutoSnapshotPolicyId": "",
            "Tags": [{"Key": "team", "Value": "storage"}],
        }
    ]


def test_a_policy_is_rendered_as_documented(call: Call) -> None:
    """Its lists are in the order in which they were sent: Terraform compares them so."""
    expected = {
        "DiskIdSet": [DISK.id], "IsActivated": True, "AutoSnapshotPolicyState": "NORMAL", "IsCopyToRemote": 0,
        "IsPermanent": False, "NextTriggerTime": "2018-09-27 00:00:00", "AutoSnapshotPolicyName": "nightly",
        "AutoSnapshotPolicyId": POLICY.id,
        "Policy": [{"Hour": [12, 0], "DayOfWeek": [6, 5], "DayOfMonth": [], "IntervalDays": 0}],
        "CreateTime": "2018-09-26 17:36:07", "RetentionDays": 0, "CopyToAccountUin": None, "InstanceIdSet": [],
        "RetentionMonths": 0, "RetentionAmount": 0,
        "AdvancedRetentionPolicy": {"Days": 7, "Weeks": 4, "Months": 0, "Years": 0},
        "CopyFromAccountUin": "100000000009", "Tags": [{"Key": "team", "Value": "storage"}],
    }  # fmt: skip
    assert call("DescribeAutoSnapshotPolicies") == {"TotalCount": 1, "AutoSnapshotPolicySet": [expected]}
    of_disk = call("DescribeDiskAssociatedAutoSnapshotPolicy", DiskId=DISK.id)["AutoSnapshotPolicySet"]
    assert of_disk == [expected | {"DiskIdSet": []}]
    created = call("CreateAutoSnapshotPolicy", Policy=[WEEKLY], DryRun=True)
    assert created == {"AutoSnapshotPolicyId": POLICY.id, "NextTriggerTime": "2018-09-27 00:00:00"}


def test_what_reaches_the_policy_use_cases(call: Call, fake: FakeUseCases) -> None:
    given = [{"Hour": [1], "DayOfMonth": [31], "IntervalDays": 2}, {"Hour": [0], "IntervalDays": 3}]
    triggers = (Trigger(hours=(1,), days_of_month=(31,)), Trigger(hours=(0,), interval_days=3))
    call(
        "CreateAutoSnapshotPolicy", Policy=given, DryRun=True, IsActivated=False, AutoSnapshotPolicyName="n",
        IsPermanent=True, RetentionDays=3,
    )  # fmt: skip
    call("CreateAutoSnapshotPolicy", Policy=given)
    call("ModifyAutoSnapshotPolicyAttribute", AutoSnapshotPolicyId="a", Policy=given, IsPermanent=False)
    call("UnbindAutoSnapshotPolicy", AutoSnapshotPolicyId="a", InstanceIds=["i"])
    spread = {"Days": 1, "Years": 2}
    call("SetPolicyOptions", PolicyId="a", TimeZone="UTC", AdvancedRetentionPolicy=spread, Group=True)
    call("SetPolicyOptions", PolicyId="a", SkipUnchanged=False)
    call("DescribePolicySimulation", Policy=given, Days=9, IsPermanent=True)
    assert [(name, *args) for name, args, _ in fake.calls.seen] == [
        ("policies.create", NewPolicy(
            triggers=triggers, name="n", active=False, permanent=True, retention_days=3, dry_run=True
        )),
        ("policies.create", NewPolicy(triggers=triggers)),
        ("policies.modify", PolicyChanges(policy_id="a", triggers=triggers, permanent=False)),
        ("policies.unbind", "a", (), ("i",)),
        ("policies.set_options", PolicyOptions(
            policy_id="a", zone="UTC", retention=Retention(spread=Spread(days=1, years=2)), group=True
        )),
        ("policies.set_options", PolicyOptions(policy_id="a", skip_unchanged=False)),
        ("policies.simulate", SimulationQuery(triggers=triggers, retention=Retention(permanent=True), days=9)),
    ]  # fmt: skip


def test_what_reaches_the_disk_use_cases(call: Call, fake: FakeUseCases) -> None:
    created = call(
        "CreateDisks",
        Placement={"Zone": ZONE, "ProjectId": 7, "CdcId": "cdc-1", "CageId": ""},
        DiskChargeType="PREPAID",
        DiskType="CLOUD_HSSD",
        DiskName="d",
        Tags=[{"Key": "a", "Value": "b"}],
        SnapshotId="snap-00000001",
        DiskCount=3,
        ThroughputPerformance=10,
        KmsKeyId="k",
        DiskSize=500,
        Shareable=True,
        ClientToken="t",
        Encrypt="ENCRYPT",
        DiskChargePrepaid={"Period": 12, "RenewFlag": "NOTIFY_AND_AUTO_RENEW"},
        DeleteSnapshot=1,
        AutoMountConfiguration={"InstanceId": ["ins-00000001"]},
        DiskBackupQuota=2,
        BurstPerformance=True,
        EncryptType="ENCRYPT_V2",
    )
    assert created == {"DiskIdSet": ["disk-00000001", "disk-00000002"]}
    assert fake.audit.rows[0][1] == "snap-00000001 disk-00000001 disk-00000002"
    call("CreateDisks", **CBS["CreateDisks"])
    call("ResizeDisk", DiskId=DISK.id, DiskSize=30)
    call("TerminateDisks", DiskIds=["a", "b"], DeleteSnapshot=1)
    call("AttachDisks", InstanceId="i", DiskIds=["a"], DeleteWithInstance=True, AttachMode="VF")
    call("DetachDisks", DiskIds=["a"], InstanceId="i")
    call("InitializeDisks", DiskIds=["a"])
    full = NewDisks(
        zone=ZONE,
        project_id=7,
        charge_type="PREPAID",
        disk_type="CLOUD_HSSD",
        size_gib=500,
        snapshot_id="snap-00000001",
        count=3,
        name="d",
        tags=(("a", "b"),),
        client_token="t",
        throughput_performance=10,
        burst_performance=True,
        shareable=True,
        encrypt="ENCRYPT",
        kms_key_id="k",
        encrypt_type="ENCRYPT_V2",
        delete_snapshot=1,
        backup_quota=2,
        renew_flag="NOTIFY_AND_AUTO_RENEW",
        prepaid_period=12,
        auto_mount_instance="ins-00000001",
        placement_extra=(("CdcId", "cdc-1"),),
    )
    least = NewDisks(zone=ZONE, charge_type="POSTPAID_BY_HOUR", disk_type="CLOUD_SSD")
    assert fake.calls.seen == [
        ("disks.create", (full,), {}),
        ("disks.create", (least,), {}),
        ("disks.resize", (DISK.id, 30), {}),
        ("disks.terminate", (("a", "b"),), {"delete_snapshot": 1}),
        ("disks.attach", ("i", ("a",)), {"delete_with_instance": True, "attach_mode": "VF"}),
        ("disks.detach", (("a",), "i"), {}),
        ("disks.initialize", (("a",),), {}),
    ]


def test_what_reaches_the_charges(call: Call, fake: FakeUseCases) -> None:
    prepaid = {"Period": 2, "RenewFlag": "NOTIFY_AND_AUTO_RENEW"}
    call("ModifyDisksChargeType", DiskIds=["a", "b"], DiskChargePrepaid=prepaid)
    call("ModifyDisksChargeType", DiskIds=["a"], DiskChargePostpaid=True)
    call("ModifyDisksRenewFlag", DiskIds=["a"], RenewFlag="f", AutoRenewPeriod=3)
    call("RenewDisk", DiskId="a", DiskChargePrepaid={"Period": 1, "CurInstanceDeadline": "2026-12-01 00:00:00"})
    call("InquiryPriceResizeDisk", DiskIds=["a", "b"], DiskSize=30)
    call("InquiryPriceResizeDisk", DiskId="a", DiskIds=["b"], DiskSize=30)
    call("InquiryPriceRenewDisks", DiskIds=["a"], NewDeadline="2026-12-01 00:00:00")
    call("ModifyDiskExtraPerformance", DiskId="a", ThroughputPerformance=0)
    flag = "NOTIFY_AND_AUTO_RENEW"
    assert fake.calls.seen == [
        ("disk_charges.change_type", (("a", "b"),), {"months": 2, "renew_flag": flag, "postpaid": False}),
        ("disk_charges.change_type", (("a",),), {"months": None, "renew_flag": None, "postpaid": True}),
        ("disk_charges.set_renew_flag", (("a",), "f", 3), {}),
        ("disk_charges.renew", ("a",), {"months": 1, "renew_flag": None, "aligned": True}),
        ("disk_charges.price_of_resizing", (("a", "b"), 30), {"given_twice": False}),
        ("disk_charges.price_of_resizing", (("a",), 30), {"given_twice": True}),
        ("disk_charges.price_of_renewal", (("a",), None), {"another_deadline": True}),
        ("disk_records.modify_throughput", ("a", 0), {}),
    ]


def test_what_reaches_the_records(call: Call, fake: FakeUseCases) -> None:
    page = {"Offset": 40, "Limit": 7}
    filters = [{"Name": "disk-name", "Values": ["a", "b"]}, {"Name": "zone", "Values": []}]
    expected = (("disk-name", ("a", "b")), ("zone", ()))
    order = {"Order": "ASC", "OrderField": "CREATE_TIME"}
    call("DescribeDisks", DiskIds=["a"], Filters=filters, ReturnBindAutoSnapshotPolicy=True, **order, **page)
    call("DescribeDisks")
    call("DescribeDisks", Limit=0)
    call("ModifyDiskAttributes", DiskIds=["a"], DiskName="n", Portable=True, ProjectId=0, DeleteWithInstance=False)
    call("ModifyDiskAttributes", DiskIds=["a"], DiskType="CLOUD_SSD", BurstPerformanceOperation="CREATE")
    call(
        "DescribeDiskConfigQuota", InquiryType="INQUIRY_CVM_CONFIG", DiskChargeType="PREPAID", InstanceFamilies=["f"],
        DiskTypes=["t"], Zones=["z"], Memory=4, DiskUsage="DATA_DISK", CPU=2, DedicatedClusterId="c",
    )  # fmt: skip
    call("DescribeInstancesDiskNum", InstanceIds=["i"])
    call("DescribeSnapshots", SnapshotIds=["s"], Filters=filters, **order, **page)
    call("ModifySnapshotAttribute", SnapshotId="s", IsPermanent=False, SnapshotName="", Deadline="2026-12-01T00:00Z")
    assert fake.calls.seen == [
        (
            "disk_records.describe",
            (
                DiskQuery(
                    disk_ids=("a",),
                    filters=expected,
                    order="ASC",
                    order_field="CREATE_TIME",
                    offset=40,
                    limit=7,
                    with_policies=True,
                ),
            ),
            {},
        ),
        ("disk_records.describe", (DiskQuery(),), {}),
        ("disk_records.describe", (DiskQuery(limit=0),), {}),
        (
            "disk_records.modify",
            (DiskChanges(disk_ids=("a",), name="n", portable=True, project_id=0, delete_with_instance=False),),
            {},
        ),
        (
            "disk_records.modify",
            (DiskChanges(disk_ids=("a",), disk_type="CLOUD_SSD", burst_operation="CREATE"),),
            {},
        ),
        (
            "disk_records.config_quota",
            (
                ConfigQuery(
                    inquiry_type="INQUIRY_CVM_CONFIG",
                    charge_type="PREPAID",
                    instance_families=("f",),
                    disk_types=("t",),
                    zones=("z",),
                    memory=4,
                    cpu=2,
                    usage="DATA_DISK",
                    dedicated_cluster_id="c",
                ),
            ),
            {},
        ),
        ("disk_records.instances_disk_num", (("i",),), {}),
        (
            "snapshot_records.describe",
            (
                SnapshotQuery(
                    snapshot_ids=("s",), filters=expected, order="ASC", order_field="CREATE_TIME", offset=40, limit=7
                ),
            ),
            {},
        ),
        (
            "snapshot_records.modify",
            (SnapshotChanges(snapshot_id="s", permanent=False, name="", deadline="2026-12-01T00:00Z"),),
            {},
        ),
    ]


def test_what_reaches_the_snapshot_use_cases(call: Call, fake: FakeUseCases) -> None:
    made = call(
        "CreateSnapshot", DiskId="d", SnapshotName="n", Deadline="2026-12-01T00:00:00+00:00",
        Tags=[{"Key": "a", "Value": "b"}], LocalSnap=True, DiskUsage="DATA_DISK", DiskBackupId="dbp-1",
    )  # fmt: skip
    assert made == {"SnapshotId": "snap-00000001"}
    call("CreateSnapshot", DiskId="d")
    call("DeleteSnapshots", SnapshotIds=["s", "t"], DeleteBindImages=True)
    call("ApplySnapshot", SnapshotId="s", DiskId="d", AutoStopInstance=True)
    new = NewSnapshot(
        disk_id="d",
        name="n",
        deadline="2026-12-01T00:00:00+00:00",
        disk_backup_id="dbp-1",
        tags=(("a", "b"),),
        local=True,
        usage="DATA_DISK",
    )
    assert fake.calls.seen == [
        ("snapshots.create", (new,), {}),
        ("snapshots.create", (NewSnapshot(disk_id="d"),), {}),
        ("snapshots.delete", (("s", "t"),), {"delete_bind_images": True}),
        ("snapshots.apply", ("s", "d"), {"auto_stop": True, "auto_start": False}),
    ]


def test_what_reaches_the_group_use_cases(call: Call, fake: FakeUseCases) -> None:
    made = call("CreateSnapshotGroup", DiskIds=["d", "e"], SnapshotGroupName="g", Tags=[{"Key": "a", "Value": "b"}])
    assert made == {"SnapshotGroupId": "csnap-00000001"}
    call("CreateSnapshotGroup", DiskIds=["d"])
    call("DescribeSnapshotGroups", Filters=[{"Name": "snapshot-id", "Values": ["s"]}], Offset=3, Limit=0)
    call("DescribeSnapshotGroups")
    call("DeleteSnapshotGroup", SnapshotGroupId="a", SnapshotGroupIds=["b", "a"], DeleteBindImages=True)
    call("DeleteSnapshotGroup", SnapshotGroupIds=["b"])
    call("DeleteSnapshotGroup")
    call(
        "ApplySnapshotGroup", SnapshotGroupId="a", ApplyDisks=[{"SnapshotId": "s", "DiskId": "d"}],
        AutoStopInstance=True,
    )  # fmt: skip
    call("DescribeSnapshotGroupRecords", SnapshotGroupIds=["a"], Limit=5, Offset=1)
    pair = GroupRollback(snapshot_id="s", disk_id="d")
    assert fake.calls.seen == [
        ("snapshot_groups.create", (NewSnapshotGroup(disk_ids=("d", "e"), name="g", tags=(("a", "b"),)),), {}),
        ("snapshot_groups.create", (NewSnapshotGroup(disk_ids=("d",)),), {}),
        (
            "snapshot_groups.describe",
            (SnapshotGroupQuery(filters=(("snapshot-id", ("s",)),), offset=3, limit=0),),
            {},
        ),
        ("snapshot_groups.describe", (SnapshotGroupQuery(),), {}),
        ("snapshot_groups.delete", (("a", "b", "a"),), {"delete_bind_images": True}),
        ("snapshot_groups.delete", (("b",),), {"delete_bind_images": False}),
        ("snapshot_groups.delete", ((),), {"delete_bind_images": False}),
        ("snapshot_groups.apply", ("a", (pair,)), {"auto_stop": True, "auto_start": False}),
        (
            "snapshot_groups.describe",
            (SnapshotGroupQuery(filters=(("snapshot-group-id", ("a",)),), offset=1, limit=5),),
            {},
        ),
    ]


def test_what_reaches_the_quiesce_use_cases(call: Call, fake: FakeUseCases) -> None:
    call(
        "SetQuiesceProfile", ResourceId="d", Mode="prefer", FreezeSecondsMax=3, ProveEveryH=24,
        Steps=[{"Kind": "command", "Freeze": ["/a", "b"], "Thaw": ["/c"], "SecondsMax": 2}],
    )  # fmt: skip
    call("SetQuiesceProfile", ResourceId="d", Steps=[{"Kind": "mariadb", "OptionFile": "/o"}])
    call("DeleteQuiesceProfile", ResourceId="d")
    call("DescribeQuiesceProfiles", Offset=2, Limit=3)
    command = Step(kind=StepKind.COMMAND, freeze=("/a", "b"), thaw=("/c",), seconds_max=2.0)
    assert fake.calls.seen == [
        ("quiescing.set", ("d", "prefer", 3.0, (command,), 24.0), {}),
        ("quiescing.set", ("d", "require", 10.0, (Step(kind=StepKind.MARIADB, option_file="/o"),), None), {}),
        ("quiescing.remove", ("d",), {}),
        ("quiescing.describe", (2, 3), {}),
    ]


def test_a_group_is_rendered_as_documented(call: Call) -> None:
    assert call("DescribeSnapshotGroups") == {
        "TotalCount": 1,
        "SnapshotGroupSet": [
            {
                "SnapshotGroupId": "csnap-00000001", "SnapshotGroupName": "both", "SnapshotGroupType": "NORMAL",
                "SnapshotGroupState": "NORMAL", "Percent": 100, "SnapshotIdSet": ["snap-00000001"],
                "ContainRootSnapshot": False, "IsPermanent": False, "DeadlineTime": "2018-09-27T09:36:07+00:00",
                "AutoSnapshotPolicyId": None, "CreateTime": "2018-09-26T09:36:07+00:00",
                "ModifyTime": "2022-04-02T17:44:55+00:00", "Images": [], "ImageCount": 0,
            }
        ],
    }  # fmt: skip


def test_overview_and_its_deprecated_name(call: Call) -> None:
    fields = {"TotalNums": 13, "TotalSize": 92.45, "FreeQuota": 50.0, "RealTradeSize": 42.45}
    assert call("DescribeSnapshotOverview") == fields
    deprecated = call("GetSnapOverview")
    assert "DescribeSnapshotOverview" in deprecated["DeprecatedWarning"]
    assert {**fields, **deprecated} == deprecated


RUN_SHOWN = {
    "PolicyId": POLICY.id, "SlotTime": "2018-09-26T16:00:00+00:00", "DiskId": DISK.id, "State": "failed",
    "Reason": "busy", "Detail": "It is.", "LateSeconds": 2, "Missed": 2, "Attempts": 3, "SnapshotId": SNAPSHOT.id,
    "EndedTime": "2018-09-26T16:01:40+00:00",
}  # fmt: skip


def test_the_second_service(call: Call, fake: FakeUseCases) -> None:
    created = "2018-09-26T09:36:07+00:00"
    answers = {name: call(name, **params) for name, params in SECOND_SERVICE.items()}
    assert answers == {
        "AuditDisk": {"SnapshotId": SNAPSHOT.id},
        "DescribeStoreHealth": {
            "PackCount": 3, "PacksDue": 1, "OldestProofTime": "2026-09-21T14:13:20+00:00", "SnapshotCount": 2,
            "SnapshotsDue": 0, "RequestedAt": None, "DamagedSnapshotCount": 1, "SuspectSnapshotCount": 1,
            "SuspectSnapshotIds": [SNAPSHOT.id],
            "DamageSet": [
                {
                    "SnapshotId": SNAPSHOT.id, "Object": "s/packs/a/b.c", "Kind": "pack",
                    "Reason": "frame 1 does not match", "FoundAt": "2026-09-21T14:13:20+00:00", "BlockCount": 3,
                    "BlockRanges": [[5, 8]],
                }
            ],
        },
        "CollectGarbage": {
            "OperationId": "op-00000001", "Threshold": 0, "PackCount": 1, "PackBytes": 8, "DeadBytes": 2,
        },
        "DescribeSnapshotSpace": {
            "SnapshotSpaceSet": [{"SnapshotId": SNAPSHOT.id, "UniqueBytes": 3, "SharedBytes": 4}],
            "DeadBytes": 3, "ReclaimableBytes": 2,
        },
        "DescribeDiskSpace": {
            "TotalCount": 1,
            "DiskSpaceSet": [{
                "DiskId": DISK.id, "DiskName": DISK.name, "AccountId": DISK.account_id, "StoredBytes": 9,
                "DaySet": [{"Day": "2026-09-21", "StoredBytes": 8}],
            }],
        },
        "SetPolicyOptions": {},
        "DescribePolicyRuns": {"TotalCount": 1, "PolicyRunSet": [RUN_SHOWN]},
        "DescribePolicyDetails": {
            "TotalCount": 1,
            "PolicyDetailSet": [{
                "PolicyId": POLICY.id, "PolicyName": "nightly", "Active": True, "TimeZone": "+08:00",
                "Triggers": [{"Hour": [12, 0], "DayOfWeek": [6, 5], "DayOfMonth": [], "IntervalDays": 0}],
                "IsPermanent": False, "RetentionDays": None, "RetentionMonths": None, "RetentionAmount": None,
                "AdvancedRetentionPolicy": {"Days": 7, "Weeks": 4, "Months": 0, "Years": 0},
                "Group": True, "SkipUnchanged": True, "CopiedFrom": "100000000009", "DiskIds": [DISK.id],
                "NextTimes": ["2018-09-26T16:00:00+00:00"], "LastRuns": [RUN_SHOWN],
                "CreateTime": created, "ModifyTime": "2018-09-26T09:36:08+00:00",
            }],
        },
        "DescribePolicySimulation": {
            "TimeZone": "+08:00",
            "SimulatedPolicyDaySet": [{
                "Date": "2018-09-27", "RunTimes": ["2018-09-26T16:00:00+00:00"],
                "GoneTimes": ["2018-09-25T16:00:00+00:00"], "Kept": 3,
            }],
            "KeptTimes": ["2018-09-26T16:00:00+00:00"],
        },
        "DescribeProtection": {
            "TotalCount": 1,
            "DiskProtectionSet": [{
                "DiskId": DISK.id, "DiskName": DISK.name, "SizeBytes": 20 << 30, "Protected": False,
                "LastSnapshotId": SNAPSHOT.id, "LastSnapshotTime": "2018-09-26T09:36:07+00:00", "Consistency": "crash",
                "ConsistencyAsked": "filesystem", "VerifiedTime": None, "ProofSnapshotId": None, "ProofFinding": None,
                "ProofReason": None, "ProofTime": None, "FailedSince": "2018-09-26T09:36:07+00:00", "FailedCount": 1,
                "FailedReason": OPERATION.error, "NextRunTime": None, "PolicyIds": [], "Behind": False,
                "SnapshotCount": 3, "StoredBytes": 7,
            }],
        },
        "DescribeStoreStatus": {
            "StoreId": "st-1", "Place": "s3://backups", "PlaceKind": "bucket", "State": "unreachable",
            "Fault": "timed out", "FaultSince": "2026-09-21T14:13:20+00:00", "ReachedTime": "2026-09-21T14:13:20+00:00",
            "LastFault": call("DescribeEvents")["EventSet"][0]["Message"],
            "LastFaultTime": "2026-09-21T14:13:20+00:00", "LastFaultEndTime": None, "Epoch": 42, "Held": "",
            "DaySet": [{
                "Day": "2026-09-21", "WriteRequests": 1, "ReadRequests": 2, "ListRequests": 3, "DeleteRequests": 4,
                "SentBytes": 5, "ReceivedBytes": 6, "Errors": 7,
            }],
            "SpaceDaySet": [{"Day": "2026-09-21", "StoredBytes": 8, "FreeBytes": 9}], "DaysUntilFull": 12.3,
        },
        "DescribeStore": {
            "StoredBytes": 9, "MapBytes": 1, "SnapshotBytes": 2, "CacheBytes": 3, "PackCount": 1, "PackBytes": 8,
            "LiveBytes": 6, "DeadBytes": 2, "ReclaimableBytes": 1,
            "ReclaimedBytes": 5, "WaitingBytes": 7, "Threshold": 20, "Held": "",
        },
        "ScrubStore": {"RequestedAt": "2026-09-21T14:13:20+00:00"},
        "ConfirmClock": {"Clock": CLOCK_SHOWN},
        "ConfirmStore": {"WasHeld": "recovered"},
        "ExportSnapshot": {"OperationId": "op-00000003"},
        "ProveSnapshot": {"OperationId": "op-00000005"},
        "RewriteDisk": {"OperationId": "op-00000006"},
        "ImportDisk": {"DiskId": DISK.id, "OperationId": "op-00000004"},
        "CreateAccessKey": {"SecretId": "AKIDnew", "SecretKey": "secret-of-the-new-key"},
        "CreateAccount": {"AccountId": ACCOUNT, "SecretId": "AKIDnew", "SecretKey": "secret-of-the-new-key"},
        "CreateInstance": {"InstanceId": "ins-00000001"},
        "CreateKey": {"SecretId": "AKIDnew", "SecretKey": "secret-of-the-new-key"},
        "DeleteKey": {},
        "DescribeKeys": {
            "KeySet": [{
                    "SecretId": "AKIDnew", "Enabled": True, "CreateTime": "2026-09-21T14:13:20+00:00", "MadeBy": None,
                }]
        },
        "SetAccountPassword": {"Password": "made-password"},
        "SetAccountQuota": {},
        "DescribeAuditTrail": {
            "TotalCount": 1,
            "AuditEntrySet": [{
                "EntryId": 7, "At": "2026-09-21T14:13:20+00:00", "AccountId": ACCOUNT, "SecretId": "AKIDnew",
                "Source": "127.0.0.1", "Action": "CreateDisks", "Resource": DISK.id, "Code": "OK",
                "RequestId": "r-1", "Calls": 1,
            }],
        },
        "AcknowledgeEvents": {},
        "DescribeEvents": {
            "TotalCount": 1, "Cursor": 9,
            "EventSet": [{
                "EventId": "evt-00000001", "Kind": "consistency_reduced", "Severity": "warning",
                "OfInstallation": False, "SubjectId": DISK.id, "Count": 2,
                "Message": f"The snapshot {SNAPSHOT.id} of disk {DISK.id} is crash-consistent, "
                "not filesystem-consistent as its profile asks for: it is not mounted",
                "Facts": {
                    "Reason": "it is not mounted", "DiskId": None, "SnapshotId": SNAPSHOT.id, "OperationId": None,
                    "OperationKind": None, "Asked": "filesystem", "Given": "crash", "Object": None, "Blocks": None,
                    "Snapshots": None, "Disks": None, "FreeBytes": None, "Seconds": None, "At": None,
                },
                "FirstSeenTime": "2026-09-21T14:13:20+00:00", "LastSeenTime": "2026-09-21T14:13:20+00:00",
                "ResolvedTime": None, "AcknowledgedTime": None, "AcknowledgedBy": "",
            }],
        },
        "DescribeQuotas": {
            "DisksMax": 500, "DisksCount": 2, "DiskGibMax": 0, "DiskGib": 40,
            "SnapshotsPerDiskMax": 64, "SnapshotsMax": 128, "SnapshotsCount": 3, "SnapshotBytesMax": 0,
            "SnapshotBytes": 4, "DisksPerInstanceMax": 20, "DisksPerCallMax": 50,
        },
        "DescribeHistory": {
            "Points": [
                {
                    "At": "2026-09-21T14:13:20+00:00", "Disks": 2, "DisksBytes": 40, "Snapshots": 3, "StoredBytes": 4,
                    "LogicalBytes": 60, "ChangedBytes": 10,
                }
            ]
        },
        "DescribeSnapshotDifference": {
            "SizeBytes": 12288, "ChangedBytes": 4096, "BucketBytes": 8192, "Buckets": [4096, 0],
        },
        "DescribeOverview": {
            "Disks": 2, "DisksAttached": 1, "DisksBytes": 40, "SnapshotsCount": 3, "LogicalBytes": 60,
            "ChangedBytes": 10, "StoredBytes": 4, "SavedByIncrementsBytes": 50, "SavedByCompressionBytes": 6,
            "StoreBytesFree": None, "RecentOperations": call("DescribeOperations")["OperationSet"],
        },
        "DeleteAccessKey": {},
        "DeleteInstance": {},
        "DescribeAccessKeys": {
            "KeySet": [{
                    "SecretId": "AKIDnew", "Enabled": True, "CreateTime": "2026-09-21T14:13:20+00:00", "MadeBy": None,
                }]
        },
        "DescribeAccounts": {
            "TotalCount": 1,
            "AccountSet": [
                {
                    "AccountId": ACCOUNT, "AccountName": "owner", "Admin": True,
                    "CreateTime": "2026-09-21T14:13:20+00:00",
                }
            ],
        },
        "DescribeDiskDetails": {
            "TotalCount": 1,
            "DiskDetailSet": [
                {
                    "DiskId": DISK.id, "NbdUri": None, "Device": "/dev/disk/by-id/virtio-disk-00000001",
                    "Tracking": "LIVE", "TrackingReason": "", "BaseSnapshotId": SNAPSHOT.id, "Epoch": 3,
                    "SourceSnapshotId": None, "Hydrating": False, "HydrationPercent": 100, "Daemon": "ins-00000001",
                    "NeedsRewrite": True, "CreateTime": created,
                }
            ],
        },
        "DescribeHost": {
            "Version": "0.1.0", "QemuVersion": "10.0.2", "DataDirectory": "/data", "Region": REGION, "Zone": ZONE,
            "StoreId": "s", "FreeBytes": 3, "FloorBytes": 2, "StoredBytes": 1,
            "StoreBytesPerSecond": 5_000_000, "DiskCount": 1, "SnapshotCount": 1,
            "DaemonSet": [{"Name": "ins-00000001", "Pid": 4711, "DiskCount": 1}],
            "Clock": CLOCK_SHOWN,
        },
        "DescribeInstances": {
            "TotalCount": 1,
            "InstanceSet": [
                {
                    "InstanceId": "ins-00000001", "InstanceName": "host", "Kind": "HOST", "Zone": ZONE,
                    "AttachedDiskCount": 1, "MaxAttachCount": 20, "CreateTime": created,
                }
            ],
        },
        "DescribeOperations": {
            "TotalCount": 1,
            "OperationSet": [
                {
                    "OperationId": OPERATION.id, "Kind": "snapshot", "DiskId": DISK.id, "SnapshotId": SNAPSHOT.id,
                    "InstanceId": None, "State": "FAILED", "Phase": "upload", "Percent": 40, "Attempts": 2,
                    "ErrorCode": "InternalError", "ErrorMessage": "broken", "ToSendBytes": None, "SentBytes": None,
                    "Result": None, "CreateTime": created, "UpdateTime": "2018-09-26T09:36:08+00:00",
                    "Cancellable": False, "Retriable": False,
                }
            ],
        },
        "DescribeOperationHistory": {
            "StepSet": [
                {"At": created, "Phase": "FROZEN", "State": "RUNNING", "Attempts": 1, "ErrorMessage": "e"}
            ],
            "PhaseSet": [{"Phase": "FROZEN", "BeginTime": created, "Seconds": 1.5, "Ended": False}],
        },
        "CancelOperation": {},
        "RetryOperation": {"OperationId": "op-00000007"},
        "DeleteQuiesceProfile": {},
        "SetQuiesceProfile": {},
        "DescribeQuiesceProfiles": {
            "TotalCount": 1,
            "QuiesceProfileSet": [
                {
                    "ResourceId": DISK.id, "Mode": "prefer", "FreezeSecondsMax": 7.0, "ModifyTime": created,
                    "ProveEveryH": None,
                    "Steps": [
                        {
                            "Kind": "command", "SecondsMax": 2.0, "Mount": None, "Freeze": ["/bin/hold", "x"],
                            "Thaw": ["/bin/release"], "OptionFile": None, "Connection": None,
                            "Socket": None, "Domain": None,
                        },
                        {
                            "Kind": "filesystem", "SecondsMax": 5.0, "Mount": "/srv", "Freeze": [], "Thaw": [],
                            "OptionFile": None, "Connection": None,
                            "Socket": None, "Domain": None,
                        },
                    ],
                }
            ],
        },
        "DescribeSnapshotGroupRecords": {
            "TotalCount": 1,
            "SnapshotGroupRecordSet": [
                {
                    "SnapshotGroupId": "csnap-00000001", "InstanceId": "ins-00000001", "PauseMs": 7.5,
                    "TakenAt": created, "MemberSet": [{"SnapshotId": SNAPSHOT.id, "DiskId": DISK.id}],
                    "Tags": [{"Key": "team", "Value": "storage"}],
                }
            ],
        },
        "DescribeSnapshotRecords": {
            "TotalCount": 1,
            "SnapshotRecordSet": [
                {
                    "SnapshotId": SNAPSHOT.id, "SnapshotGroupId": None, "ParentSnapshotId": "snap-00000000",
                    "Tracking": "delta",
                    "TrackingReason": "dirty bitmap", "ReadBytes": 3, "ChangedBytes": 2, "StoredBytes": 1,
                    "Requests": 4, "FreezeMs": 1.5, "DurationMs": 90.25, "Consistency": "crash", "QuiesceMs": 8.5,
                    "ConsistencyAsked": "filesystem",
                    "Transcript": ["freeze filesystem /srv ok, 7.0 ms"],
                    "TakenAt": created, "Suspect": False, "AuditedBlocks": None,
                    "AuditComplete": None, "AuditLies": None, "Damaged": False,
                    "CreateTime": created, "ModifyTime": "2022-04-02T17:44:55+00:00",
                    "DeadlineTime": "2018-09-27T09:36:07+00:00",
                    "Opening": {
                        "Finding": "damaged", "Reason": "disk: check ext4: wrong", "BeginTime": created,
                        "EndTime": created,
                        "Steps": [
                            {"Title": "disk: check ext4", "Finding": "damaged", "Seconds": 1.5, "Detail": "wrong"}
                        ],
                    },
                }
            ],
        },
    }  # fmt: skip
    call("DescribeOperations", OperationIds=["o"], Filters=[{"Name": "state", "Values": ["DONE"]}], Limit=5, Offset=1)
    call("DescribeDiskDetails", DiskIds=["d"], Limit=5, Offset=1)
    assert fake.calls.seen[-2:] == [
        (
            "operations.describe",
            (OperationQuery(operation_ids=("o",), filters=(("state", ("DONE",)),), offset=1, limit=5),),
            {},
        ),
        ("disk_records.details", (DiskQuery(disk_ids=("d",), offset=1, limit=5),), {}),
    ]


@pytest.mark.parametrize("action", sorted(APIS["cbs"]["actions"]))
def test_every_documented_action_gives_a_known_answer(
    app: Application, monkeypatch: pytest.MonkeyPatch, action: str
) -> None:
    """An action without parameters is answered, misses one, or is said not to be served; never InvalidAction."""
    answer = asyncio.run(send_signed(app, sdk_request(monkeypatch, action=action)))
    expected = {"UnsupportedOperation"} if action in NOT_SERVED else {"OK", "MissingParameter"}
    assert answer.code in expected


def test_a_refusal_reaches_the_client_and_the_trail(
    app: Application, fake: FakeUseCases, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake.calls.failure = WireError("InvalidDisk.Busy", "The disk disk-00000001 is busy.")
    request = sdk_request(monkeypatch, action="TerminateDisks", params=CBS["TerminateDisks"])
    answer = asyncio.run(send_signed(app, request))
    assert answer.code == "InvalidDisk.Busy"
    assert answer.message.startswith("The disk disk-00000001 is busy. (")
    assert fake.audit.rows[0][1:] == ("disk-00000001", "InvalidDisk.Busy")


def test_the_collector_of_metrics_can_be_registered() -> None:
    """A registry keeps it in a dictionary: a server that cannot register it does not start."""
    nothing: Any = None
    collector = InstallationCollector(db=nothing, room=nothing, bugs=nothing, clock=nothing)
    assert {collector: 1}[collector] == 1
