"""Disks of CBS."""

import math
from typing import Annotated, TypedDict

from drystone.api.actions import Action, Context, Paged
from drystone.api.answers import DiskPlacement, OneOf, Tag, placement, tags
from drystone.api.cbs.service import CBS
from drystone.api.parameters import (
    Filters,
    Id,
    Ids,
    Integer,
    Parameters,
    Paths,
    Tags,
    Text,
    Time,
    Unsigned,
    Word,
    conditions,
    pairs,
)
from drystone.domain.disk import PREPAID, DiskState
from drystone.domain.disk_types import MIB
from drystone.domain.times import clamped
from drystone.service import views
from drystone.service.caller import Caller
from drystone.service.requests import DiskChanges, DiskQuery, NewDisks

_NOT_RETURNABLE = 10
"""ReturnFailCode of disks that are never refunded, such as postpaid ones; nothing is billed here."""
_DAY_S = 86400


class Placement(Parameters, frozen=True, kw_only=True):
    """Where a disk is. Only zone and project mean something here; the rest is echoed or refused by the use case."""

    zone: Word
    cage_id: Id | None = None
    cdc_id: Id | None = None
    cdc_name: Text | None = None
    dedicated_cluster_id: Id | None = None
    project_id: Unsigned | None = None
    project_name: Text | None = None


class DiskChargePrepaid(Parameters, frozen=True, kw_only=True):
    """Months and renewal of a prepaid disk."""

    period: Unsigned
    renew_flag: Word | None = None
    cur_instance_deadline: Time | None = None


class AutoMountConfiguration(Parameters, frozen=True, kw_only=True):
    """Attach, format and mount at creation."""

    instance_id: Ids
    mount_point: Paths | None = None
    file_system_type: Word | None = None


class _DiskIds(TypedDict):
    DiskIdSet: list[str]


@CBS.change
class CreateDisks(Action, frozen=True, kw_only=True):
    """Make disks; their ids are known at once."""

    placement: Placement
    disk_charge_type: Word
    disk_type: Word
    disk_name: Text | None = None
    tags: Tags | None = None
    snapshot_id: Id | None = None
    disk_count: Unsigned | None = None
    throughput_performance: Unsigned | None = None
    kms_key_id: Id | None = None
    disk_size: Unsigned | None = None
    shareable: bool | None = None
    client_token: Id | None = None
    encrypt: Word | None = None
    disk_charge_prepaid: DiskChargePrepaid | None = None
    delete_snapshot: Integer | None = None
    auto_mount_configuration: AutoMountConfiguration | None = None
    disk_backup_quota: Unsigned | None = None
    burst_performance: bool | None = None
    encrypt_type: Word | None = None
    auto_snapshot_policy_id: Id | None = None

    async def __call__(self, on: Context, caller: Caller) -> _DiskIds:
        place, prepaid, mount = self.placement, self.disk_charge_prepaid, self.auto_mount_configuration
        extra = (
            ("CageId", place.cage_id),
            ("CdcId", place.cdc_id),
            ("CdcName", place.cdc_name),
            ("DedicatedClusterId", place.dedicated_cluster_id),
        )
        new = NewDisks(
            zone=place.zone,
            project_id=place.project_id or 0,
            charge_type=self.disk_charge_type,
            disk_type=self.disk_type,
            size_gib=self.disk_size,
            # An empty text is how some clients write "none".
            snapshot_id=self.snapshot_id or None,
            count=1 if self.disk_count is None else self.disk_count,
            name=self.disk_name,
            tags=pairs(self.tags),
            client_token=self.client_token or None,
            throughput_performance=self.throughput_performance or 0,
            burst_performance=self.burst_performance or False,
            shareable=self.shareable or False,
            encrypt=self.encrypt or None,
            kms_key_id=self.kms_key_id or None,
            encrypt_type=self.encrypt_type or None,
            delete_snapshot=self.delete_snapshot or 0,
            backup_quota=self.disk_backup_quota or 0,
            renew_flag=prepaid.renew_flag if prepaid else None,
            prepaid_period=prepaid.period if prepaid else None,
            policy_id=self.auto_snapshot_policy_id or None,
            auto_mount_instance=",".join(mount.instance_id) if mount else None,
            placement_extra=tuple((name, value) for name, value in extra if value),
        )
        return {"DiskIdSet": [*await on.calls.disks.create(caller, new)]}


@CBS.change
class ResizeDisk(Action, frozen=True, kw_only=True):
    """Grow a disk."""

    disk_size: Unsigned
    disk_id: Id | None = None

    async def __call__(self, on: Context, caller: Caller) -> None:
        await on.calls.disks.resize(caller, self.disk_id, self.disk_size)


