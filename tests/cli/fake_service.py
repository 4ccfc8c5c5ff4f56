"""A service that answers on a loopback port with recorded envelopes, and writes down what it was asked."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Answer = dict[str, Any]
Rule = Answer | Callable[[dict[str, Any]], Answer]


class RefusalError(Exception):
    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class FakeService:
    """Answers by action; a list is used up one answer per call, its last one stays."""

    def __init__(self) -> None:
        self.rules: dict[str, list[Rule | RefusalError]] = {}
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.versions: list[tuple[str, str]] = []
        self.endpoint = ""

    def on(self, action: str, *answers: Rule | RefusalError) -> None:
        self.rules[action] = list(answers)

    def asked(self, action: str) -> list[dict[str, Any]]:
        return [parameters for name, parameters in self.calls if name == action]

    def answer(self, action: str, parameters: dict[str, Any]) -> Answer:
        self.calls.append((action, parameters))
        rules = self.rules.get(action)
        if not rules:
            return failure("InvalidAction", f"no rule for {action}")
        rule = rules.pop(0) if len(rules) > 1 else rules[0]
        if isinstance(rule, RefusalError):
            return failure(rule.code, rule.message)
        return (rule(parameters) if callable(rule) else rule) | {"RequestId": "00000000-0000-4000-a000-0123456789ab"}


def failure(code: str, message: str) -> Answer:
    return {
        "Error": {"Code": code, "Message": f"{message} (0123456789ab)"},
        "RequestId": "00000000-0000-4000-a000-0123456789ab",
    }


@contextmanager
def serving(service: FakeService) -> Iterator[str]:
    """Serve on a free loopback port; yields the URL."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = 65536  # head and body in one packet: no delayed acknowledgement between them

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            action = self.headers["X-TC-Action"]
            scope = self.headers["Authorization"].split("Credential=")[1].split(",")[0].split("/")[2]
            service.versions.append((scope, self.headers["X-TC-Version"]))
            payload = json.dumps({"Response": service.answer(action, json.loads(body))}).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(payload)))
            self.end_headers()
            self.wfile.write(payload)
            self.wfile.flush()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def paged(rows_name: str, rows: list[Answer], id_name: str, ids_name: str) -> Callable[[dict[str, Any]], Answer]:
    """Answer like a Describe action: ids narrow, Offset and Limit page."""

    def describe(parameters: dict[str, Any]) -> Answer:
        wanted = parameters.get(ids_name)
        found = [row for row in rows if wanted is None or row[id_name] in wanted]
        for condition in parameters.get("Filters") or []:
            field = {
                "disk-name": "DiskName", "snapshot-name": "SnapshotName", "disk-id": "DiskId",
                "snapshot-group-id": "SnapshotGroupId", "snapshot-group-name": "SnapshotGroupName",
                "snapshot-state": "SnapshotState",
            }.get(condition["Name"])  # fmt: skip
            if field is not None:
                found = [row for row in found if row[field] in condition["Values"]]
        start = parameters.get("Offset") or 0
        return {"TotalCount": len(found), rows_name: found[start : start + parameters.get("Limit", 20)]}

    return describe


def disk(identity: str, **changes: Any) -> Answer:
    return {
        "DiskId": identity,
        "DiskName": f"name of {identity}",
        "DiskState": "UNATTACHED",
        "DiskSize": 20,
        "DiskType": "CLOUD_PREMIUM",
        "Placement": {"Zone": "ap-local-1", "ProjectId": 0},
        "InstanceId": "",
        "Tags": [{"Key": "team", "Value": "web"}],
        "CreateTime": "2026-11-22 17:36:07",
        "SnapshotCount": 2,
        "SnapshotSize": 7,
        "Rollbacking": False,
        "RollbackPercent": 0,
        "DeleteSnapshot": 0,
        "ErrorPrompt": "",
        "DeleteWithInstance": False,
        "Portable": True,
        "Shareable": False,
        "DiskUsage": "DATA_DISK",
        "DiskChargeType": "POSTPAID_BY_HOUR",
        "ThroughputPerformance": 0,
    } | changes


def disk_detail(identity: str, **changes: Any) -> Answer:
    return {
        "DiskId": identity,
        "NbdUri": None,
        "Device": None,
        "Tracking": "LIVE",
        "TrackingReason": "",
        "BaseSnapshotId": "snap-aaaaaaaa",
        "Epoch": 3,
        "SourceSnapshotId": None,
        "Hydrating": False,
        "HydrationPercent": 100,
        "Daemon": None,
        "NeedsRewrite": False,
        "CreateTime": "2026-11-22T09:36:07+00:00",
    } | changes


