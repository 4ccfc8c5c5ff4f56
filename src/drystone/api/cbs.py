"""The actions of CBS 2017-03-12: from decoded parameters to a use case, and from its result to fields."""

from collections.abc import Callable

from drystone.api import answers
from drystone.api import cbs_parameters as sent
from drystone.api.actions import Action, Service
from drystone.api.ports import UseCases
from drystone.api.render import CbsRenderer, disk_config, instance_disk_number, overview, snapshot_group
from drystone.service.caller import Caller
from drystone.service.requests import (
    PAGE_LIMIT,
    ConfigQuery,
    DiskChanges,
    DiskQuery,
    Filters,
    GroupRollback,
    NewDisks,
    NewSnapshot,
    NewSnapshotGroup,
    SnapshotChanges,
    SnapshotGroupQuery,
    SnapshotQuery,
    Tags,
)

VERSION = "2017-03-12"

_DEPRECATED = "GetSnapOverview is deprecated; call DescribeSnapshotOverview."

NOT_SERVED = frozenset(
    {
        "ApplyDiskBackup",
        "AttachRemoteDisks",
        "BindAutoSnapshotPolicy",
        "CopyAutoSnapshotPolicyCrossAccount",
        "CopySnapshotCrossRegions",
        "CreateAutoSnapshotPolicy",
        "CreateDiskBackup",
        "CreateRemoteDisks",
        "DeleteAutoSnapshotPolicies",
        "DeleteDiskBackups",
        "DescribeAutoSnapshotPolicies",
        "DescribeDedicatedClusterDiskStatistics",
        "DescribeDiskAssociatedAutoSnapshotPolicy",
        "DescribeDiskBackups",
        "DescribeDiskStoragePool",
        "DescribeRemoteDiskConfigQuota",
        "DescribeRemoteDisks",
        "DescribeRemoteDisksDeniedActions",
        "DescribeSnapshotSharePermission",
        "DetachRemoteDisks",
        "InquirePriceCreateRemoteDisks",
        "InquirePriceModifyDiskBackupQuota",
        "InquirePriceModifyDiskExtraPerformance",
        "InquirePriceRenewRemoteDisks",
        "InquiryPriceCreateDisks",
        "InquiryPriceRenewDisks",
        "InquiryPriceResizeDisk",
        "ModifyAutoSnapshotPolicyAttribute",
        "ModifyDiskBackupQuota",
        "ModifyDiskExtraPerformance",
        "ModifyDisksChargeType",
        "ModifyDisksRenewFlag",
        "ModifyRemoteDiskAttributes",
        "ModifySnapshotsSharePermission",
        "RenewDisk",
        "RenewRemoteDisk",
        "SwitchParameterCreateRemoteDisks",
        "SwitchParameterRenewRemoteDisks",
        "TerminateRemoteDisks",
        "UnbindAutoSnapshotPolicy",
    }
)
"""Documented actions that answer UnsupportedOperation, so that a client can tell them from a misspelt name."""