@CBS.change
class TerminateDisks(Action, frozen=True, kw_only=True):
    """Destroy disks that are not attached."""

    disk_ids: Ids
    delete_snapshot: Integer | None = None

    async def __call__(self, on: Context, caller: Caller) -> None:
        await on.calls.disks.terminate(caller, self.disk_ids, delete_snapshot=self.delete_snapshot)


@CBS.change
class AttachDisks(Action, frozen=True, kw_only=True):
    """Attach disks to an instance. The CSI driver sends `InstanceType`, though no document has it."""

    instance_id: Id
    disk_ids: Ids
    delete_with_instance: bool | None = None
    attach_mode: Word | None = None
    instance_type: Word | None = None

    async def __call__(self, on: Context, caller: Caller) -> None:
        await on.calls.disks.attach(
            caller,
            self.instance_id,
            self.disk_ids,
            delete_with_instance=self.delete_with_instance,
            attach_mode=self.attach_mode,
        )


@CBS.change
class DetachDisks(Action, frozen=True, kw_only=True):
    """Detach disks. The CSI driver sends `InstanceType`, though no document has it."""

    disk_ids: Ids
    instance_id: Id | None = None
    instance_type: Word | None = None

    async def __call__(self, on: Context, caller: Caller) -> None:
        await on.calls.disks.detach(caller, self.disk_ids, self.instance_id or None)


@CBS.change
class InitializeDisks(Action, frozen=True, kw_only=True):
    """Empty disks, or return them to the snapshot that they were made from."""

    disk_ids: Ids

    async def __call__(self, on: Context, caller: Caller) -> None:
        await on.calls.disks.initialize(caller, self.disk_ids)


class Disk(TypedDict):
    """A disk."""

    DiskId: str
    DiskName: str
    DiskState: Annotated[str, OneOf(tuple(state.value for state in DiskState if state.visible))]
    DiskSize: int  # GiB
    DiskType: str
    DiskUsage: str
    DiskChargeType: str
    Placement: DiskPlacement
    Portable: bool
    Shareable: bool
    Attached: bool
    InstanceId: str
    InstanceIdList: list[str]
    InstanceType: str
    LastAttachInsId: str | None
    AttachMode: str
    DeleteWithInstance: bool
    DeleteSnapshot: int
    SnapshotAbility: bool
    SnapshotCount: int
    SnapshotSize: int  # MiB, of all its snapshots
    AutoSnapshotPolicyIds: list[str] | None
    Rollbacking: bool
    RollbackPercent: int
    Migrating: bool
    MigratePercent: int
    Encrypt: bool
    EncryptType: str
    KmsKeyId: str  # id of the key that wraps its own; empty for a plain disk
    Tags: list[Tag]
    ThroughputPerformance: int
    BurstPerformance: bool
    BackupDisk: bool
    DiskBackupQuota: int
    DiskBackupCount: int
    RenewFlag: str
    AutoRenewFlagError: bool
    DeadlineTime: str
    DeadlineError: bool
    DifferDaysOfDeadline: int | None
    IsReturnable: bool
    ReturnFailCode: int
    CreateTime: str
    ErrorPrompt: str


class _Disks(TypedDict):
    TotalCount: int
    DiskSet: list[Disk]


@CBS.read
class DescribeDisks(Paged, frozen=True, kw_only=True):
    """List disks."""

    filters: Filters | None = None
    order_field: Word | None = None
    return_bind_auto_snapshot_policy: bool | None = None
    disk_ids: Ids | None = None
    order: Word | None = None

    async def __call__(self, on: Context, caller: Caller) -> _Disks:
        policies = self.return_bind_auto_snapshot_policy or False
        offset, limit = self.page
        query = DiskQuery(
            disk_ids=self.disk_ids or (),
            filters=conditions(self.filters),
            order=self.order,
            order_field=self.order_field,
            offset=offset,
            limit=limit,
            with_policies=policies,
        )
        page = await on.calls.disk_records.describe(caller, query)
        now_s = on.clock()
        return {
            "TotalCount": page.total,
            "DiskSet": [disk_fields(view, on, policies=policies, now_s=now_s) for view in page.items],
        }


