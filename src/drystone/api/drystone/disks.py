"""Disks: how they are served and tracked, and what files they are made of."""

from typing import Annotated, TypedDict

from drystone.api.actions import Action, Context, Paged
from drystone.api.answers import OneOf, OperationIdAnswer, iso_time
from drystone.api.drystone.service import DRYSTONE
from drystone.api.parameters import Filters, Id, Ids, PathText, Text, Unsigned, Word, conditions
from drystone.domain.tracking import TrackingState
from drystone.service import views
from drystone.service.caller import Caller
from drystone.service.requests import DiskQuery, DiskSpaceQuery


class DiskDetail(TypedDict):
    """How a disk is served and tracked."""

    DiskId: str
    NbdUri: str | None
    Device: str | None
    Tracking: Annotated[str, OneOf(tuple(TrackingState))]
    TrackingReason: str
    BaseSnapshotId: str | None
    Epoch: int
    SourceSnapshotId: str | None
    Hydrating: bool
    HydrationPercent: int
    Daemon: str | None
    NeedsRewrite: bool
    """An earlier version made its image: fstrim does little on it, until RewriteDisk writes it anew."""
    CreateTime: str
    """With its zone, which that of DescribeDisks has not."""


class _DiskDetails(TypedDict):
    TotalCount: int
    DiskDetailSet: list[DiskDetail]


@DRYSTONE.read
class DescribeDiskDetails(Paged, frozen=True, kw_only=True):
    """List how disks are served and tracked, in an order.

    Filters are those of DescribeDisks, and `search`: its words are parts of the name, the id, a tag, or the instance's
    id or name, in capitals or not. OrderField is CREATE_TIME, NAME, STATE, DEADLINE, SIZE or TYPE.
    """

    disk_ids: Ids | None = None
    filters: Filters | None = None
    order: Word | None = None
    order_field: Word | None = None

    async def __call__(self, on: Context, caller: Caller) -> _DiskDetails:
        offset, limit = self.page
        query = DiskQuery(
            disk_ids=self.disk_ids or (), filters=conditions(self.filters), order=self.order,
            order_field=self.order_field, offset=offset, limit=limit,
        )  # fmt: skip
        page = await on.calls.disk_records.details(caller, query)
        return {"TotalCount": page.total, "DiskDetailSet": [_disk_detail(detail) for detail in page.items]}


def _disk_detail(detail: views.DiskDetail) -> DiskDetail:
    return {
        "DiskId": detail.disk_id,
        "NbdUri": detail.nbd_uri,
        "Device": detail.device,
        "Tracking": str(detail.tracking),
        "TrackingReason": detail.tracking_reason,
        "BaseSnapshotId": detail.base_snapshot_id,
        "Epoch": detail.epoch,
        "SourceSnapshotId": detail.source_snapshot_id,
        "Hydrating": detail.hydrating,
        "HydrationPercent": detail.hydration_percent,
        "Daemon": detail.daemon,
        "NeedsRewrite": detail.needs_rewrite,
        "CreateTime": iso_time(detail.created_at),
    }


class DiskSpaceDay(TypedDict):
    """What the store held of a disk at the end of a day."""

    Day: str  # UTC
    StoredBytes: int


class DiskSpace(TypedDict):
    """What the store holds of a disk, each block once, whichever snapshots see it."""

    DiskId: str
    DiskName: str | None  # null: the disk is gone, and snapshots of it are there
    AccountId: str | None
    StoredBytes: int
    DaySet: list[DiskSpaceDay]


class _DiskSpaces(TypedDict):
    TotalCount: int
    DiskSpaceSet: list[DiskSpace]


@DRYSTONE.read
class DescribeDiskSpace(Paged, frozen=True, kw_only=True):
    """List what the store holds of disks, the most first, now and on each of the last days (30 unless Days says more).

    A day is listed where it became another amount; the first one listed holds from the first day that was asked for,
    even if it is earlier. AllAccounts is for administrators.
    """

    disk_ids: Ids | None = None
    all_accounts: bool | None = None
    days: Unsigned | None = None

    async def __call__(self, on: Context, caller: Caller) -> _DiskSpaces:
        offset, limit = self.page
        query = DiskSpaceQuery(
            disk_ids=self.disk_ids or (),
            all_accounts=bool(self.all_accounts),
            days=self.days,
            offset=offset,
            limit=limit,
        )
        found = await on.calls.disk_space.describe(caller, query)
        return {"TotalCount": found.total, "DiskSpaceSet": [_disk_space(one) for one in found.items]}


def _disk_space(view: views.DiskSpaceView) -> DiskSpace:
    return {
        "DiskId": view.held.disk_id,
        "DiskName": view.held.name,
        "AccountId": view.held.account_id,
        "StoredBytes": view.held.held_bytes,
        "DaySet": [{"Day": one.day, "StoredBytes": one.bytes} for one in view.days],
    }


@DRYSTONE.change
class RewriteDisk(Action, frozen=True, kw_only=True):
    """Begin to write a disk's image anew in today's form."""

    disk_id: Id

    async def __call__(self, on: Context, caller: Caller) -> OperationIdAnswer:
        return {"OperationId": await on.calls.disks.rewrite(caller, self.disk_id)}


class _ImportedDisk(TypedDict):
    DiskId: str
    OperationId: str


@DRYSTONE.change
class ImportDisk(Action, frozen=True, kw_only=True):
    """Begin to make a disk of a file; the path is one of the server's host, the size in GiB.

    `Force` with the format `raw` takes a file for a raw disk that looks like another format's.
    """

    path: PathText
    format: Word | None = None
    force: bool | None = None
    disk_name: Text | None = None
    disk_type: Word | None = None
    disk_size: Unsigned | None = None

    async def __call__(self, on: Context, caller: Caller) -> _ImportedDisk:
        disk_id, operation_id = await on.calls.image_files.import_disk(
            caller, self.path, self.format,
            called=self.disk_name, disk_type=self.disk_type, size_gib=self.disk_size, forced=bool(self.force),
        )  # fmt: skip
        return {"DiskId": disk_id, "OperationId": operation_id}
