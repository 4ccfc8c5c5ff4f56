"""Instances as `cvm` tells them: what disks are attached to. Of machines nothing is known here, and so it is empty."""

from typing import TypedDict

from drystone.api.actions import Context, Paged
from drystone.api.answers import Tag, iso_time
from drystone.api.cvm.service import CVM
from drystone.api.parameters import Filters, Ids, conditions
from drystone.domain.disk import POSTPAID, Disk
from drystone.service.caller import Caller
from drystone.service.calls.instances import RUNNING
from drystone.service.views import InstanceDisks


class InstancePlacement(TypedDict):
    """Where an instance is."""

    Zone: str
    ProjectId: int
    HostIds: list[str]
    HostId: str
    DedicatedResourcePackTenancy: str
    DedicatedResourcePackIds: list[str]
    RackId: str


class SystemDisk(TypedDict):
    """A disk that a machine starts from: here none is known."""

    DiskType: str
    DiskId: str
    DiskSize: int
    CdcId: str
    DiskName: str
    Encrypt: bool
    KmsKeyId: str


class DataDisk(TypedDict):
    """A disk that is attached."""

    DiskSize: int
    DiskType: str
    DiskId: str
    DeleteWithInstance: bool
    SnapshotId: str
    Encrypt: bool
    KmsKeyId: str
    ThroughputPerformance: int
    CdcId: str
    BurstPerformance: bool
    DiskName: str


class InternetAccessible(TypedDict):
    """The way to the internet."""

    InternetChargeType: str
    InternetMaxBandwidthOut: int
    PublicIpAssigned: bool
    BandwidthPackageId: str
    InternetServiceProvider: str
    IPv4AddressType: str
    IPv6AddressType: str
    AntiDDoSPackageId: str


class VirtualPrivateCloud(TypedDict):
    """The private network."""

    VpcId: str
    SubnetId: str
    AsVpcGateway: bool
    PrivateIpAddresses: list[str]
    Ipv6AddressCount: int


class LoginSettings(TypedDict):
    """How to log in."""

    Password: str
    KeyIds: list[str]
    KeepImageLogin: str


class MetadataItem(TypedDict):
    """A key and a value for a machine."""

    Key: str
    Value: str


class Metadata(TypedDict):
    """Keys and values for a machine."""

    Items: list[MetadataItem]


class CpuTopology(TypedDict):
    """Cores and threads."""

    CoreCount: int | None
    ThreadPerCore: int | None


class CvmInstance(TypedDict):
    """An instance."""

    Placement: InstancePlacement
    InstanceId: str
    InstanceType: str
    CPU: int
    Memory: int
    RestrictState: str
    InstanceName: str
    InstanceChargeType: str
    SystemDisk: SystemDisk
    DataDisks: list[DataDisk]
    PrivateIpAddresses: list[str]
    PublicIpAddresses: list[str]
    InternetAccessible: InternetAccessible
    VirtualPrivateCloud: VirtualPrivateCloud
    ImageId: str
    RenewFlag: str
    CreatedTime: str
    ExpiredTime: str
    OsName: str
    SecurityGroupIds: list[str]
    LoginSettings: LoginSettings
    InstanceState: str
    Tags: list[Tag]
    StopChargingMode: str
    Uuid: str
    LatestOperation: str
    LatestOperationState: str
    LatestOperationRequestId: str
    DisasterRecoverGroupId: str
    IPv6Addresses: list[str]
    CamRoleName: str
    HpcClusterId: str
    RdmaIpAddresses: list[str]
    DedicatedClusterId: str
    IsolatedSource: str
    DisasterRecoverGroupIds: list[str]
    LicenseType: str
    DisableApiTermination: bool
    HostName: str
    DefaultLoginUser: str
    DefaultLoginPort: int
    LatestOperationErrorMsg: str
    EnableJumboFrame: bool
    Metadata: Metadata
    PublicIPv6Addresses: list[str]
    CpuTopology: CpuTopology
    PartitionNumber: int


class _Instances(TypedDict):
    TotalCount: int
    InstanceSet: list[CvmInstance]


@CVM.read
class DescribeInstances(Paged, frozen=True, kw_only=True):
    """List instances, each with the disks that are attached to it."""

    instance_ids: Ids | None = None
    filters: Filters | None = None

    async def __call__(self, on: Context, caller: Caller) -> _Instances:
        offset, limit = self.page
        wanted = conditions(self.filters)
        found = await on.calls.instances.with_disks(caller, self.instance_ids or (), wanted, offset, limit)
        return {"TotalCount": found.total, "InstanceSet": [instance_fields(view) for view in found.items]}