def snapshot(identity: str, **changes: Any) -> Answer:
    return {
        "SnapshotId": identity,
        "SnapshotName": f"name of {identity}",
        "DiskId": "disk-aaaaaaaa",
        "SnapshotState": "NORMAL",
        "Percent": 100,
        "DiskSize": 20,
        "DiskUsage": "DATA_DISK",
        "Placement": {"Zone": "ap-local-1"},
        "IsPermanent": True,
        "DeadlineTime": "",
        "CreateTime": "2026-11-22 17:36:07",
        "Tags": [],
    } | changes


def snapshot_taken(identity: str, **changes: Any) -> Answer:
    return {
        "SnapshotId": identity,
        "SnapshotGroupId": None,
        "ParentSnapshotId": "snap-00000000",
        "Tracking": "delta",
        "TrackingReason": "bitmap",
        "ReadBytes": 4096,
        "ChangedBytes": 4096,
        "StoredBytes": 4300,
        "Requests": 3,
        "FreezeMs": 12.5,
        "DurationMs": 80.0,
        "Consistency": "crash",
        "TakenAt": "2026-11-22T09:36:07+00:00",
        "Suspect": False,
        "CreateTime": "2026-11-22T09:36:07+00:00",
        "ModifyTime": "2026-11-22T09:36:07+00:00",
        "DeadlineTime": None,
    } | changes


def snapshot_group(identity: str, **changes: Any) -> Answer:
    return {
        "SnapshotGroupId": identity,
        "SnapshotGroupName": f"name of {identity}",
        "SnapshotGroupType": "NORMAL",
        "SnapshotGroupState": "NORMAL",
        "Percent": 100,
        "SnapshotIdSet": ["snap-aaaaaaaa", "snap-bbbbbbbb"],
        "ContainRootSnapshot": False,
        "IsPermanent": True,
        "DeadlineTime": None,
        "AutoSnapshotPolicyId": None,
        "CreateTime": "2026-11-22T09:36:07+00:00",
        "ModifyTime": "2026-11-22T09:36:07+00:00",
        "Images": [],
        "ImageCount": 0,
    } | changes


GROUP_TAKEN: Answer = {
    "SnapshotGroupId": "csnap-aaaaaaaa",
    "InstanceId": "ins-aaaaaaaa",
    "PauseMs": 7.5,
    "TakenAt": "2026-11-22T09:36:07+00:00",
    "MemberSet": [
        {"SnapshotId": "snap-aaaaaaaa", "DiskId": "disk-aaaaaaaa"},
        {"SnapshotId": "snap-bbbbbbbb", "DiskId": "disk-bbbbbbbb"},
    ],
    "Tags": [],
}


def operation(identity: str, **changes: Any) -> Answer:
    return {
        "OperationId": identity,
        "Kind": "snapshot",
        "DiskId": "disk-aaaaaaaa",
        "SnapshotId": None,
        "InstanceId": None,
        "State": "DONE",
        "Phase": "done",
        "Percent": 100,
        "Attempts": 1,
        "ErrorCode": None,
        "ErrorMessage": None,
        "Cancellable": False,
        "Retriable": False,
        "ToSendBytes": None,
        "SentBytes": None,
        "CreateTime": "2026-11-22T09:36:07+00:00",
        "UpdateTime": "2026-11-22T09:36:08+00:00",
    } | changes


