"""An account at a glance: its figures, its quotas and its operations."""

from typing import Annotated, TypedDict, get_args

import msgspec

from drystone.api.actions import Action, Context, Paged
from drystone.api.answers import OneOf, iso_time
from drystone.api.drystone.service import DRYSTONE
from drystone.api.parameters import Filters, Ids, Unsigned, conditions
from drystone.api.refusals import code_of
from drystone.domain import operation
from drystone.domain.operation import OperationKind, OperationState
from drystone.domain.payloads import CompactPayload, Payload, ProvePayload
from drystone.service.caller import Caller
from drystone.service.requests import OperationQuery
from drystone.service.views import AttentionKind


class Operation(TypedDict):
    """A long job."""

    OperationId: str
    Kind: Annotated[str, OneOf(tuple(OperationKind))]
    DiskId: str | None
    SnapshotId: str | None
    InstanceId: str | None
    State: Annotated[str, OneOf(tuple(OperationState))]
    Phase: str
    Percent: int
    Attempts: int
    ErrorCode: str
    ErrorMessage: str
    Result: object  # its shape is told by the kind
    CreateTime: str
    UpdateTime: str


class _Operations(TypedDict):
    TotalCount: int
    OperationSet: list[Operation]


@DRYSTONE.read
class DescribeOperations(Paged, frozen=True, kw_only=True):
    """List operations; filters are resource-id, state and kind."""

    operation_ids: Ids | None = None
    filters: Filters | None = None

    async def __call__(self, on: Context, caller: Caller) -> _Operations:
        ids, (offset, limit) = self.operation_ids or (), self.page
        query = OperationQuery(operation_ids=ids, filters=conditions(self.filters), offset=offset, limit=limit)
        page = await on.calls.operations.describe(caller, query)
        return {"TotalCount": page.total, "OperationSet": [_operation(one) for one in page.items]}


def _operation(one: operation.Operation) -> Operation:
    return {
        "OperationId": one.id,
        "Kind": one.kind.value,
        "DiskId": one.disk_id,
        "SnapshotId": one.snapshot_id,
        "InstanceId": one.instance_id,
        "State": one.state.value,
        "Phase": one.phase,
        "Percent": one.percent,
        "Attempts": one.attempts,
        "ErrorCode": code_of(one.error_code),
        "ErrorMessage": one.error,
        "Result": _result(one.payload),
        "CreateTime": iso_time(one.created_at),
        "UpdateTime": iso_time(one.updated_at),
    }


def _result(payload: Payload) -> object:
    """Return what an operation found, for those that find something."""
    result = payload.result if isinstance(payload, (CompactPayload, ProvePayload)) else None
    return None if result is None else msgspec.to_builtins(result)


class Attention(TypedDict):
    """Something that a person should look at."""

    Kind: Annotated[str, OneOf(get_args(AttentionKind))]
    ResourceId: str
    Message: str
    At: str


class _Overview(TypedDict):
    Disks: int
    DisksAttached: int
    DisksBytes: int
    SnapshotsCount: int
    LogicalBytes: int
    ChangedBytes: int
    StoredBytes: int
    SavedByIncrementsBytes: int
    SavedByCompressionBytes: int
    StoreBytesFree: int | None  # null for who is no administrator
    RecentOperations: list[Operation]
    Attention: list[Attention]


@DRYSTONE.read
class DescribeOverview(Action, frozen=True, kw_only=True):
    """Sum up the account, and say what needs a person."""

    async def __call__(self, on: Context, caller: Caller) -> _Overview:
        view = await on.calls.overview.describe(caller)
        figures = view.figures
        return {
            "Disks": figures.disks,
            "DisksAttached": view.disks_attached,
            "DisksBytes": figures.disks_bytes,
            "SnapshotsCount": figures.snapshots,
            "LogicalBytes": figures.logical_bytes,
            "ChangedBytes": figures.changed_bytes,
            "StoredBytes": figures.stored_bytes,
            "SavedByIncrementsBytes": max(0, figures.logical_bytes - figures.changed_bytes),
            "SavedByCompressionBytes": max(0, figures.changed_bytes - figures.stored_bytes),
            "StoreBytesFree": view.free_bytes,
            "RecentOperations": [_operation(one) for one in view.operations],
            "Attention": [
                {"Kind": one.kind, "ResourceId": one.resource_id, "Message": one.message, "At": iso_time(one.at)}
                for one in view.attention
            ],
        }


class _Quotas(TypedDict):
    DisksMax: int  # 0: no limit, as of all that follow
    DisksCount: int
    DiskGibMax: int
    DiskGib: int
    SnapshotsPerDiskMax: int
    SnapshotsMax: int
    SnapshotsCount: int
    SnapshotBytesMax: int
    SnapshotBytes: int
    DisksPerInstanceMax: int
    DisksPerCallMax: int


@DRYSTONE.read
class DescribeQuotas(Action, frozen=True, kw_only=True):
    """Tell how much the account has, and may have."""

    async def __call__(self, on: Context, caller: Caller) -> _Quotas:
        view = await on.calls.overview.quotas(caller)
        return {
            "DisksMax": view.disks_max,
            "DisksCount": view.disks,
            "DiskGibMax": view.disk_gib_max,
            "DiskGib": view.disk_gib,
            "SnapshotsPerDiskMax": view.snapshots_per_disk_max,
            "SnapshotsMax": view.snapshots_max,
            "SnapshotsCount": view.snapshots,
            "SnapshotBytesMax": view.snapshot_bytes_max,
            "SnapshotBytes": view.snapshot_bytes,
            "DisksPerInstanceMax": view.disks_per_instance_max,
            "DisksPerCallMax": view.disks_per_call_max,
        }


class HistoryPoint(TypedDict):
    """An account's figures at one time."""

    At: str
    Disks: int
    DisksBytes: int
    Snapshots: int
    StoredBytes: int
    LogicalBytes: int
    ChangedBytes: int


class _History(TypedDict):
    Points: list[HistoryPoint]


@DRYSTONE.read
class DescribeHistory(Action, frozen=True, kw_only=True):
    """List the account's figures of the last hours (a week unless told), the oldest first; the last ones are of now."""

    hours: Unsigned | None = None

    async def __call__(self, on: Context, caller: Caller) -> _History:
        return {
            "Points": [
                {
                    "At": iso_time(point.at),
                    "Disks": point.disks,
                    "DisksBytes": point.disks_bytes,
                    "Snapshots": point.snapshots,
                    "StoredBytes": point.stored_bytes,
                    "LogicalBytes": point.logical_bytes,
                    "ChangedBytes": point.changed_bytes,
                }
                for point in await on.calls.history.describe(caller, self.hours)
            ]
        }
