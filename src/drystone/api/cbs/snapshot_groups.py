"""Snapshots of several disks at one instant, of CBS."""

from typing import Annotated, TypedDict

from drystone.api.actions import Action, Context, Paged
from drystone.api.answers import Image, SnapshotStateText, iso_time, iso_time_if
from drystone.api.cbs.service import CBS
from drystone.api.parameters import MANY, Filters, Id, Ids, Parameters, Tags, Text, conditions, pairs
from drystone.domain.disk import SYSTEM_DISK
from drystone.service import views
from drystone.service.caller import Caller
from drystone.service.requests import GroupRollback, NewSnapshotGroup, SnapshotGroupQuery


class _SnapshotGroupId(TypedDict):
    SnapshotGroupId: str


@CBS.change
class CreateSnapshotGroup(Action, frozen=True, kw_only=True):
    """Take snapshots of several disks; their one instant is fixed when this returns (P1)."""

    disk_ids: Ids
    snapshot_group_name: Text | None = None
    tags: Tags | None = None

    async def __call__(self, on: Context, caller: Caller) -> _SnapshotGroupId:
        new = NewSnapshotGroup(disk_ids=self.disk_ids, name=self.snapshot_group_name, tags=pairs(self.tags))
        return {"SnapshotGroupId": await on.calls.snapshot_groups.create(caller, new)}


class SnapshotGroup(TypedDict):
    """Snapshots of several disks at one instant."""

    SnapshotGroupId: str
    SnapshotGroupName: str
    SnapshotGroupType: str
    SnapshotGroupState: SnapshotStateText
    Percent: int
    SnapshotIdSet: list[str]
    ContainRootSnapshot: bool
    IsPermanent: bool
    DeadlineTime: str | None  # the earliest of its members
    AutoSnapshotPolicyId: str | None
    CreateTime: str
    ModifyTime: str
    Images: list[Image]
    ImageCount: int


class _SnapshotGroups(TypedDict):
    TotalCount: int
    SnapshotGroupSet: list[SnapshotGroup]


@CBS.read
class DescribeSnapshotGroups(Paged, frozen=True, kw_only=True):
    """List groups."""

    filters: Filters | None = None

    async def __call__(self, on: Context, caller: Caller) -> _SnapshotGroups:
        offset, limit = self.page
        query = SnapshotGroupQuery(filters=conditions(self.filters), offset=offset, limit=limit)
        page = await on.calls.snapshot_groups.describe(caller, query)
        return {"TotalCount": page.total, "SnapshotGroupSet": [_snapshot_group(view) for view in page.items]}


def _snapshot_group(view: views.SnapshotGroupView) -> SnapshotGroup:
    """Return a `SnapshotGroup`. All that it says of its end and its progress is said by its members."""
    group, members = view.group, view.members
    rolling_back = any(member.rolling_back for member in members)
    deadlines = [member.deadline_at for member in members if member.deadline_at is not None]
    percents = [member.percent for member in members]
    return {
        "SnapshotGroupId": group.id,
        "SnapshotGroupName": group.name,
        "SnapshotGroupType": "NORMAL",
        "SnapshotGroupState": "ROLLBACKING" if rolling_back else group.state.value,
        "Percent": sum(percents) // len(percents) if percents else 0,
        "SnapshotIdSet": [member.id for member in members],
        "ContainRootSnapshot": any(member.usage == SYSTEM_DISK for member in members),
        "IsPermanent": not deadlines,
        "DeadlineTime": iso_time_if(min(deadlines, default=None)),
        "AutoSnapshotPolicyId": next((member.policy_id for member in members), None),
        "CreateTime": iso_time(group.created_at),
        "ModifyTime": iso_time(group.modified_at),
        "Images": [],
        "ImageCount": 0,
    }


@CBS.change
class DeleteSnapshotGroup(Action, frozen=True, kw_only=True):
    """Delete groups with all their members: one id, or several, or both."""

    snapshot_group_id: Id | None = None
    snapshot_group_ids: Ids | None = None
    delete_bind_images: bool | None = None

    async def __call__(self, on: Context, caller: Caller) -> None:
        one = (self.snapshot_group_id,) if self.snapshot_group_id else ()
        ids, images = (*one, *(self.snapshot_group_ids or ())), self.delete_bind_images or False
        await on.calls.snapshot_groups.delete(caller, ids, delete_bind_images=images)


class ApplyDisk(Parameters, frozen=True, kw_only=True):
    """A member of a group, and the disk that it is of."""

    snapshot_id: Id
    disk_id: Id


@CBS.change
class ApplySnapshotGroup(Action, frozen=True, kw_only=True):
    """Roll disks back to members of a group."""

    snapshot_group_id: Id
    apply_disks: Annotated[tuple[ApplyDisk, ...], MANY]
    auto_stop_instance: bool | None = None
    auto_start_instance: bool | None = None

    async def __call__(self, on: Context, caller: Caller) -> None:
        await on.calls.snapshot_groups.apply(
            caller,
            self.snapshot_group_id,
            tuple(GroupRollback(snapshot_id=one.snapshot_id, disk_id=one.disk_id) for one in self.apply_disks),
            auto_stop=self.auto_stop_instance or False,
            auto_start=self.auto_start_instance or False,
        )