def disk_fields(view: views.DiskView, on: Context, *, policies: bool, now_s: float) -> Disk:
    """Return a `Disk`.

    Args:
        view: The disk and the sums of its snapshots.
        on: Has the zone.
        policies: Whether AutoSnapshotPolicyIds was asked for; it is null otherwise.
        now_s: The clock, for the days to a prepaid disk's deadline.
    """
    disk = view.disk
    rolling_back = disk.state is DiskState.ROLLBACKING
    attached = disk.instance_id is not None and disk.state is not DiskState.ATTACHING
    days = None
    if disk.charge_type == PREPAID and disk.deadline_at is not None:
        days = math.floor((clamped(disk.deadline_at) - now_s) / _DAY_S)
    return {
        "DiskId": disk.id,
        "DiskName": disk.name,
        "DiskState": disk.state.value,
        "DiskSize": disk.size_gib,
        "DiskType": disk.type,
        "DiskUsage": disk.usage,
        "DiskChargeType": disk.charge_type,
        "Placement": placement(disk.zone, disk.project_id),
        "Portable": disk.portable,
        "Shareable": disk.shareable,
        "Attached": attached,
        "InstanceId": disk.instance_id or "",
        "InstanceIdList": [disk.instance_id] if disk.shareable and disk.instance_id else [],
        "InstanceType": "CVM" if disk.instance_id else "",
        "LastAttachInsId": disk.last_attach_instance_id,
        "AttachMode": "PF",
        "DeleteWithInstance": disk.delete_with_instance,
        "DeleteSnapshot": int(disk.delete_snapshot),
        "SnapshotAbility": not disk.shareable,
        "SnapshotCount": view.snapshot_count,
        "SnapshotSize": math.ceil(view.snapshot_bytes / MIB),
        "AutoSnapshotPolicyIds": [*view.policy_ids] if policies else None,
        "Rollbacking": rolling_back,
        "RollbackPercent": disk.rollback_percent if rolling_back else 100,
        "Migrating": False,
        "MigratePercent": 100,
        "Encrypt": disk.encryption is not None,
        "EncryptType": "" if disk.encryption is None else disk.encryption.type,
        "KmsKeyId": "" if disk.encryption is None else disk.encryption.kek,
        "Tags": tags(disk.tags),
        "ThroughputPerformance": disk.throughput_performance,
        "BurstPerformance": disk.burst_performance,
        "BackupDisk": False,
        "DiskBackupQuota": disk.backup_quota,
        "DiskBackupCount": view.backup_count,
        "RenewFlag": disk.renew_flag,
        "AutoRenewFlagError": False,
        "DeadlineTime": on.local_time(disk.deadline_at),
        "DeadlineError": False,
        "DifferDaysOfDeadline": days,
        "IsReturnable": False,
        "ReturnFailCode": _NOT_RETURNABLE,
        "CreateTime": on.local_time(disk.created_at),
        "ErrorPrompt": disk.error_prompt,
    }


@CBS.change
class ModifyDiskAttributes(Action, frozen=True, kw_only=True):
    """Change attributes of disks."""

    disk_ids: Ids
    disk_name: Text | None = None
    portable: bool | None = None
    project_id: Unsigned | None = None
    delete_with_instance: bool | None = None
    disk_type: Word | None = None
    burst_performance_operation: Word | None = None

    async def __call__(self, on: Context, caller: Caller) -> None:
        changes = DiskChanges(
            disk_ids=self.disk_ids,
            name=self.disk_name,
            portable=self.portable,
            project_id=self.project_id,
            delete_with_instance=self.delete_with_instance,
            disk_type=self.disk_type,
            burst_operation=self.burst_performance_operation,
        )
        await on.calls.disk_records.modify(caller, changes)


@CBS.change
class ModifyDiskExtraPerformance(Action, frozen=True, kw_only=True):
    """Change how much throughput is bought for a disk; it has that at once, also while it is in use."""

    throughput_performance: Unsigned
    disk_id: Id

    async def __call__(self, on: Context, caller: Caller) -> None:
        await on.calls.disk_records.modify_throughput(caller, self.disk_id, self.throughput_performance)


class AttachDetail(TypedDict):
    """How many disks an instance has and may have."""

    InstanceId: str
    AttachedDiskCount: int
    MaxAttachCount: int


class _InstancesDiskNum(TypedDict):
    AttachDetail: list[AttachDetail]


@CBS.read
class DescribeInstancesDiskNum(Action, frozen=True, kw_only=True):
    """Count the disks of instances."""

    instance_ids: Ids

    async def __call__(self, on: Context, caller: Caller) -> _InstancesDiskNum:
        numbers = await on.calls.disk_records.instances_disk_num(caller, self.instance_ids)
        return {
            "AttachDetail": [
                {"InstanceId": one.instance_id, "AttachedDiskCount": one.attached, "MaxAttachCount": one.attached_max}
                for one in numbers
            ]
        }
