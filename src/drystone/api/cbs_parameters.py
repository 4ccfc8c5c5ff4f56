"""What clients may send to the actions of CBS 2017-03-12, name by name as the service describes itself.

Tests hold each structure against the description that the official command line carries.
"""

from typing import Annotated

from msgspec import field

from drystone.api.parameters import MANY, Id, Ids, Integer, Parameters, Paths, Text, Texts, Time, Unsigned, Word, Words


class Filter(Parameters, frozen=True, kw_only=True):
    """One condition; values are alternatives."""

    name: Text
    values: Texts


class Tag(Parameters, frozen=True, kw_only=True):
    """A key and a value of the user's own."""

    key: Text
    value: Text


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


class CreateDisks(Parameters, frozen=True, kw_only=True):
    """Parameters of CreateDisks."""

    placement: Placement
    disk_charge_type: Word
    disk_type: Word
    disk_name: Text | None = None
    tags: Annotated[tuple[Tag, ...], MANY] | None = None
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


class ResizeDisk(Parameters, frozen=True, kw_only=True):
    """Parameters of ResizeDisk."""

    disk_size: Unsigned
    disk_id: Id | None = None


class TerminateDisks(Parameters, frozen=True, kw_only=True):
    """Parameters of TerminateDisks."""

    disk_ids: Ids
    delete_snapshot: Integer | None = None


class AttachDisks(Parameters, frozen=True, kw_only=True):
    """Parameters of AttachDisks, and `InstanceType`, which the CSI driver sends though no document has it."""

    instance_id: Id
    disk_ids: Ids
    delete_with_instance: bool | None = None
    attach_mode: Word | None = None
    instance_type: Word | None = None


class DetachDisks(Parameters, frozen=True, kw_only=True):
    """Parameters of DetachDisks, and `InstanceType`, which the CSI driver sends though no document has it."""

    disk_ids: Ids
    instance_id: Id | None = None
    instance_type: Word | None = None


class InitializeDisks(Parameters, frozen=True, kw_only=True):
    """Parameters of InitializeDisks."""

    disk_ids: Ids


class DescribeDisks(Parameters, frozen=True, kw_only=True):
    """Parameters of DescribeDisks."""

    filters: Annotated[tuple[Filter, ...], MANY] | None = None
    limit: Unsigned | None = None
    order_field: Word | None = None
    offset: Unsigned | None = None
    return_bind_auto_snapshot_policy: bool | None = None
    disk_ids: Ids | None = None
    order: Word | None = None


class ModifyDiskAttributes(Parameters, frozen=True, kw_only=True):
    """Parameters of ModifyDiskAttributes."""

    disk_ids: Ids
    disk_name: Text | None = None
    portable: bool | None = None
    project_id: Unsigned | None = None
    delete_with_instance: bool | None = None
    disk_type: Word | None = None
    burst_performance_operation: Word | None = None


class DescribeDiskConfigQuota(Parameters, frozen=True, kw_only=True):
    """Parameters of DescribeDiskConfigQuota."""

    inquiry_type: Word
    disk_charge_type: Word | None = None
    instance_families: Words | None = None
    disk_types: Words | None = None
    zones: Words | None = None
    memory: Unsigned | None = None
    disk_usage: Word | None = None
    cpu: Unsigned | None = field(default=None, name="CPU")
    dedicated_cluster_id: Id | None = None


class DescribeInstancesDiskNum(Parameters, frozen=True, kw_only=True):
    """Parameters of DescribeInstancesDiskNum."""

    instance_ids: Ids


class CreateSnapshot(Parameters, frozen=True, kw_only=True):
    """Parameters of CreateSnapshot."""

    disk_id: Id | None = None
    snapshot_name: Text | None = None
    deadline: Time | None = None
    disk_backup_id: Id | None = None
    tags: Annotated[tuple[Tag, ...], MANY] | None = None
    local_snap: bool | None = None
    disk_usage: Word | None = None


class DeleteSnapshots(Parameters, frozen=True, kw_only=True):
    """Parameters of DeleteSnapshots."""

    snapshot_ids: Ids
    delete_bind_images: bool | None = None


class ApplySnapshot(Parameters, frozen=True, kw_only=True):
    """Parameters of ApplySnapshot."""

    snapshot_id: Id
    disk_id: Id
    auto_stop_instance: bool | None = None
    auto_start_instance: bool | None = None


class CreateSnapshotGroup(Parameters, frozen=True, kw_only=True):
    """Parameters of CreateSnapshotGroup."""

    disk_ids: Ids
    snapshot_group_name: Text | None = None
    tags: Annotated[tuple[Tag, ...], MANY] | None = None


class DescribeSnapshotGroups(Parameters, frozen=True, kw_only=True):
    """Parameters of DescribeSnapshotGroups."""

    filters: Annotated[tuple[Filter, ...], MANY] | None = None
    offset: Unsigned | None = None
    limit: Unsigned | None = None


class DeleteSnapshotGroup(Parameters, frozen=True, kw_only=True):
    """Parameters of DeleteSnapshotGroup: one id, or several, or both."""

    snapshot_group_id: Id | None = None
    snapshot_group_ids: Ids | None = None
    delete_bind_images: bool | None = None


class ApplyDisk(Parameters, frozen=True, kw_only=True):
    """A member of a group, and the disk that it is of."""

    snapshot_id: Id
    disk_id: Id


class ApplySnapshotGroup(Parameters, frozen=True, kw_only=True):
    """Parameters of ApplySnapshotGroup."""

    snapshot_group_id: Id
    apply_disks: Annotated[tuple[ApplyDisk, ...], MANY]
    auto_stop_instance: bool | None = None
    auto_start_instance: bool | None = None


class DescribeSnapshots(Parameters, frozen=True, kw_only=True):
    """Parameters of DescribeSnapshots."""

    snapshot_ids: Ids | None = None
    filters: Annotated[tuple[Filter, ...], MANY] | None = None
    limit: Unsigned | None = None
    order_field: Word | None = None
    offset: Unsigned | None = None
    order: Word | None = None


class ModifySnapshotAttribute(Parameters, frozen=True, kw_only=True):
    """Parameters of ModifySnapshotAttribute."""

    snapshot_id: Id
    is_permanent: bool | None = None
    snapshot_name: Text | None = None
    deadline: Time | None = None


class DescribeSnapshotOverview(Parameters, frozen=True, kw_only=True):
    """DescribeSnapshotOverview and GetSnapOverview take no parameters."""