def cbs_service(use_cases: UseCases, *, renderer: CbsRenderer, clock: Callable[[], float]) -> Service:
    """Return CBS 2017-03-12 over these use cases."""
    on = _CbsActions(use_cases, renderer, clock)
    actions = (
        Action(name="ApplySnapshot", parameters=sent.ApplySnapshot, run=on.apply_snapshot, changes=True),
        Action(
            name="ApplySnapshotGroup", parameters=sent.ApplySnapshotGroup, run=on.apply_snapshot_group, changes=True
        ),
        Action(name="AttachDisks", parameters=sent.AttachDisks, run=on.attach_disks, changes=True),
        Action(name="CreateDisks", parameters=sent.CreateDisks, run=on.create_disks, changes=True),
        Action(name="CreateSnapshot", parameters=sent.CreateSnapshot, run=on.create_snapshot, changes=True),
        Action(
            name="CreateSnapshotGroup", parameters=sent.CreateSnapshotGroup, run=on.create_snapshot_group, changes=True
        ),
        Action(
            name="DeleteSnapshotGroup", parameters=sent.DeleteSnapshotGroup, run=on.delete_snapshot_group, changes=True
        ),
        Action(name="DeleteSnapshots", parameters=sent.DeleteSnapshots, run=on.delete_snapshots, changes=True),
        Action(name="DescribeDiskConfigQuota", parameters=sent.DescribeDiskConfigQuota, run=on.describe_config_quota),
        Action(name="DescribeDisks", parameters=sent.DescribeDisks, run=on.describe_disks),
        Action(
            name="DescribeInstancesDiskNum",
            parameters=sent.DescribeInstancesDiskNum,
            run=on.describe_instances_disk_num,
        ),
        Action(name="DescribeSnapshotGroups", parameters=sent.DescribeSnapshotGroups, run=on.describe_snapshot_groups),
        Action(name="DescribeSnapshotOverview", parameters=sent.DescribeSnapshotOverview, run=on.describe_overview),
        Action(name="DescribeSnapshots", parameters=sent.DescribeSnapshots, run=on.describe_snapshots),
        Action(name="DetachDisks", parameters=sent.DetachDisks, run=on.detach_disks, changes=True),
        Action(name="GetSnapOverview", parameters=sent.DescribeSnapshotOverview, run=on.get_overview),
        Action(name="InitializeDisks", parameters=sent.InitializeDisks, run=on.initialize_disks, changes=True),
        Action(name="ModifyDiskAttributes", parameters=sent.ModifyDiskAttributes, run=on.modify_disks, changes=True),
        Action(
            name="ModifySnapshotAttribute",
            parameters=sent.ModifySnapshotAttribute,
            run=on.modify_snapshot,
            changes=True,
        ),
        Action(name="ResizeDisk", parameters=sent.ResizeDisk, run=on.resize_disk, changes=True),
        Action(name="TerminateDisks", parameters=sent.TerminateDisks, run=on.terminate_disks, changes=True),
    )
    by_name = {action.name: action for action in actions}
    return Service(name="cbs", version=VERSION, regional=True, actions=by_name, known=NOT_SERVED.union(by_name))


