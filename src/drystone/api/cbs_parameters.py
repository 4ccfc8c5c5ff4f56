"""What clients may send to the actions of CBS 2017-03-12, name by name as the service describes itself.

Tests hold each structure against the description that the official command line carries.
"""

from msgspec import field

from drystone.api.parameters import Integer, Parameters, Unsigned


class Filter(Parameters, frozen=True, kw_only=True):
    """One condition; values are alternatives."""

    name: str
    values: tuple[str, ...]


class Tag(Parameters, frozen=True, kw_only=True):
    """A key and a value of the user's own."""

    key: str
    value: str


class Placement(Parameters, frozen=True, kw_only=True):
    """Where a disk is. Only zone and project mean something here; the rest is echoed or refused by the use case."""

    zone: str
    cage_id: str | None = None
    cdc_id: str | None = None
    cdc_name: str | None = None
    dedicated_cluster_id: str | None = None
    project_id: Unsigned | None = None
    project_name: str | None = None


class DiskChargePrepaid(Parameters, frozen=True, kw_only=True):
    """Months and renewal of a prepaid disk."""

    period: Unsigned
    renew_flag: str | None = None
    cur_instance_deadline: str | None = None


class AutoMountConfiguration(Parameters, frozen=True, kw_only=True):
    """Attach, format and mount at creation."""

    instance_id: tuple[str, ...]
    mount_point: tuple[str, ...] | None = None
    file_system_type: str | None = None


class CreateDisks(Parameters, frozen=True, kw_only=True):
    """Parameters of CreateDisks."""

    placement: Placement
    disk_charge_type: str
    disk_type: str
    disk_name: str | None = None
    tags: tuple[Tag, ...] | None = None
    snapshot_id: str | None = None
    disk_count: Unsigned | None = None
    throughput_performance: Unsigned | None = None
    kms_key_id: str | None = None
    disk_size: Unsigned | None = None
    shareable: bool | None = None
    client_token: str | None = None
    encrypt: str | None = None
    disk_charge_prepaid: DiskChargePrepaid | None = None
    delete_snapshot: Integer | None = None
    auto_mount_configuration: AutoMountConfiguration | None = None
    disk_backup_quota: Unsigned | None = None
    burst_performance: bool | None = None
    encrypt_type: str | None = None


class ResizeDisk(Parameters, frozen=True, kw_only=True):
    """Parameters of ResizeDisk."""

    disk_size: Unsigned
    disk_id: str | None = None


class TerminateDisks(Parameters, frozen=True, kw_only=True):
    """Parameters of TerminateDisks."""

    disk_ids: tuple[str, ...]
    delete_snapshot: Integer | None = None


class AttachDisks(Parameters, frozen=True, kw_only=True):
    """Parameters of AttachDisks, and `InstanceType`, which the CSI driver sends though no document has it."""

    instance_id: str
    disk_ids: tuple[str, ...]
    delete_with_instance: bool | None = None
    attach_mode: str | None = None
    instance_type: str | None = None


class DetachDisks(Parameters, frozen=True, kw_only=True):
    """Parameters of DetachDisks, and `InstanceType`, which the CSI driver sends though no document has it."""

    disk_ids: tuple[str, ...]
    instance_id: str | None = None
    instance_type: str | None = None


class InitializeDisks(Parameters, frozen=True, kw_only=True):
    """Parameters of InitializeDisks."""

    disk_ids: tuple[str, ...]


class DescribeDisks(Parameters, frozen=True, kw_only=True):
    """Parameters of DescribeDisks."""

    filters: tuple[Filter, ...] | None = None
    limit: Unsigned | None = None
    order_field: str | None = None
    offset: Unsigned | None = None
    return_bind_auto_snapshot_policy: bool | None = None
    disk_ids: tuple[str, ...] | None = None
    order: str | None = None


