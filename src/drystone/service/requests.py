"""What the wire asks of the use cases: shape and types are checked, meaning is not.

Ids are as sent: whether they are well formed and whose they are is for the use cases to say. None means not given.
"""

from dataclasses import dataclass

from drystone.domain.policy import Retention, Trigger

Tags = tuple[tuple[str, str], ...]
Filters = tuple[tuple[str, tuple[str, ...]], ...]
"""(name, values): every filter must match, one of its values is enough."""

PAGE_LIMIT = 20
"""Rows of a page when the client does not say."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PageQuery:
    """What asks for a page of a list."""

    offset: int = 0
    limit: int = PAGE_LIMIT


@dataclass(frozen=True, slots=True, kw_only=True)
class FilteredQuery(PageQuery):
    """What asks for a page of what matches."""

    filters: Filters = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderedQuery(FilteredQuery):
    """What asks for a page of what matches, in an order."""

    order: str | None = None
    order_field: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NewDisks:
    """CreateDisks."""

    zone: str
    project_id: int = 0
    charge_type: str
    disk_type: str
    size_gib: int | None = None
    snapshot_id: str | None = None
    count: int = 1
    name: str | None = None
    tags: Tags = ()
    client_token: str | None = None
    throughput_performance: int = 0
    burst_performance: bool = False
    shareable: bool = False
    encrypt: str | None = None
    kms_key_id: str | None = None
    encrypt_type: str | None = None
    delete_snapshot: int = 0
    backup_quota: int = 0
    renew_flag: str | None = None
    prepaid_period: int | None = None
    auto_mount_instance: str | None = None
    policy_id: str | None = None
    """The snapshot policy that they are bound to from the beginning."""
    placement_extra: tuple[tuple[str, str], ...] = ()
    """Fields of Placement that mean a dedicated cluster or cage, which there is none of here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskQuery(OrderedQuery):
    """DescribeDisks."""

    disk_ids: tuple[str, ...] = ()
    with_policies: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotQuery(OrderedQuery):
    """DescribeSnapshots."""

    snapshot_ids: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class BackupQuery(OrderedQuery):
    """DescribeDiskBackups."""

    backup_ids: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskChanges:
    """ModifyDiskAttributes."""

    disk_ids: tuple[str, ...]
    name: str | None = None
    portable: bool | None = None
    project_id: int | None = None
    delete_with_instance: bool | None = None
    disk_type: str | None = None
    burst_operation: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NewSnapshot:
    """CreateSnapshot."""

    disk_id: str | None = None
    name: str | None = None
    deadline: str | None = None
    """As sent: ISO 8601 with an offset."""
    disk_backup_id: str | None = None
    tags: Tags = ()
    local: bool = False
    usage: str | None = None
    audit_everything: bool = False
    """Check all that tracking calls clean, not a sample of it (AuditDisk)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotChanges:
    """ModifySnapshotAttribute."""

    snapshot_id: str
    permanent: bool | None = None
    name: str | None = None
    deadline: str | None = None
    """As sent: ISO 8601 with an offset."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewSnapshotGroup:
    """CreateSnapshotGroup."""

    disk_ids: tuple[str, ...]
    name: str | None = None
    tags: Tags = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotGroupQuery(FilteredQuery):
    """DescribeSnapshotGroups."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupRollback:
    """One disk of ApplySnapshotGroup, and the member that it is rolled back to."""

    snapshot_id: str
    disk_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NewPolicy:
    """CreateAutoSnapshotPolicy."""

    triggers: tuple[Trigger, ...]
    name: str | None = None
    active: bool = True
    permanent: bool | None = None
    retention_days: int | None = None
    dry_run: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyChanges:
    """ModifyAutoSnapshotPolicyAttribute."""

    policy_id: str
    triggers: tuple[Trigger, ...] | None = None
    name: str | None = None
    active: bool | None = None
    permanent: bool | None = None
    retention_days: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyOptions:
    """SetPolicyOptions of the second service."""

    policy_id: str
    zone: str | None = None
    retention: Retention | None = None
    group: bool | None = None
    skip_unchanged: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyQuery(OrderedQuery):
    """DescribeAutoSnapshotPolicies, and DescribePolicyDetails of the second service."""

    policy_ids: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RunQuery(FilteredQuery):
    """DescribePolicyRuns of the second service."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulationQuery:
    """DescribePolicySimulation of the second service: of a policy that there is, or of one that is described."""

    policy_id: str | None = None
    triggers: tuple[Trigger, ...] | None = None
    zone: str | None = None
    retention: Retention | None = None
    days: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigQuery:
    """DescribeDiskConfigQuota."""

    inquiry_type: str
    charge_type: str | None = None
    instance_families: tuple[str, ...] = ()
    disk_types: tuple[str, ...] = ()
    zones: tuple[str, ...] = ()
    memory: int | None = None
    cpu: int | None = None
    usage: str | None = None
    dedicated_cluster_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OperationQuery(FilteredQuery):
    """DescribeOperations of the second service."""

    operation_ids: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ProtectionQuery(FilteredQuery):
    """DescribeProtection of the second service."""

    disk_ids: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskSpaceQuery(PageQuery):
    """DescribeDiskSpace of the second service."""

    disk_ids: tuple[str, ...] = ()
    all_accounts: bool = False
    days: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EventQuery(FilteredQuery):
    """DescribeEvents of the second service."""

    event_ids: tuple[str, ...] = ()
    after: int | None = None
    """The cursor of an answer before."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditQuery(FilteredQuery):
    """DescribeAuditTrail of the second service."""

    begin: str | None = None
    """As sent: ISO 8601 with an offset; so is `end`, the first moment that is not meant."""
    end: str | None = None