class InstanceStatus(TypedDict):
    """The state of an instance."""

    InstanceId: str
    InstanceState: str


class _Statuses(TypedDict):
    TotalCount: int
    InstanceStatusSet: list[InstanceStatus]


@CVM.read
class DescribeInstancesStatus(Paged, frozen=True, kw_only=True):
    """List the states of instances."""

    instance_ids: Ids | None = None

    async def __call__(self, on: Context, caller: Caller) -> _Statuses:
        offset, limit = self.page
        found = await on.calls.instances.describe(caller, self.instance_ids or (), offset, limit)
        shown: list[InstanceStatus] = [
            {"InstanceId": view.instance.id, "InstanceState": RUNNING} for view in found.items
        ]  # fmt: skip
        return {"TotalCount": found.total, "InstanceStatusSet": shown}


def instance_fields(view: InstanceDisks) -> CvmInstance:
    """Return an `Instance` of cvm."""
    instance = view.instance
    return {
        "Placement": {
            "Zone": instance.zone,
            "ProjectId": 0,
            "HostIds": [],
            "HostId": "",
            "DedicatedResourcePackTenancy": "",
            "DedicatedResourcePackIds": [],
            "RackId": "",
        },
        "InstanceId": instance.id,
        "InstanceType": "",
        "CPU": 0,
        "Memory": 0,
        "RestrictState": "NORMAL",
        "InstanceName": instance.name,
        "InstanceChargeType": POSTPAID,
        "SystemDisk": {
            "DiskType": "",
            "DiskId": "",
            "DiskSize": 0,
            "CdcId": "",
            "DiskName": "",
            "Encrypt": False,
            "KmsKeyId": "",
        },
        "DataDisks": [_data_disk(disk) for disk in view.disks],
        "PrivateIpAddresses": [],
        "PublicIpAddresses": [],
        "InternetAccessible": {
            "InternetChargeType": "",
            "InternetMaxBandwidthOut": 0,
            "PublicIpAssigned": False,
            "BandwidthPackageId": "",
            "InternetServiceProvider": "",
            "IPv4AddressType": "",
            "IPv6AddressType": "",
            "AntiDDoSPackageId": "",
        },
        "VirtualPrivateCloud": {
            "VpcId": "",
            "SubnetId": "",
            "AsVpcGateway": False,
            "PrivateIpAddresses": [],
            "Ipv6AddressCount": 0,
        },
        "ImageId": "",
        "RenewFlag": "",
        "CreatedTime": iso_time(instance.created_at),
        "ExpiredTime": "",
        "OsName": "",
        "SecurityGroupIds": [],
        "LoginSettings": {"Password": "", "KeyIds": [], "KeepImageLogin": ""},
        "InstanceState": RUNNING,
        "Tags": [],
        "StopChargingMode": "NOT_APPLICABLE",
        "Uuid": "",
        "LatestOperation": "",
        "LatestOperationState": "",
        "LatestOperationRequestId": "",
        "DisasterRecoverGroupId": "",
        "IPv6Addresses": [],
        "CamRoleName": "",
        "HpcClusterId": "",
        "RdmaIpAddresses": [],
        "DedicatedClusterId": "",
        "IsolatedSource": "",
        "DisasterRecoverGroupIds": [],
        "LicenseType": "",
        "DisableApiTermination": False,
        "HostName": "",
        "DefaultLoginUser": "",
        "DefaultLoginPort": 0,
        "LatestOperationErrorMsg": "",
        "EnableJumboFrame": False,
        "Metadata": {"Items": []},
        "PublicIPv6Addresses": [],
        "CpuTopology": {"CoreCount": None, "ThreadPerCore": None},
        "PartitionNumber": 0,
    }


def _data_disk(disk: Disk) -> DataDisk:
    return {
        "DiskSize": disk.size_gib,
        "DiskType": disk.type,
        "DiskId": disk.id,
        "DeleteWithInstance": disk.delete_with_instance,
        "SnapshotId": disk.source_snapshot_id or "",
        "Encrypt": False,
        "KmsKeyId": "",
        "ThroughputPerformance": disk.throughput_performance,
        "CdcId": "",
        "BurstPerformance": disk.burst_performance,
        "DiskName": disk.name,
    }
