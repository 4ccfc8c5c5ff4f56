"""The fields of every answer, as types: renderers are checked against them, and clients' types are made of them.

Every field is always there. Names and meanings of CBS's are those of its description; `None` is null.
"""

from dataclasses import dataclass
from typing import Annotated, TypedDict

from drystone.domain.disk import DiskState
from drystone.domain.instance import InstanceKind
from drystone.domain.opening import Finding
from drystone.domain.operation import OperationKind, OperationState
from drystone.domain.quiesce import QuiesceMode, StepKind
from drystone.domain.tracking import TrackingState


@dataclass(frozen=True, slots=True)
class OneOf:
    """Says which texts a field may have."""

    values: tuple[str, ...]


DiskStateText = Annotated[str, OneOf(tuple(state.value for state in DiskState if state.visible))]
SnapshotStateText = Annotated[str, OneOf(("NORMAL", "CREATING", "ROLLBACKING"))]
TrackingText = Annotated[str, OneOf(tuple(TrackingState))]
InstanceKindText = Annotated[str, OneOf(tuple(InstanceKind))]
OperationKindText = Annotated[str, OneOf(tuple(OperationKind))]
OperationStateText = Annotated[str, OneOf(tuple(OperationState))]
StepKindText = Annotated[str, OneOf(tuple(StepKind))]
QuiesceModeText = Annotated[str, OneOf(tuple(QuiesceMode))]
FindingText = Annotated[str, OneOf(tuple(Finding))]
AttentionKindText = Annotated[
    str,
    OneOf((
        "disk_error", "tracking_lost", "operation_failed", "snapshot_damaged", "snapshot_suspect", "space_low",
        "store_held",
    )),
]  # fmt: skip


class NothingAnswer(TypedDict):
    """An action that only says that it was done."""


# --- CBS 2017-03-12 -------------------------------------------------------------------------------------------------


class Tag(TypedDict):
    """A key and a value of the user's own."""

    Key: str
    Value: str


class DiskPlacement(TypedDict):
    """Where a disk or a snapshot is."""

    Zone: str
    ProjectId: int
    ProjectName: str
    CageId: str
    CdcId: str
    CdcName: str
    DedicatedClusterId: str


class Disk(TypedDict):
    """A disk."""

    DiskId: str
    DiskName: str
    DiskState: DiskStateText
    DiskSize: int
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
    SnapshotSize: int
    AutoSnapshotPolicyIds: list[str] | None
    Rollbacking: bool
    RollbackPercent: int
    Migrating: bool
    MigratePercent: int
    Encrypt: bool
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


class Snapshot(TypedDict):
    """A snapshot."""

    SnapshotId: str
    SnapshotName: str
    SnapshotState: SnapshotStateText
    SnapshotType: str
    SnapshotMode: str
    Percent: int
    DiskId: str
    DiskSize: int
    DiskUsage: str
    Placement: DiskPlacement
    IsPermanent: bool
    DeadlineTime: str
    CreateTime: str
    LatestModifyTime: str
    IsLocked: bool
    Encrypt: bool
    CopyFromRemote: bool
    CopyingToRegions: list[str]
    ShareReference: int
    TimeStartShare: str
    Images: list[str]
    ImageCount: int
    Tags: list[Tag]


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
    DeadlineTime: str | None
    AutoSnapshotPolicyId: str | None
    CreateTime: str
    ModifyTime: str
    Images: list[str]
    ImageCount: int


class Price(TypedDict):
    """What a disk costs: nothing."""

    OriginalPrice: float | None
    OriginalPriceHigh: str | None
    DiscountPrice: float | None
    DiscountPriceHigh: str | None
    UnitPrice: float | None
    UnitPriceHigh: str | None
    UnitPriceDiscount: float | None
    UnitPriceDiscountHigh: str | None
    ChargeUnit: str | None


class DiskConfig(TypedDict):
    """Sizes in which a type of disk may be had, GiB."""

    Available: bool
    DiskChargeType: str
    Zone: str
    InstanceFamily: str | None
    DiskType: str
    StepSize: int
    ExtraPerformanceRange: list[int] | None
    DeviceClass: str | None
    DiskUsage: str
    MinDiskSize: int
    MaxDiskSize: int
    Price: Price