class ModifyDiskAttributes(Parameters, frozen=True, kw_only=True):
    """Parameters of ModifyDiskAttributes."""

    disk_ids: tuple[str, ...]
    disk_name: str | None = None
    portable: bool | None = None
    project_id: Unsigned | None = None
    delete_with_instance: bool | None = None
    disk_type: str | None = None
    burst_performance_operation: str | None = None


class DescribeDiskConfigQuota(Parameters, frozen=True, kw_only=True):
    """Parameters of DescribeDiskConfigQuota."""

    inquiry_type: str
    disk_charge_type: str | None = None
    instance_families: tuple[str, ...] | None = None
    disk_types: tuple[str, ...] | None = None
    zones: tuple[str, ...] | None = None
    memory: Unsigned | None = None
    disk_usage: str | None = None
    cpu: Unsigned | None = field(default=None, name="CPU")
    dedicated_cluster_id: str | None = None


class DescribeInstancesDiskNum(Parameters, frozen=True, kw_only=True):
    """Parameters of DescribeInstancesDiskNum."""

    instance_ids: tuple[str, ...]


class CreateSnapshot(Parameters, frozen=True, kw_only=True):
    """Parameters of CreateSnapshot."""

    disk_id: str | None = None
    snapshot_name: str | None = None
    deadline: str | None = None
    disk_backup_id: str | None = None
    tags: tuple[Tag, ...] | None = None
    local_snap: bool | None = None
    disk_usage: str | None = None


class DeleteSnapshots(Parameters, frozen=True, kw_only=True):
    """Parameters of DeleteSnapshots."""

    snapshot_ids: tuple[str, ...]
    delete_bind_images: bool | None = None


class ApplySnapshot(Parameters, frozen=True, kw_only=True):
    """Parameters of ApplySnapshot."""

    snapshot_id: str
    disk_id: str
    auto_stop_instance: bool | None = None
    auto_start_instance: bool | None = None


class CreateSnapshotGroup(Parameters, frozen=True, kw_only=True):
    """Parameters of CreateSnapshotGroup."""

    disk_ids: tuple[str, ...]
    snapshot_group_name: str | None = None
    tags: tuple[Tag, ...] | None = None


class DescribeSnapshotGroups(Parameters, frozen=True, kw_only=True):
    """Parameters of DescribeSnapshotGroups."""

    filters: tuple[Filter, ...] | None = None
    offset: Unsigned | None = None
    limit: Unsigned | None = None


class DeleteSnapshotGroup(Parameters, frozen=True, kw_only=True):
    """Parameters of DeleteSnapshotGroup: one id, or several, or both."""

    snapshot_group_id: str | None = None
    snapshot_group_ids: tuple[str, ...] | None = None
    delete_bind_images: bool | None = None


class ApplyDisk(Parameters, frozen=True, kw_only=True):
    """A member of a group, and the disk that it is of."""

    snapshot_id: str
    disk_id: str


class ApplySnapshotGroup(Parameters, frozen=True, kw_only=True):
    """Parameters of ApplySnapshotGroup."""

    snapshot_group_id: str
    apply_disks: tuple[ApplyDisk, ...]
    auto_stop_instance: bool | None = None
    auto_start_instance: bool | None = None


class DescribeSnapshots(Parameters, frozen=True, kw_only=True):
    """Parameters of DescribeSnapshots."""

    snapshot_ids: tuple[str, ...] | None = None
    filters: tuple[Filter, ...] | None = None
    limit: Unsigned | None = None
    order_field: str | None = None
    offset: Unsigned | None = None
    order: str | None = None


class ModifySnapshotAttribute(Parameters, frozen=True, kw_only=True):
    """Parameters of ModifySnapshotAttribute."""

    snapshot_id: str
    is_permanent: bool | None = None
    snapshot_name: str | None = None
    deadline: str | None = None


class DescribeSnapshotOverview(Parameters, frozen=True, kw_only=True):
    """DescribeSnapshotOverview and GetSnapOverview take no parameters."""