class _CbsActions:
    """One method per action; each only translates."""

    def __init__(self, use_cases: UseCases, renderer: CbsRenderer, clock: Callable[[], float]) -> None:
        self._use_cases = use_cases
        self._render = renderer
        self._clock = clock

    async def create_disks(self, caller: Caller, given: sent.CreateDisks) -> answers.DiskIdsAnswer:
        placement, prepaid, mount = given.placement, given.disk_charge_prepaid, given.auto_mount_configuration
        extra = (
            ("CageId", placement.cage_id),
            ("CdcId", placement.cdc_id),
            ("CdcName", placement.cdc_name),
            ("DedicatedClusterId", placement.dedicated_cluster_id),
        )
        new = NewDisks(
            zone=placement.zone,
            project_id=placement.project_id or 0,
            charge_type=given.disk_charge_type,
            disk_type=given.disk_type,
            size_gib=given.disk_size,
            # An empty text is how some clients write "none".
            snapshot_id=given.snapshot_id or None,
            count=1 if given.disk_count is None else given.disk_count,
            name=given.disk_name,
            tags=_tags(given.tags),
            client_token=given.client_token or None,
            throughput_performance=given.throughput_performance or 0,
            burst_performance=given.burst_performance or False,
            shareable=given.shareable or False,
            encrypt=given.encrypt or None,
            kms_key_id=given.kms_key_id or None,
            encrypt_type=given.encrypt_type or None,
            delete_snapshot=given.delete_snapshot or 0,
            backup_quota=given.disk_backup_quota or 0,
            renew_flag=prepaid.renew_flag if prepaid else None,
            prepaid_period=prepaid.period if prepaid else None,
            auto_mount_instance=",".join(mount.instance_id) if mount else None,
            placement_extra=tuple((name, value) for name, value in extra if value),
        )
        return {"DiskIdSet": [*await self._use_cases.disks.create(caller, new)]}

    async def resize_disk(self, caller: Caller, given: sent.ResizeDisk) -> answers.NothingAnswer:
        await self._use_cases.disks.resize(caller, given.disk_id, given.disk_size)
        return {}

    async def terminate_disks(self, caller: Caller, given: sent.TerminateDisks) -> answers.NothingAnswer:
        await self._use_cases.disks.terminate(caller, given.disk_ids, delete_snapshot=given.delete_snapshot)
        return {}

    async def attach_disks(self, caller: Caller, given: sent.AttachDisks) -> answers.NothingAnswer:
        await self._use_cases.disks.attach(
            caller,
            given.instance_id,
            given.disk_ids,
            delete_with_instance=given.delete_with_instance,
            attach_mode=given.attach_mode,
        )
        return {}

    async def detach_disks(self, caller: Caller, given: sent.DetachDisks) -> answers.NothingAnswer:
        await self._use_cases.disks.detach(caller, given.disk_ids, given.instance_id or None)
        return {}

    async def initialize_disks(self, caller: Caller, given: sent.InitializeDisks) -> answers.NothingAnswer:
        await self._use_cases.disks.initialize(caller, given.disk_ids)
        return {}

    async def describe_disks(self, caller: Caller, given: sent.DescribeDisks) -> answers.DescribeDisksAnswer:
        policies = given.return_bind_auto_snapshot_policy or False
        query = DiskQuery(
            disk_ids=given.disk_ids or (),
            filters=_filters(given.filters),
            order=given.order,
            order_field=given.order_field,
            offset=given.offset or 0,
            limit=PAGE_LIMIT if given.limit is None else given.limit,
            with_policies=policies,
        )
        page = await self._use_cases.disk_records.describe(caller, query)
        now_s = self._clock()
        return {
            "TotalCount": page.total,
            "DiskSet": [self._render.disk(view, policies=policies, now_s=now_s) for view in page.items],
        }

    async def modify_disks(self, caller: Caller, given: sent.ModifyDiskAttributes) -> answers.NothingAnswer:
        changes = DiskChanges(
            disk_ids=given.disk_ids,
            name=given.disk_name,
            portable=given.portable,
            project_id=given.project_id,
            delete_with_instance=given.delete_with_instance,
            disk_type=given.disk_type,
            burst_operation=given.burst_performance_operation,
        )
        await self._use_cases.disk_records.modify(caller, changes)
        return {}

    async def describe_config_quota(
        self, caller: Caller, given: sent.DescribeDiskConfigQuota
    ) -> answers.DescribeDiskConfigQuotaAnswer:
        query = ConfigQuery(
            inquiry_type=given.inquiry_type,
            charge_type=given.disk_charge_type,
            instance_families=given.instance_families or (),
            disk_types=given.disk_types or (),
            zones=given.zones or (),
            memory=given.memory,
            cpu=given.cpu,
            usage=given.disk_usage,
            dedicated_cluster_id=given.dedicated_cluster_id,
        )
        configs = await self._use_cases.disk_records.config_quota(caller, query)
        return {"DiskConfigSet": [disk_config(config) for config in configs]}

    async def describe_instances_disk_num(
        self, caller: Caller, given: sent.DescribeInstancesDiskNum
    ) -> answers.DescribeInstancesDiskNumAnswer:
        numbers = await self._use_cases.disk_records.instances_disk_num(caller, given.instance_ids)
        return {"AttachDetail": [instance_disk_number(number) for number in numbers]}

    async def create_snapshot(self, caller: Caller, given: sent.CreateSnapshot) -> answers.SnapshotIdAnswer:
        new = NewSnapshot(
            disk_id=given.disk_id or None,
            name=given.snapshot_name,
            deadline=given.deadline or None,
            disk_backup_id=given.disk_backup_id or None,
            tags=_tags(given.tags),
            local=given.local_snap or False,
            usage=given.disk_usage or None,
        )
        return {"SnapshotId": await self._use_cases.snapshots.create(caller, new)}

    async def delete_snapshots(self, caller: Caller, given: sent.DeleteSnapshots) -> answers.NothingAnswer:
        await self._use_cases.snapshots.delete(
            caller, given.snapshot_ids, delete_bind_images=given.delete_bind_images or False
        )
        return {}

    async def apply_snapshot(self, caller: Caller, given: sent.ApplySnapshot) -> answers.NothingAnswer:
        await self._use_cases.snapshots.apply(
            caller,
            given.snapshot_id,
            given.disk_id,
            auto_stop=given.auto_stop_instance or False,
            auto_start=given.auto_start_instance or False,
        )
        return {}

    async def create_snapshot_group(
        self, caller: Caller, given: sent.CreateSnapshotGroup
    ) -> answers.SnapshotGroupIdAnswer:
        new = NewSnapshotGroup(disk_ids=given.disk_ids, name=given.snapshot_group_name, tags=_tags(given.tags))
        return {"SnapshotGroupId": await self._use_cases.snapshot_groups.create(caller, new)}

    async def describe_snapshot_groups(
        self, caller: Caller, given: sent.DescribeSnapshotGroups
    ) -> answers.DescribeSnapshotGroupsAnswer:
        query = SnapshotGroupQuery(
            filters=_filters(given.filters),
            offset=given.offset or 0,
            limit=PAGE_LIMIT if given.limit is None else given.limit,
        )
        page = await self._use_cases.snapshot_groups.describe(caller, query)
        return {"TotalCount": page.total, "SnapshotGroupSet": [snapshot_group(view) for view in page.items]}

    async def delete_snapshot_group(self, caller: Caller, given: sent.DeleteSnapshotGroup) -> answers.NothingAnswer:
        one = (given.snapshot_group_id,) if given.snapshot_group_id else ()
        await self._use_cases.snapshot_groups.delete(
            caller, (*one, *(given.snapshot_group_ids or ())), delete_bind_images=given.delete_bind_images or False
        )
        return {}

    async def apply_snapshot_group(self, caller: Caller, given: sent.ApplySnapshotGroup) -> answers.NothingAnswer:
        await self._use_cases.snapshot_groups.apply(
            caller,
            given.snapshot_group_id,
            tuple(GroupRollback(snapshot_id=one.snapshot_id, disk_id=one.disk_id) for one in given.apply_disks),
            auto_stop=given.auto_stop_instance or False,
            auto_start=given.auto_start_instance or False,
        )
        return {}

    async def describe_snapshots(
        self, caller: Caller, given: sent.DescribeSnapshots
    ) -> answers.DescribeSnapshotsAnswer:
        query = SnapshotQuery(
            snapshot_ids=given.snapshot_ids or (),
            filters=_filters(given.filters),
            order=given.order,
            order_field=given.order_field,
            offset=given.offset or 0,
            limit=PAGE_LIMIT if given.limit is None else given.limit,
        )
        page = await self._use_cases.snapshot_records.describe(caller, query)
        return {"TotalCount": page.total, "SnapshotSet": [self._render.snapshot(view) for view in page.items]}

    async def modify_snapshot(self, caller: Caller, given: sent.ModifySnapshotAttribute) -> answers.NothingAnswer:
        changes = SnapshotChanges(
            snapshot_id=given.snapshot_id,
            permanent=given.is_permanent,
            name=given.snapshot_name,
            deadline=given.deadline or None,
        )
        await self._use_cases.snapshot_records.modify(caller, changes)
        return {}

    async def describe_overview(
        self, caller: Caller, _given: sent.DescribeSnapshotOverview
    ) -> answers.DescribeSnapshotOverviewAnswer:
        return overview(await self._use_cases.snapshot_records.overview(caller))

    async def get_overview(self, caller: Caller, given: sent.DescribeSnapshotOverview) -> answers.GetSnapOverviewAnswer:
        return {**await self.describe_overview(caller, given), "DeprecatedWarning": _DEPRECATED}


def _tags(tags: tuple[sent.Tag, ...] | None) -> Tags:
    return tuple((tag.key, tag.value) for tag in tags or ())


def _filters(filters: tuple[sent.Filter, ...] | None) -> Filters:
    return tuple((condition.name, condition.values) for condition in filters or ())