class AttachDetail(TypedDict):
    """How many disks an instance has and may have."""

    InstanceId: str
    AttachedDiskCount: int
    MaxAttachCount: int


class DiskIdsAnswer(TypedDict):
    """Disks that were made."""

    DiskIdSet: list[str]


class SnapshotIdAnswer(TypedDict):
    """A snapshot that was taken."""

    SnapshotId: str


class SnapshotGroupIdAnswer(TypedDict):
    """A group that was taken."""

    SnapshotGroupId: str


class DescribeDisksAnswer(TypedDict):
    """A page of disks."""

    TotalCount: int
    DiskSet: list[Disk]


class DescribeSnapshotsAnswer(TypedDict):
    """A page of snapshots."""

    TotalCount: int
    SnapshotSet: list[Snapshot]


class DescribeSnapshotGroupsAnswer(TypedDict):
    """A page of groups."""

    TotalCount: int
    SnapshotGroupSet: list[SnapshotGroup]


class DescribeDiskConfigQuotaAnswer(TypedDict):
    """Disks that may be had."""

    DiskConfigSet: list[DiskConfig]


class DescribeInstancesDiskNumAnswer(TypedDict):
    """Disks of instances."""

    AttachDetail: list[AttachDetail]


class DescribeSnapshotOverviewAnswer(TypedDict):
    """Totals over an account's snapshots, GiB."""

    TotalNums: int
    TotalSize: float
    FreeQuota: float
    RealTradeSize: float


class GetSnapOverviewAnswer(DescribeSnapshotOverviewAnswer):
    """The same under its old name."""

    DeprecatedWarning: str


# --- The second service, 2026-11-01 ---------------------------------------------------------------------------------


class Instance(TypedDict):
    """What disks are attached to."""

    InstanceId: str
    InstanceName: str
    Kind: InstanceKindText
    Zone: str
    AttachedDiskCount: int
    MaxAttachCount: int
    CreateTime: str


class DiskDetail(TypedDict):
    """How a disk is served and tracked."""

    DiskId: str
    NbdUri: str | None
    Device: str | None
    Tracking: TrackingText
    TrackingReason: str
    BaseSnapshotId: str | None
    Epoch: int
    SourceSnapshotId: str | None
    Hydrating: bool
    HydrationPercent: int
    Daemon: str | None
    NeedsRewrite: bool
    """An earlier version made its image: fstrim does little on it, until RewriteDisk writes it anew."""


class OpeningStep(TypedDict):
    """One thing that was tried to open a snapshot."""

    Title: str
    Finding: FindingText
    Seconds: float
    Detail: str


class Opening(TypedDict):
    """The newest proof that a snapshot opens, or does not."""

    Finding: FindingText
    Reason: str
    Steps: list[OpeningStep]
    BeginTime: str
    EndTime: str


class SnapshotRecord(TypedDict):
    """How a snapshot was taken (P7)."""

    SnapshotId: str
    SnapshotGroupId: str | None
    ParentSnapshotId: str | None
    Tracking: str | None
    TrackingReason: str | None
    ReadBytes: int | None
    ChangedBytes: int | None
    StoredBytes: int | None
    Requests: int | None
    FreezeMs: float | None
    DurationMs: float | None
    Consistency: str | None
    QuiesceMs: float | None
    Transcript: list[str]
    TakenAt: str | None
    Suspect: bool
    AuditedBlocks: int | None
    AuditComplete: bool | None
    AuditLies: int | None
    Damaged: bool
    Opening: Opening | None


class QuiesceStepRecord(TypedDict):
    """One step of a profile."""

    Kind: StepKindText
    SecondsMax: float
    Mount: str | None
    Freeze: list[str]
    Thaw: list[str]
    OptionFile: str | None
    Connection: str | None
    Socket: str | None
    Domain: str | None


