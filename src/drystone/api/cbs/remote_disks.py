"""Dedicated clusters and remote disks of CBS: there are none here, so lists of them are empty.

What would make, change or price one is not served (`service.NOT_SERVED`).
"""

from typing import TypedDict

from drystone.api.actions import Action, Context, Paged
from drystone.api.answers import DiskPlacement
from drystone.api.cbs.service import CBS
from drystone.api.parameters import Filters, Id, Ids, conditions
from drystone.service.caller import Caller

_POOL_FILTERS = ("cage-id", "cdc-id", "disk-type", "zone")
_CONFIG_FILTERS = ("instance-charge-type", "instance-family", "instance-type", "zone")


class CdcSize(TypedDict):
    """How large a dedicated cluster is, GiB."""

    DiskTotal: int
    DiskAvailable: int


class Cdc(TypedDict):
    """A dedicated cluster."""

    CdcId: str
    CdcName: str
    CdcState: str
    CdcResource: CdcSize
    CageId: str | None
    Zone: str
    DiskType: str
    DiskNumber: int
    CreatedTime: str
    ExpiredTime: str


class _Pools(TypedDict):
    TotalCount: int
    CdcSet: list[Cdc]
    DiskStoragePoolSet: list[Cdc]


@CBS.read
class DescribeDiskStoragePool(Paged, frozen=True, kw_only=True):
    """List dedicated clusters."""

    cdc_ids: Ids | None = None
    filters: Filters | None = None

    async def __call__(self, on: Context, caller: Caller) -> _Pools:
        await on.calls.disk_records.none_of(
            caller, _POOL_FILTERS, ids=self.cdc_ids or (), filters=conditions(self.filters), page=self.page
        )
        return {"TotalCount": 0, "CdcSet": [], "DiskStoragePoolSet": []}


class DedicatedClusterDiskStatistic(TypedDict):
    """How much of a dedicated cluster is used, GiB."""

    DiskType: str
    TotalDiskSize: int
    UsedDiskSize: int
    AvailableDiskSize: int


class _ClusterStatistics(TypedDict):
    DedicatedClusterDiskStatisticSet: list[DedicatedClusterDiskStatistic]


@CBS.read
class DescribeDedicatedClusterDiskStatistics(Action, frozen=True, kw_only=True):
    """Tell how much of a dedicated cluster is used."""

    dedicated_cluster_id: Id

    async def __call__(self, on: Context, caller: Caller) -> _ClusterStatistics:
        await on.calls.disk_records.none_of(caller, (), ids=(self.dedicated_cluster_id,))
        return {"DedicatedClusterDiskStatisticSet": []}


class RemoteDiskDetail(TypedDict):
    """A remote disk."""

    RemoteDiskId: str
    RemoteDiskName: str
    RemoteDiskState: str
    RemoteDiskType: str
    InstanceId: str | None
    DiskChargeType: str
    Placement: DiskPlacement
    DiskSize: int
    CreateTime: str
    DeadlineTime: str | None
    RenewFlag: str | None


class _RemoteDisks(TypedDict):
    TotalCount: int
    RemoteDiskSet: list[RemoteDiskDetail]


@CBS.read
class DescribeRemoteDisks(Action, frozen=True, kw_only=True):
    """List remote disks. No document says which filters there are."""

    filters: Filters | None = None

    async def __call__(self, on: Context, caller: Caller) -> _RemoteDisks:
        names = [one.name for one in self.filters or ()]
        await on.calls.disk_records.none_of(caller, names, filters=conditions(self.filters))
        return {"TotalCount": 0, "RemoteDiskSet": []}


@CBS.read
class DescribeRemoteDisksDeniedActions(Action, frozen=True, kw_only=True):
    """Tell what may not be done with remote disks."""

    remote_disk_ids: Ids

    async def __call__(self, on: Context, caller: Caller) -> None:
        await on.calls.disk_records.none_of(caller, (), ids=self.remote_disk_ids)


@CBS.read
class DescribeRemoteDiskConfigQuota(Action, frozen=True, kw_only=True):
    """List the remote disks that may be had."""

    filters: Filters | None = None

    async def __call__(self, on: Context, caller: Caller) -> None:
        await on.calls.disk_records.none_of(caller, _CONFIG_FILTERS, filters=conditions(self.filters))
