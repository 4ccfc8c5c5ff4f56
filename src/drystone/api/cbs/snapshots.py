"""Snapshots of CBS."""

from typing import TypedDict

from drystone.api.actions import Action, Context, Paged
from drystone.api.answers import (
    DiskPlacement,
    Image,
    SnapshotIdAnswer,
    SnapshotStateText,
    Tag,
    iso_time,
    placement,
    tags,
)
from drystone.api.cbs.service import CBS
from drystone.api.parameters import Filters, Id, Ids, Tags, Text, Time, Word, Words, conditions, pairs
from drystone.service import views
from drystone.service.caller import Caller
from drystone.service.calls.filters import PRIVATE_SNAPSHOT, SHARED_SNAPSHOT
from drystone.service.requests import NewSnapshot, SnapshotChanges, SnapshotQuery


@CBS.change
class CreateSnapshot(Action, frozen=True, kw_only=True):
    """Take a snapshot; its instant is fixed when this returns (P1)."""

    disk_id: Id | None = None
    snapshot_name: Text | None = None
    deadline: Time | None = None
    disk_backup_id: Id | None = None
    tags: Tags | None = None
    local_snap: bool | None = None
    disk_usage: Word | None = None

    async def __call__(self, on: Context, caller: Caller) -> SnapshotIdAnswer:
        new = NewSnapshot(
            disk_id=self.disk_id or None,
            name=self.snapshot_name,
            deadline=self.deadline or None,
            disk_backup_id=self.disk_backup_id or None,
            tags=pairs(self.tags),
            local=self.local_snap or False,
            usage=self.disk_usage or None,
        )
        return {"SnapshotId": await on.calls.snapshots.create(caller, new)}


@CBS.change
class DeleteSnapshots(Action, frozen=True, kw_only=True):
    """Delete snapshots."""

    snapshot_ids: Ids
    delete_bind_images: bool | None = None

    async def __call__(self, on: Context, caller: Caller) -> None:
        images = self.delete_bind_images or False
        await on.calls.snapshots.delete(caller, self.snapshot_ids, delete_bind_images=images)


@CBS.change
class ApplySnapshot(Action, frozen=True, kw_only=True):
    """Roll a disk back."""

    snapshot_id: Id
    disk_id: Id
    auto_stop_instance: bool | None = None
    auto_start_instance: bool | None = None

    async def __call__(self, on: Context, caller: Caller) -> None:
        await on.calls.snapshots.apply(
            caller,
            self.snapshot_id,
            self.disk_id,
            auto_stop=self.auto_stop_instance or False,
            auto_start=self.auto_start_instance or False,
        )


class Snapshot(TypedDict):
    """A snapshot."""

    SnapshotId: str
    SnapshotName: str
    SnapshotState: SnapshotStateText
    SnapshotType: str
    SnapshotMode: str
    Percent: int
    DiskId: str
    DiskSize: int  # GiB, of the disk at the instant
    DiskUsage: str
    Placement: DiskPlacement
    IsPermanent: bool
    DeadlineTime: str
    CreateTime: str
    LatestModifyTime: str
    IsLocked: bool
    Encrypt: bool
    CopyFromRemote: bool
    CopyingToRegions: list[str]
    ShareReference: int
    TimeStartShare: str
    Images: list[Image]
    ImageCount: int
    AutoSnapshotPolicyId: str  # empty where no policy had it taken
    Tags: list[Tag]


class _Snapshots(TypedDict):
    TotalCount: int
    SnapshotSet: list[Snapshot]


@CBS.read
class DescribeSnapshots(Paged, frozen=True, kw_only=True):
    """List snapshots."""

    snapshot_ids: Ids | None = None
    filters: Filters | None = None
    order_field: Word | None = None
    order: Word | None = None

    async def __call__(self, on: Context, caller: Caller) -> _Snapshots:
        offset, limit = self.page
        query = SnapshotQuery(
            snapshot_ids=self.snapshot_ids or (),
            filters=conditions(self.filters),
            order=self.order,
            order_field=self.order_field,
            offset=offset,
            limit=limit,
        )
        page = await on.calls.snapshot_records.describe(caller, query)
        return {"TotalCount": page.total, "SnapshotSet": [snapshot_fields(view, on) for view in page.items]}