class QuiesceProfile(TypedDict):
    """What is held still around snapshots of a disk or an instance."""

    ResourceId: str
    Mode: QuiesceModeText
    FreezeSecondsMax: float
    Steps: list[QuiesceStepRecord]
    ModifyTime: str
    ProveEveryH: float | None


class GroupMember(TypedDict):
    """A snapshot of a group."""

    SnapshotId: str
    DiskId: str


class SnapshotGroupRecord(TypedDict):
    """How a group was taken."""

    SnapshotGroupId: str
    InstanceId: str
    PauseMs: float | None
    TakenAt: str | None
    MemberSet: list[GroupMember]
    Tags: list[Tag]


class Operation(TypedDict):
    """A long job."""

    OperationId: str
    Kind: OperationKindText
    DiskId: str | None
    SnapshotId: str | None
    InstanceId: str | None
    State: OperationStateText
    Phase: str
    Percent: int
    Attempts: int
    ErrorCode: str
    ErrorMessage: str
    Result: object
    CreateTime: str
    UpdateTime: str


class Daemon(TypedDict):
    """A storage daemon."""

    Name: str
    Pid: int
    DiskCount: int


class Damage(TypedDict):
    """What a damaged object hides of a snapshot."""

    SnapshotId: str
    Object: str
    Kind: str
    Reason: str
    FoundAt: str
    BlockCount: int
    BlockRanges: list[list[int]]


class SnapshotSpace(TypedDict):
    """Stored bytes that a snapshot shows."""

    SnapshotId: str
    UniqueBytes: int
    SharedBytes: int


class Account(TypedDict):
    """An owner of disks and snapshots."""

    AccountId: str
    AccountName: str
    Admin: bool
    CreateTime: str


class Key(TypedDict):
    """An access key without its secret; `MadeBy` is the key, or the session of the console, that made it."""

    SecretId: str
    Enabled: bool
    CreateTime: str
    MadeBy: str | None


class Attention(TypedDict):
    """Something that a person should look at."""

    Kind: AttentionKindText
    ResourceId: str
    Message: str
    At: str


class HistoryPoint(TypedDict):
    """An account's figures at one time."""

    At: str
    Disks: int
    DisksBytes: int
    Snapshots: int
    StoredBytes: int
    LogicalBytes: int
    ChangedBytes: int


class InstanceIdAnswer(TypedDict):
    """An instance that was made."""

    InstanceId: str


class DescribeInstancesAnswer(TypedDict):
    """A page of instances."""

    TotalCount: int
    InstanceSet: list[Instance]


class DescribeDiskDetailsAnswer(TypedDict):
    """A page of details."""

    TotalCount: int
    DiskDetailSet: list[DiskDetail]


class DescribeQuiesceProfilesAnswer(TypedDict):
    """A page of profiles."""

    TotalCount: int
    QuiesceProfileSet: list[QuiesceProfile]


class DescribeSnapshotGroupRecordsAnswer(TypedDict):
    """A page of records of groups."""

    TotalCount: int
    SnapshotGroupRecordSet: list[SnapshotGroupRecord]


class DescribeSnapshotRecordsAnswer(TypedDict):
    """A page of records."""

    TotalCount: int
    SnapshotRecordSet: list[SnapshotRecord]


class DescribeOperationsAnswer(TypedDict):
    """A page of operations."""

    TotalCount: int
    OperationSet: list[Operation]


class Clock(TypedDict):
    """What the clocks say. DoubtedSince is null while this machine's clock is believed."""

    MachineTime: str
    SteadyTime: str
    DoubtedSince: str | None
    ExpiryWaitsSeconds: int


class ConfirmClockAnswer(TypedDict):
    """What the clocks said before this machine's was confirmed."""

    Clock: Clock


class DescribeHostAnswer(TypedDict):
    """The host."""

    Version: str
    QemuVersion: str
    DataDirectory: str
    Region: str
    Zone: str
    StoreId: str
    FreeBytes: int
    FloorBytes: int
    StoredBytes: int
    DiskCount: int
    SnapshotCount: int
    DaemonSet: list[Daemon]
    Clock: Clock


