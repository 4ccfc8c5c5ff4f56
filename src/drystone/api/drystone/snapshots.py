"""Snapshots: how they were taken, what they hold, and whether they open."""

from typing import Annotated, TypedDict

from msgspec import field

from drystone.api.actions import Action, Context, Paged
from drystone.api.answers import OneOf, OperationIdAnswer, SnapshotIdAnswer, Tag, iso_time, iso_time_if, tags
from drystone.api.drystone.service import DRYSTONE
from drystone.api.parameters import Filters, Id, Ids, PathText, Word, conditions
from drystone.domain import proof as domain
from drystone.domain.proof import Finding
from drystone.service import views
from drystone.service.caller import Caller
from drystone.service.requests import SnapshotGroupQuery, SnapshotQuery

FindingText = Annotated[str, OneOf(tuple(Finding))]


@DRYSTONE.change
class AuditDisk(Action, frozen=True, kw_only=True):
    """Take a snapshot that checks everything that tracking calls clean (P8)."""

    disk_id: Id

    async def __call__(self, on: Context, caller: Caller) -> SnapshotIdAnswer:
        return {"SnapshotId": await on.calls.snapshots.audit(caller, self.disk_id)}


@DRYSTONE.change
class ProveSnapshot(Action, frozen=True, kw_only=True):
    """Begin to open a snapshot on a throw-away clone; for administrators."""

    snapshot_id: Id

    async def __call__(self, on: Context, caller: Caller) -> OperationIdAnswer:
        return {"OperationId": await on.calls.proving.begin(caller, self.snapshot_id)}


@DRYSTONE.change
class ExportSnapshot(Action, frozen=True, kw_only=True):
    """Begin to write a snapshot into a new file; the path is one of the server's host."""

    snapshot_id: Id
    path: PathText
    format: Word | None = None

    async def __call__(self, on: Context, caller: Caller) -> OperationIdAnswer:
        return {"OperationId": await on.calls.image_files.export(caller, self.snapshot_id, self.path, self.format)}


class OpeningStep(TypedDict):
    """One thing that was tried to open a snapshot."""

    Title: str
    Finding: FindingText
    Seconds: float
    Detail: str


class Opening(TypedDict):
    """The newest proof that a snapshot opens, or does not."""

    Finding: FindingText
    Reason: str
    Steps: list[OpeningStep]
    BeginTime: str
    EndTime: str


class SnapshotRecord(TypedDict):
    """How a snapshot was taken (P7)."""

    SnapshotId: str
    SnapshotGroupId: str | None
    ParentSnapshotId: str | None
    Tracking: str | None
    TrackingReason: str | None
    ReadBytes: int | None
    ChangedBytes: int | None
    StoredBytes: int | None
    Requests: int | None
    FreezeMs: float | None
    DurationMs: float | None
    Consistency: str | None  # what it is: application, filesystem or crash
    ConsistencyAsked: str | None  # what its profile asks for; null if that is nothing, or nothing was to be held
    QuiesceMs: float | None
    Transcript: list[str]
    TakenAt: str | None
    Suspect: bool
    AuditedBlocks: int | None
    AuditComplete: bool | None
    AuditLies: int | None
    Damaged: bool
    Opening: Opening | None
    CreateTime: str
    """With their zones, which those of DescribeSnapshots have not."""
    ModifyTime: str
    DeadlineTime: str | None


class _SnapshotRecords(TypedDict):
    TotalCount: int
    SnapshotRecordSet: list[SnapshotRecord]


@DRYSTONE.read
class DescribeSnapshotRecords(Paged, frozen=True, kw_only=True):
    """List how snapshots were taken (P7), in an order.

    Filters are those of DescribeSnapshots, and `search`: its words are parts of the name, the id, a tag, or the disk's
    id or name, in capitals or not. OrderField is CREATE_TIME, NAME, STATE, DEADLINE, STORED_BYTES or DISK_ID.
    """

    snapshot_ids: Ids | None = None
    filters: Filters | None = None
    order: Word | None = None
    order_field: Word | None = None

    async def __call__(self, on: Context, caller: Caller) -> _SnapshotRecords:
        offset, limit = self.page
        query = SnapshotQuery(
            snapshot_ids=self.snapshot_ids or (), filters=conditions(self.filters), order=self.order,
            order_field=self.order_field, offset=offset, limit=limit,
        )  # fmt: skip
        page = await on.calls.snapshot_records.records(caller, query)
        return {"TotalCount": page.total, "SnapshotRecordSet": [_snapshot_record(view) for view in page.items]}


