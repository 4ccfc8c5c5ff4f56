"""Wire forms of CBS resources: every field that the clients know, with the empties that they can bear.

Clients written in Go dereference most fields without looking, so a field is null only where the description of the
API allows it, and a value that does not exist here is the documented empty one.
"""

import math
from collections.abc import Sequence
from datetime import timedelta, timezone

from drystone.api import answers
from drystone.domain.disk import PREPAID, SYSTEM_DISK, DiskState
from drystone.domain.disk_types import MIB
from drystone.domain.times import clamped, moment
from drystone.service.views import (
    DiskConfig,
    DiskView,
    InstanceDiskNumber,
    SnapshotGroupView,
    SnapshotOverview,
    SnapshotView,
)

_NOT_RETURNABLE = 10
"""ReturnFailCode of disks that are never refunded, such as postpaid ones; nothing is billed here."""
_DAY_S = 86400


class CbsRenderer:
    """Renders values of CBS 2017-03-12.

    Args:
        time_zone_offset_hours: Zone of the times that CBS writes without one (`2018-09-26 17:36:07`).
    """

    def __init__(self, *, time_zone_offset_hours: float) -> None:
        self._zone = timezone(timedelta(hours=time_zone_offset_hours))

    def local_time(self, at_s: float | None) -> str:
        """Return `2018-09-26 17:36:07` in the configured zone, or an empty string for no time."""
        if at_s is None:
            return ""
        return moment(at_s, self._zone).replace(tzinfo=None).isoformat(sep=" ", timespec="seconds")

    def disk(self, view: DiskView, *, policies: bool, now_s: float) -> answers.Disk:
        """Return a `Disk`.

        Args:
            view: The disk and the sums of its snapshots.
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
            "AutoSnapshotPolicyIds": [] if policies else None,
            "Rollbacking": rolling_back,
            "RollbackPercent": disk.rollback_percent if rolling_back else 100,
            "Migrating": False,
            "MigratePercent": 100,
            "Encrypt": False,
            "Tags": tags(disk.tags),
            "ThroughputPerformance": disk.throughput_performance,
            "BurstPerformance": disk.burst_performance,
            "BackupDisk": False,
            "DiskBackupQuota": disk.backup_quota,
            "DiskBackupCount": 0,
            "RenewFlag": disk.renew_flag,
            "AutoRenewFlagError": False,
            "DeadlineTime": self.local_time(disk.deadline_at),
            "DeadlineError": False,
            "DifferDaysOfDeadline": days,
            "IsReturnable": False,
            "ReturnFailCode": _NOT_RETURNABLE,
            "CreateTime": self.local_time(disk.created_at),
            "ErrorPrompt": disk.error_prompt,
        }

    def snapshot(self, view: SnapshotView) -> answers.Snapshot:
        """Return a `Snapshot`."""
        snapshot = view.snapshot
        return {
            "SnapshotId": snapshot.id,
            "SnapshotName": snapshot.name,
            "SnapshotState": "ROLLBACKING" if snapshot.rolling_back else snapshot.state.value,
            "SnapshotType": "PRIVATE_SNAPSHOT",
            "SnapshotMode": "STANDARD_SNAPSHOT",
            "Percent": snapshot.percent,
            "DiskId": snapshot.disk_id,
            "DiskSize": snapshot.size_gib,
            "DiskUsage": snapshot.usage,
            "Placement": placement(snapshot.zone, snapshot.project_id),
            "IsPermanent": snapshot.permanent,
            "DeadlineTime": "" if snapshot.permanent else self.local_time(snapshot.deadline_at),
            "CreateTime": self.local_time(snapshot.created_at),
            "LatestModifyTime": iso_time(snapshot.modified_at),
            "IsLocked": False,
            "Encrypt": False,
            "CopyFromRemote": False,
            "CopyingToRegions": [],
            "ShareReference": 0,
            "TimeStartShare": "",
            "Images": [],
            "ImageCount": 0,
            "Tags": tags(snapshot.tags),
        }


def snapshot_group(view: SnapshotGroupView) -> answers.SnapshotGroup:
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
        "DeadlineTime": iso_time(min(deadlines)) if deadlines else None,
        "AutoSnapshotPolicyId": None,
        "CreateTime": iso_time(group.created_at),
        "ModifyTime": iso_time(group.modified_at),
        "Images": [],
        "ImageCount": 0,
    }


def iso_time(at_s: float) -> str:
    """Return `2022-04-02T17:44:55+00:00`."""
    return moment(at_s).isoformat(timespec="seconds")


def placement(zone: str, project_id: int) -> answers.DiskPlacement:
    """Return a `Placement`; there are no cages and no dedicated clusters here."""
    return {
        "Zone": zone,
        "ProjectId": project_id,
        "ProjectName": "",
        "CageId": "",
        "CdcId": "",
        "CdcName": "",
        "DedicatedClusterId": "",
    }


def tags(pairs: Sequence[tuple[str, str]]) -> list[answers.Tag]:
    """Return a list of `Tag`."""
    return [{"Key": key, "Value": value} for key, value in pairs]


def disk_config(config: DiskConfig) -> answers.DiskConfig:
    """Return a `DiskConfig`."""
    return {
        "Available": config.available,
        "DiskChargeType": config.charge_type,
        "Zone": config.zone,
        "InstanceFamily": None,
        "DiskType": config.disk_type,
        "StepSize": config.step_gib,
        "ExtraPerformanceRange": None if config.extra_performance_range is None else [*config.extra_performance_range],
        "DeviceClass": None,
        "DiskUsage": config.usage,
        "MinDiskSize": config.size_gib_min,
        "MaxDiskSize": config.size_gib_max,
        "Price": price(config.charge_type),
    }


def price(charge_type: str) -> answers.Price:
    """Return a `Price` of zero: nothing is billed, and clients want the fields of the way of charging."""
    prepaid = charge_type == PREPAID
    amount, text = (0.0, "0") if prepaid else (None, None)
    unit_amount, unit_text = (None, None) if prepaid else (0.0, "0")
    return {
        "OriginalPrice": amount,
        "OriginalPriceHigh": text,
        "DiscountPrice": amount,
        "DiscountPriceHigh": text,
        "UnitPrice": unit_amount,
        "UnitPriceHigh": unit_text,
        "UnitPriceDiscount": unit_amount,
        "UnitPriceDiscountHigh": unit_text,
        "ChargeUnit": None if prepaid else "HOUR",
    }


def instance_disk_number(number: InstanceDiskNumber) -> answers.AttachDetail:
    """Return an `AttachDetail`."""
    return {
        "InstanceId": number.instance_id,
        "AttachedDiskCount": number.attached,
        "MaxAttachCount": number.attached_max,
    }


def overview(totals: SnapshotOverview) -> answers.DescribeSnapshotOverviewAnswer:
    """Return the fields of DescribeSnapshotOverview, GiB to the nearest byte or so."""
    return {
        "TotalNums": totals.count,
        "TotalSize": round(totals.stored_gib, 9),
        "FreeQuota": round(totals.free_quota_gib, 9),
        "RealTradeSize": round(totals.billed_gib, 9),
    }