def standard() -> FakeService:
    """A service with two disks, two snapshots, an instance, nothing under way."""
    service = FakeService()
    disks = [disk("disk-aaaaaaaa"), disk("disk-bbbbbbbb")]
    service.on("DescribeDisks", paged("DiskSet", disks, "DiskId", "DiskIds"))
    details = [disk_detail("disk-aaaaaaaa"), disk_detail("disk-bbbbbbbb")]
    service.on("DescribeDiskDetails", paged("DiskDetailSet", details, "DiskId", "DiskIds"))
    snapshots = [snapshot("snap-aaaaaaaa"), snapshot("snap-bbbbbbbb")]
    service.on("DescribeSnapshots", paged("SnapshotSet", snapshots, "SnapshotId", "SnapshotIds"))
    taken = [snapshot_taken("snap-aaaaaaaa"), snapshot_taken("snap-bbbbbbbb")]
    service.on("DescribeSnapshotRecords", paged("SnapshotRecordSet", taken, "SnapshotId", "SnapshotIds"))
    groups = [snapshot_group("csnap-aaaaaaaa")]
    service.on("DescribeSnapshotGroups", paged("SnapshotGroupSet", groups, "SnapshotGroupId", "SnapshotGroupIds"))
    service.on(
        "DescribeSnapshotGroupRecords",
        paged("SnapshotGroupRecordSet", [GROUP_TAKEN], "SnapshotGroupId", "SnapshotGroupIds"),
    )
    profile = {
        "ResourceId": "disk-aaaaaaaa", "Mode": "require", "FreezeSecondsMax": 10.0, "ModifyTime": "t",
        "Steps": [{"Kind": "filesystem", "SecondsMax": 5.0, "Mount": "/srv", "Freeze": [], "OptionFile": None}],
    }  # fmt: skip
    service.on("DescribeQuiesceProfiles", {"TotalCount": 1, "QuiesceProfileSet": [profile]})
    service.on("SetQuiesceProfile", {})
    service.on("DeleteQuiesceProfile", {})
    service.on("CreateSnapshotGroup", {"SnapshotGroupId": "csnap-aaaaaaaa"})
    service.on("DescribeOperations", {"TotalCount": 0, "OperationSet": []})
    service.on("DescribeOperationHistory", {
        "StepSet": [
            {"At": "2026-11-22T09:36:07+00:00", "Phase": "FROZEN", "State": "RUNNING", "Attempts": 1,
             "ErrorMessage": ""},
        ],
        "PhaseSet": [{"Phase": "FROZEN", "BeginTime": "2026-11-22T09:36:07+00:00", "Seconds": 1.5, "Ended": True}],
    })  # fmt: skip
    instance = {
        "InstanceId": "ins-aaaaaaaa",
        "InstanceName": "host",
        "Kind": "HOST",
        "Zone": "ap-local-1",
        "AttachedDiskCount": 0,
        "MaxAttachCount": 20,
        "CreateTime": "2026-11-22T09:36:07+00:00",
    }
    service.on("DescribeInstances", paged("InstanceSet", [instance], "InstanceId", "InstanceIds"))
    for action in (
        "AttachDisks", "DetachDisks", "ResizeDisk", "ModifyDiskAttributes", "TerminateDisks", "InitializeDisks",
        "ModifySnapshotAttribute", "DeleteSnapshots", "ApplySnapshot", "DeleteInstance", "DeleteAccessKey",
        "DeleteSnapshotGroup", "ApplySnapshotGroup",
    ):  # fmt: skip
        service.on(action, {})
    service.on("CreateDisks", {"DiskIdSet": ["disk-aaaaaaaa"]})
    service.on("CreateSnapshot", {"SnapshotId": "snap-aaaaaaaa"})
    service.on("CreateInstance", {"InstanceId": "ins-aaaaaaaa"})
    service.on("DescribeSnapshotOverview", {"TotalNums": 2, "TotalSize": 1.5, "FreeQuota": 50.0, "RealTradeSize": 0.0})
    service.on("CreateAccount", {"AccountId": "100000000001", "SecretId": "AKIDnew", "SecretKey": "new-secret"})
    service.on("CreateAccessKey", {"SecretId": "AKIDnew", "SecretKey": "new-secret"})
    service.on(
        "DescribeAccounts",
        {
            "TotalCount": 1,
            "AccountSet": [{"AccountId": "100000000001", "AccountName": "admin", "Admin": True, "CreateTime": "t"}],
        },
    )
    service.on("DescribeAccessKeys", {"KeySet": [{"SecretId": "AKIDnew", "Enabled": True, "CreateTime": "t"}]})
    service.on("DescribeSnapshotSpace", lambda given: {
        "SnapshotSpaceSet": [
            {"SnapshotId": one, "UniqueBytes": 4096, "SharedBytes": 8192} for one in given["SnapshotIds"]
        ],
        "DeadBytes": 5000, "ReclaimableBytes": 3000,
    })  # fmt: skip
    service.on(
        "DescribeStoreStatus", {"StoreId": "st-1", "Place": "s3://b", "State": "answers", "Epoch": 4, "DaySet": []}
    )
    status = {"StoreId": "st-1", "Place": "s3://b", "State": "answers", "Epoch": 4, "DaySet": []}
    service.on("DescribeStoreStatus", status)
    service.on("DescribeStore", {"StoredBytes": 9000, "LiveBytes": 6000, "DeadBytes": 3000, "Threshold": 20})
    service.on(
        "DescribeHost",
        {
            "Version": "0.1.0",
            "FreeBytes": 5 << 30,
            "StoredBytes": 4300,
            "DaemonSet": [{"Name": "d", "Pid": 7, "DiskCount": 1}],
        },
    )
    return service