def _snapshot_record(view: views.SnapshotView) -> SnapshotRecord:
    snapshot, record = view.snapshot, view.snapshot.record
    return {
        "SnapshotId": snapshot.id,
        "SnapshotGroupId": snapshot.group_id,
        "ParentSnapshotId": snapshot.parent_id,
        "Tracking": record.tracking,
        "TrackingReason": record.tracking_reason,
        "ReadBytes": record.read_bytes,
        "ChangedBytes": record.changed_bytes,
        "StoredBytes": record.stored_bytes,
        "Requests": record.requests,
        "FreezeMs": record.freeze_ms,
        "DurationMs": record.duration_ms,
        "Consistency": record.consistency,
        "ConsistencyAsked": record.consistency_asked,
        "QuiesceMs": record.quiesce_ms,
        "Transcript": list(record.transcript),
        "TakenAt": iso_time_if(record.taken_at),
        "Suspect": snapshot.suspect,
        "AuditedBlocks": record.audited_blocks,
        "AuditComplete": record.audit_complete,
        "AuditLies": record.audit_lies,
        "Damaged": snapshot.damaged,
        "Opening": None if view.proof is None else _proof(view.proof),
        "CreateTime": iso_time(snapshot.created_at),
        "ModifyTime": iso_time(snapshot.modified_at),
        "DeadlineTime": iso_time_if(snapshot.deadline_at),
    }


def _proof(proof: domain.Proof) -> Opening:
    return {
        "Finding": proof.finding.value,
        "Reason": proof.reason,
        "Steps": [
            {"Title": step.title, "Finding": step.finding.value, "Seconds": step.seconds, "Detail": step.detail}
            for step in proof.steps
        ],
        "BeginTime": iso_time(proof.began_at),
        "EndTime": iso_time(proof.ended_at),
    }


class GroupMember(TypedDict):
    """A snapshot of a group."""

    SnapshotId: str
    DiskId: str


class SnapshotGroupRecord(TypedDict):
    """How a group was taken."""

    SnapshotGroupId: str
    InstanceId: str
    PauseMs: float | None  # how long all of its disks stood still at once
    TakenAt: str | None
    MemberSet: list[GroupMember]
    Tags: list[Tag]


class _SnapshotGroupRecords(TypedDict):
    TotalCount: int
    SnapshotGroupRecordSet: list[SnapshotGroupRecord]


@DRYSTONE.read
class DescribeSnapshotGroupRecords(Paged, frozen=True, kw_only=True):
    """List how groups were taken."""

    snapshot_group_ids: Ids | None = None

    async def __call__(self, on: Context, caller: Caller) -> _SnapshotGroupRecords:
        offset, limit = self.page
        ids = self.snapshot_group_ids
        query = SnapshotGroupQuery(
            filters=(("snapshot-group-id", ids),) if ids else (), offset=offset, limit=limit
        )  # fmt: skip
        page = await on.calls.snapshot_groups.describe(caller, query)
        return {"TotalCount": page.total, "SnapshotGroupRecordSet": [_group_record(view) for view in page.items]}


def _group_record(view: views.SnapshotGroupView) -> SnapshotGroupRecord:
    group = view.group
    return {
        "SnapshotGroupId": group.id,
        "InstanceId": group.instance_id,
        "PauseMs": group.pause_ms,
        "TakenAt": iso_time_if(group.taken_at),
        "MemberSet": [{"SnapshotId": member.id, "DiskId": member.disk_id} for member in view.members],
        "Tags": tags(group.tags),
    }


class _Difference(TypedDict):
    SizeBytes: int
    ChangedBytes: int
    BucketBytes: int
    Buckets: list[int]  # changed bytes of each


@DRYSTONE.read
class DescribeSnapshotDifference(Action, frozen=True, kw_only=True):
    """Tell where two snapshots differ, in equal stretches of the disk; without the first, what the second holds."""

    to: Id
    older: Id | None = field(default=None, name="From")

    async def __call__(self, on: Context, caller: Caller) -> _Difference:
        view = await on.calls.differences.describe(caller, self.older, self.to)
        return {
            "SizeBytes": view.size_bytes,
            "ChangedBytes": view.changed_bytes,
            "BucketBytes": view.bucket_bytes,
            "Buckets": list(view.buckets),
        }


class SnapshotSpace(TypedDict):
    """Stored bytes that a snapshot shows."""

    SnapshotId: str
    UniqueBytes: int
    SharedBytes: int


class _SetSpace(TypedDict):
    SnapshotSpaceSet: list[SnapshotSpace]
    DeadBytes: int
    ReclaimableBytes: int


@DRYSTONE.read
class DescribeSnapshotSpace(Action, frozen=True, kw_only=True):
    """Tell what snapshots hold, alone and together; at most 1,000."""

    snapshot_ids: Ids

    async def __call__(self, on: Context, caller: Caller) -> _SetSpace:
        view = await on.calls.space.snapshots(caller, self.snapshot_ids)
        return {
            "SnapshotSpaceSet": [
                {"SnapshotId": one.snapshot_id, "UniqueBytes": one.unique_bytes, "SharedBytes": one.shared_bytes}
                for one in view.snapshots
            ],
            "DeadBytes": view.dead_bytes,
            "ReclaimableBytes": view.reclaimable_bytes,
        }