def snapshot_fields(view: views.SnapshotView, on: Context) -> Snapshot:
    """Return a `Snapshot`; `on` has the zone."""
    snapshot = view.snapshot
    return {
        "SnapshotId": snapshot.id,
        "SnapshotName": snapshot.name,
        "SnapshotState": "ROLLBACKING" if snapshot.rolling_back else snapshot.state.value,
        "SnapshotType": SHARED_SNAPSHOT if view.received else PRIVATE_SNAPSHOT,
        "SnapshotMode": "STANDARD_SNAPSHOT",
        "Percent": snapshot.percent,
        "DiskId": snapshot.disk_id,
        "DiskSize": snapshot.size_gib,
        "DiskUsage": snapshot.usage,
        "Placement": placement(snapshot.zone, snapshot.project_id),
        "IsPermanent": snapshot.permanent,
        "DeadlineTime": "" if snapshot.permanent else on.local_time(snapshot.deadline_at),
        "CreateTime": on.local_time(snapshot.created_at),
        "LatestModifyTime": iso_time(snapshot.modified_at),
        "IsLocked": False,
        "Encrypt": snapshot.encrypted,
        "CopyFromRemote": False,
        "CopyingToRegions": [],
        "ShareReference": view.shares,
        "TimeStartShare": on.local_time(view.shared_at).partition(" ")[0],
        "Images": [],
        "ImageCount": 0,
        "AutoSnapshotPolicyId": snapshot.policy_id or "",
        "Tags": tags(snapshot.tags),
    }


@CBS.change
class ModifySnapshotAttribute(Action, frozen=True, kw_only=True):
    """Change name or deadline."""

    snapshot_id: Id
    is_permanent: bool | None = None
    snapshot_name: Text | None = None
    deadline: Time | None = None

    async def __call__(self, on: Context, caller: Caller) -> None:
        changes = SnapshotChanges(
            snapshot_id=self.snapshot_id,
            permanent=self.is_permanent,
            name=self.snapshot_name,
            deadline=self.deadline or None,
        )
        await on.calls.snapshot_records.modify(caller, changes)


@CBS.change
class ModifySnapshotsSharePermission(Action, frozen=True, kw_only=True):
    """Let other accounts make disks from snapshots, or take that back."""

    snapshot_ids: Ids
    account_ids: Ids
    permission: Word

    async def __call__(self, on: Context, caller: Caller) -> None:
        await on.calls.sharing.modify(caller, self.snapshot_ids, self.account_ids, self.permission)


class SharePermission(TypedDict):
    """An account that a snapshot is shared with."""

    AccountId: str
    CreatedTime: str


class _SharePermissions(TypedDict):
    SharePermissionSet: list[SharePermission]


@CBS.read
class DescribeSnapshotSharePermission(Action, frozen=True, kw_only=True):
    """List whom a snapshot is shared with."""

    snapshot_id: Id

    async def __call__(self, on: Context, caller: Caller) -> _SharePermissions:
        shared = await on.calls.sharing.describe(caller, self.snapshot_id)
        return {
            "SharePermissionSet": [
                {"AccountId": one.account_id, "CreatedTime": on.local_time(one.created_at)} for one in shared
            ]
        }


class SnapshotCopyResult(TypedDict):
    """What became of a copy."""

    SnapshotId: str
    DestinationRegion: str
    Code: str
    Message: str


class _CopyResults(TypedDict):
    SnapshotCopyResultSet: list[SnapshotCopyResult]


@CBS.change
class CopySnapshotCrossRegions(Action, frozen=True, kw_only=True):
    """Copy a snapshot to other regions: refused, there is one."""

    destination_regions: Words
    snapshot_id: Id | None = None
    snapshot_name: Text | None = None

    async def __call__(self, on: Context, caller: Caller) -> _CopyResults:
        await on.calls.snapshot_records.copy_to_regions(caller, self.snapshot_id, self.destination_regions)
        return {"SnapshotCopyResultSet": []}


class _Overview(TypedDict):
    TotalNums: int
    TotalSize: float
    FreeQuota: float
    RealTradeSize: float


@CBS.read
class DescribeSnapshotOverview(Action, frozen=True, kw_only=True):
    """Sum up an account's snapshots, GiB to the nearest byte or so."""

    async def __call__(self, on: Context, caller: Caller) -> _Overview:
        totals = await on.calls.snapshot_records.overview(caller)
        return {
            "TotalNums": totals.count,
            "TotalSize": round(totals.stored_gib, 9),
            "FreeQuota": round(totals.free_quota_gib, 9),
            "RealTradeSize": round(totals.billed_gib, 9),
        }


class _OldOverview(_Overview):
    DeprecatedWarning: str


@CBS.read
class GetSnapOverview(DescribeSnapshotOverview, frozen=True, kw_only=True):
    """The same under its old name."""

    async def __call__(self, on: Context, caller: Caller) -> _OldOverview:
        warning = "GetSnapOverview is deprecated; call DescribeSnapshotOverview."
        return {**await super().__call__(on, caller), "DeprecatedWarning": warning}
