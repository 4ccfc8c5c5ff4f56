"""What disks are attached to."""

from typing import Annotated, TypedDict

from drystone.api.actions import Action, Context, Paged
from drystone.api.answers import OneOf, iso_time
from drystone.api.drystone.service import DRYSTONE
from drystone.api.parameters import Id, Ids, Text, Word
from drystone.domain.instance import InstanceKind
from drystone.service import views
from drystone.service.caller import Caller


class Instance(TypedDict):
    """What disks are attached to."""

    InstanceId: str
    InstanceName: str
    Kind: Annotated[str, OneOf(tuple(InstanceKind))]
    Zone: str
    AttachedDiskCount: int
    MaxAttachCount: int
    CreateTime: str


class _Instances(TypedDict):
    TotalCount: int
    InstanceSet: list[Instance]


@DRYSTONE.read
class DescribeInstances(Paged, frozen=True, kw_only=True):
    """List instances."""

    instance_ids: Ids | None = None

    async def __call__(self, on: Context, caller: Caller) -> _Instances:
        page = await on.calls.instances.describe(caller, self.instance_ids or (), *self.page)
        return {"TotalCount": page.total, "InstanceSet": [_instance(view) for view in page.items]}


def _instance(view: views.InstanceView) -> Instance:
    return {
        "InstanceId": view.instance.id,
        "InstanceName": view.instance.name,
        "Kind": view.instance.kind.value,
        "Zone": view.instance.zone,
        "AttachedDiskCount": view.attached,
        "MaxAttachCount": view.attached_max,
        "CreateTime": iso_time(view.instance.created_at),
    }


class _InstanceId(TypedDict):
    InstanceId: str


@DRYSTONE.change
class CreateInstance(Action, frozen=True, kw_only=True):
    """Make an instance."""

    kind: Word
    instance_name: Text | None = None

    async def __call__(self, on: Context, caller: Caller) -> _InstanceId:
        return {"InstanceId": await on.calls.instances.create(caller, self.kind, self.instance_name)}


@DRYSTONE.change
class DeleteInstance(Action, frozen=True, kw_only=True):
    """Delete an instance that has no disk."""

    instance_id: Id

    async def __call__(self, on: Context, caller: Caller) -> None:
        await on.calls.instances.delete(caller, self.instance_id)