class ScrubStoreAnswer(TypedDict):
    """When everything was asked to be proven."""

    RequestedAt: str


class DescribeStoreHealthAnswer(TypedDict):
    """How far the scrub is, and what it found."""

    PackCount: int
    PacksDue: int
    OldestProofTime: str | None
    SnapshotCount: int
    SnapshotsDue: int
    RequestedAt: str | None
    DamagedSnapshotCount: int
    SuspectSnapshotCount: int
    SuspectSnapshotIds: list[str]
    DamageSet: list[Damage]


class DescribeSnapshotSpaceAnswer(TypedDict):
    """What snapshots hold, alone and together."""

    SnapshotSpaceSet: list[SnapshotSpace]
    DeadBytes: int
    ReclaimableBytes: int


class DescribeStoreAnswer(TypedDict):
    """Sums over the store."""

    StoredBytes: int
    PackCount: int
    PackBytes: int
    LiveBytes: int
    DeadBytes: int
    ReclaimableBytes: int
    ReclaimedBytes: int
    WaitingBytes: int
    Threshold: int
    Held: str


class CollectGarbageAnswer(TypedDict):
    """A collection that was begun, or only thought of."""

    OperationId: str | None
    Threshold: int
    PackCount: int
    PackBytes: int
    DeadBytes: int


class ConfirmStoreAnswer(TypedDict):
    """Why the store was held."""

    WasHeld: str | None


class OperationIdAnswer(TypedDict):
    """An operation that was begun."""

    OperationId: str


class ImportDiskAnswer(TypedDict):
    """A disk that is being made of a file."""

    DiskId: str
    OperationId: str


class AccountKeyAnswer(TypedDict):
    """A new account and its key: the only time that the secret is shown."""

    AccountId: str
    SecretId: str
    SecretKey: str


class NewKeyAnswer(TypedDict):
    """A new key: the only time that the secret is shown."""

    SecretId: str
    SecretKey: str


class DescribeAccountsAnswer(TypedDict):
    """A page of accounts."""

    TotalCount: int
    AccountSet: list[Account]


class KeysAnswer(TypedDict):
    """Keys of an account."""

    KeySet: list[Key]


class SetAccountPasswordAnswer(TypedDict):
    """The password, if it was made: the only time that it is shown."""

    Password: str | None


class AuditEntry(TypedDict):
    """A call that changed something or tried to; or, where Calls is above 1, so many refused ones that were counted."""

    EntryId: int
    At: str
    AccountId: str
    SecretId: str
    Source: str
    Action: str
    Resource: str
    Code: str
    RequestId: str
    Calls: int


class DescribeAuditTrailAnswer(TypedDict):
    """A page of the audit trail, the newest first."""

    TotalCount: int
    AuditEntrySet: list[AuditEntry]


class DescribeOverviewAnswer(TypedDict):
    """An account at a glance."""

    Disks: int
    DisksAttached: int
    DisksBytes: int
    SnapshotsCount: int
    LogicalBytes: int
    ChangedBytes: int
    StoredBytes: int
    SavedByIncrementsBytes: int
    SavedByCompressionBytes: int
    StoreBytesFree: int | None
    RecentOperations: list[Operation]
    Attention: list[Attention]


class DescribeQuotasAnswer(TypedDict):
    """How much an account has, and may have; a maximum of 0 is none."""

    DisksMax: int
    DisksCount: int
    DiskGibMax: int
    DiskGib: int
    SnapshotsPerDiskMax: int
    SnapshotsMax: int
    SnapshotsCount: int
    SnapshotBytesMax: int
    SnapshotBytes: int
    DisksPerInstanceMax: int
    DisksPerCallMax: int


class DescribeHistoryAnswer(TypedDict):
    """Figures over time, the oldest first; the last ones are as of now."""

    Points: list[HistoryPoint]


class DescribeSnapshotDifferenceAnswer(TypedDict):
    """Where two snapshots differ, in equal stretches of the disk."""

    SizeBytes: int
    ChangedBytes: int
    BucketBytes: int
    Buckets: list[int]
