// Generated from api.json by `npm run generate`; a test fails if it drifts.

export type Account = {
  readonly AccountId: string;
  readonly AccountName: string;
  readonly Admin: boolean;
  readonly CreateTime: string;
};

export type AdvancedRetention = {
  readonly Days?: number;
  readonly Weeks?: number;
  readonly Months?: number;
  readonly Years?: number;
};

export type AdvancedRetentionPolicy = {
  readonly Days: number;
  readonly Weeks: number;
  readonly Months: number;
  readonly Years: number;
};

export type ApplyDisk = {
  readonly SnapshotId: string;
  readonly DiskId: string;
};

export type AttachDetail = {
  readonly InstanceId: string;
  readonly AttachedDiskCount: number;
  readonly MaxAttachCount: number;
};

export type AuditEntry = {
  readonly EntryId: number;
  readonly At: string;
  readonly AccountId: string;
  readonly SecretId: string;
  readonly Source: string;
  readonly Action: string;
  readonly Resource: string;
  readonly Code: string;
  readonly RequestId: string;
  readonly Calls: number;
};

export type AutoMountConfiguration = {
  readonly InstanceId: readonly string[];
  readonly MountPoint?: readonly string[];
  readonly FileSystemType?: string;
};

export type AutoSnapshotPolicy = {
  readonly DiskIdSet: readonly string[];
  readonly IsActivated: boolean;
  readonly AutoSnapshotPolicyState: string;
  readonly IsCopyToRemote: number;
  readonly IsPermanent: boolean;
  readonly NextTriggerTime: string;
  readonly AutoSnapshotPolicyName: string;
  readonly AutoSnapshotPolicyId: string;
  readonly Policy: readonly PolicyTrigger[];
  readonly CreateTime: string;
  readonly RetentionDays: number;
  readonly CopyToAccountUin: string | null;
  readonly InstanceIdSet: readonly string[];
  readonly RetentionMonths: number;
  readonly RetentionAmount: number;
  readonly AdvancedRetentionPolicy: AdvancedRetentionPolicy | null;
  readonly CopyFromAccountUin: string | null;
  readonly Tags: readonly Tag[];
};

export type Cdc = {
  readonly CdcId: string;
  readonly CdcName: string;
  readonly CdcState: string;
  readonly CdcResource: CdcSize;
  readonly CageId: string | null;
  readonly Zone: string;
  readonly DiskType: string;
  readonly DiskNumber: number;
  readonly CreatedTime: string;
  readonly ExpiredTime: string;
};

export type CdcSize = {
  readonly DiskTotal: number;
  readonly DiskAvailable: number;
};

export type Clock = {
  readonly MachineTime: string;
  readonly SteadyTime: string;
  readonly DoubtedSince: string | null;
  readonly ExpiryWaitsSeconds: number;
};

export type CpuTopology = {
  readonly CoreCount: number | null;
  readonly ThreadPerCore: number | null;
};

export type CvmInstance = {
  readonly Placement: InstancePlacement;
  readonly InstanceId: string;
  readonly InstanceType: string;
  readonly CPU: number;
  readonly Memory: number;
  readonly RestrictState: string;
  readonly InstanceName: string;
  readonly InstanceChargeType: string;
  readonly SystemDisk: SystemDisk;
  readonly DataDisks: readonly DataDisk[];
  readonly PrivateIpAddresses: readonly string[];
  readonly PublicIpAddresses: readonly string[];
  readonly InternetAccessible: InternetAccessible;
  readonly VirtualPrivateCloud: VirtualPrivateCloud;
  readonly ImageId: string;
  readonly RenewFlag: string;
  readonly CreatedTime: string;
  readonly ExpiredTime: string;
  readonly OsName: string;
  readonly SecurityGroupIds: readonly string[];
  readonly LoginSettings: LoginSettings;
  readonly InstanceState: string;
  readonly Tags: readonly Tag[];
  readonly StopChargingMode: string;
  readonly Uuid: string;
  readonly LatestOperation: string;
  readonly LatestOperationState: string;
  readonly LatestOperationRequestId: string;
  readonly DisasterRecoverGroupId: string;
  readonly IPv6Addresses: readonly string[];
  readonly CamRoleName: string;
  readonly HpcClusterId: string;
  readonly RdmaIpAddresses: readonly string[];
  readonly DedicatedClusterId: string;
  readonly IsolatedSource: string;
  readonly DisasterRecoverGroupIds: readonly string[];
  readonly LicenseType: string;
  readonly DisableApiTermination: boolean;
  readonly HostName: string;
  readonly DefaultLoginUser: string;
  readonly DefaultLoginPort: number;
  readonly LatestOperationErrorMsg: string;
  readonly EnableJumboFrame: boolean;
  readonly Metadata: Metadata;
  readonly PublicIPv6Addresses: readonly string[];
  readonly CpuTopology: CpuTopology;
  readonly PartitionNumber: number;
};

export type Daemon = {
  readonly Name: string;
  readonly Pid: number;
  readonly DiskCount: number;
};

export type Damage = {
  readonly SnapshotId: string;
  readonly Object: string;
  readonly Kind: string;
  readonly Reason: string;
  readonly FoundAt: string;
  readonly BlockCount: number;
  readonly BlockRanges: readonly unknown[];
};

export type DataDisk = {
  readonly DiskSize: number;
  readonly DiskType: string;
  readonly DiskId: string;
  readonly DeleteWithInstance: boolean;
  readonly SnapshotId: string;
  readonly Encrypt: boolean;
  readonly KmsKeyId: string;
  readonly ThroughputPerformance: number;
  readonly CdcId: string;
  readonly BurstPerformance: boolean;
  readonly DiskName: string;
};

export type DedicatedClusterDiskStatistic = {
  readonly DiskType: string;
  readonly TotalDiskSize: number;
  readonly UsedDiskSize: number;
  readonly AvailableDiskSize: number;
};

export type DetailPrice = {
  readonly OriginalPrice: number | null;
  readonly OriginalPriceHigh: string | null;
  readonly DiscountPrice: number | null;
  readonly DiscountPriceHigh: string | null;
  readonly UnitPrice: number | null;
  readonly UnitPriceHigh: string | null;
  readonly UnitPriceDiscount: number | null;
  readonly UnitPriceDiscountHigh: string | null;
  readonly ChargeUnit: string | null;
  readonly PriceName: string;
  readonly PriceTitle: string;
};

export type Disk = {
  readonly DiskId: string;
  readonly DiskName: string;
  readonly DiskState: "UNATTACHED" | "ATTACHING" | "ATTACHED" | "DETACHING" | "EXPANDING" | "ROLLBACKING" | "TORECYCLE" | "DUMPING";
  readonly DiskSize: number;
  readonly DiskType: string;
  readonly DiskUsage: string;
  readonly DiskChargeType: string;
  readonly Placement: DiskPlacement;
  readonly Portable: boolean;
  readonly Shareable: boolean;
  readonly Attached: boolean;
  readonly InstanceId: string;
  readonly InstanceIdList: readonly string[];
  readonly InstanceType: string;
  readonly LastAttachInsId: string | null;
  readonly AttachMode: string;
  readonly DeleteWithInstance: boolean;
  readonly DeleteSnapshot: number;
  readonly SnapshotAbility: boolean;
  readonly SnapshotCount: number;
  readonly SnapshotSize: number;
  readonly AutoSnapshotPolicyIds: readonly string[] | null;
  readonly Rollbacking: boolean;
  readonly RollbackPercent: number;
  readonly Migrating: boolean;
  readonly MigratePercent: number;
  readonly Encrypt: boolean;
  readonly EncryptType: string;
  readonly KmsKeyId: string;
  readonly Tags: readonly Tag[];
  readonly ThroughputPerformance: number;
  readonly BurstPerformance: boolean;
  readonly BackupDisk: boolean;
  readonly DiskBackupQuota: number;
  readonly DiskBackupCount: number;
  readonly RenewFlag: string;
  readonly AutoRenewFlagError: boolean;
  readonly DeadlineTime: string;
  readonly DeadlineError: boolean;
  readonly DifferDaysOfDeadline: number | null;
  readonly IsReturnable: boolean;
  readonly ReturnFailCode: number;
  readonly CreateTime: string;
  readonly ErrorPrompt: string;
};

export type DiskBackup = {
  readonly DiskBackupId: string;
  readonly DiskBackupName: string;
  readonly DiskBackupState: "NORMAL" | "CREATING" | "ROLLBACKING";
  readonly Percent: number;
  readonly DiskId: string;
  readonly DiskSize: number;
  readonly DiskUsage: string;
  readonly CreateTime: string;
  readonly Encrypt: boolean;
};

export type DiskChargePrepaid = {
  readonly Period: number;
  readonly RenewFlag?: string;
  readonly CurInstanceDeadline?: string;
};

export type DiskConfig = {
  readonly Available: boolean;
  readonly DiskChargeType: string;
  readonly Zone: string;
  readonly InstanceFamily: string | null;
  readonly DiskType: string;
  readonly StepSize: number;
  readonly ExtraPerformanceRange: readonly number[] | null;
  readonly DeviceClass: string | null;
  readonly DiskUsage: string;
  readonly MinDiskSize: number;
  readonly MaxDiskSize: number;
  readonly Price: Price;
};

export type DiskDetail = {
  readonly DiskId: string;
  readonly NbdUri: string | null;
  readonly Device: string | null;
  readonly Tracking: "LIVE" | "STOPPED" | "LOST";
  readonly TrackingReason: string;
  readonly BaseSnapshotId: string | null;
  readonly Epoch: number;
  readonly SourceSnapshotId: string | null;
  readonly Hydrating: boolean;
  readonly HydrationPercent: number;
  readonly Daemon: string | null;
  readonly NeedsRewrite: boolean;
  readonly CreateTime: string;
};

export type DiskPlacement = {
  readonly Zone: string;
  readonly ProjectId: number;
  readonly ProjectName: string;
  readonly CageId: string;
  readonly CdcId: string;
  readonly CdcName: string;
  readonly DedicatedClusterId: string;
};

export type DiskProtection = {
  readonly DiskId: string;
  readonly DiskName: string;
  readonly SizeBytes: number;
  readonly Protected: boolean;
  readonly LastSnapshotId: string | null;
  readonly LastSnapshotTime: string | null;
  readonly Consistency: string | null;
  readonly ConsistencyAsked: string | null;
  readonly VerifiedTime: string | null;
  readonly ProofSnapshotId: string | null;
  readonly ProofFinding: "opens" | "damaged" | "not proven" | null;
  readonly ProofReason: string | null;
  readonly ProofTime: string | null;
  readonly FailedSince: string | null;
  readonly FailedCount: number;
  readonly FailedReason: string | null;
  readonly NextRunTime: string | null;
  readonly PolicyIds: readonly string[];
  readonly Behind: boolean;
  readonly SnapshotCount: number;
  readonly StoredBytes: number;
};

export type DiskSpace = {
  readonly DiskId: string;
  readonly DiskName: string | null;
  readonly AccountId: string | null;
  readonly StoredBytes: number;
  readonly DaySet: readonly DiskSpaceDay[];
};

export type DiskSpaceDay = {
  readonly Day: string;
  readonly StoredBytes: number;
};

export type Event = {
  readonly EventId: string;
  readonly Kind: "snapshot_failed" | "consistency_reduced" | "operation_failed" | "operation_stuck" | "disk_unfit" | "tracking_lost" | "tracking_wrong" | "snapshot_damaged" | "snapshot_suspect" | "proof_failed" | "run_failed" | "run_skipped" | "runs_missed" | "object_damaged" | "damage_mended" | "space_low" | "store_unreachable" | "store_refused" | "store_foreign" | "store_held" | "backup_failed" | "clock_doubted" | "daemon_died";
  readonly Severity: "warning" | "error";
  readonly OfInstallation: boolean;
  readonly SubjectId: string;
  readonly Message: string;
  readonly Facts: EventFacts;
  readonly FirstSeenTime: string;
  readonly LastSeenTime: string;
  readonly Count: number;
  readonly ResolvedTime: string | null;
  readonly AcknowledgedTime: string | null;
  readonly AcknowledgedBy: string;
};

export type EventFacts = {
  readonly Reason: string;
  readonly DiskId: string | null;
  readonly SnapshotId: string | null;
  readonly OperationId: string | null;
  readonly OperationKind: string | null;
  readonly Asked: string | null;
  readonly Given: string | null;
  readonly Object: string | null;
  readonly Blocks: number | null;
  readonly Snapshots: number | null;
  readonly Disks: number | null;
  readonly FreeBytes: number | null;
  readonly Seconds: number | null;
  readonly At: string | null;
};

export type FailedResource = {
  readonly Resource: string;
  readonly Code: string;
  readonly Message: string;
};

export type Filter = {
  readonly Name: string;
  readonly Values: readonly string[];
};

export type GroupMember = {
  readonly SnapshotId: string;
  readonly DiskId: string;
};

export type HistoryPoint = {
  readonly At: string;
  readonly Disks: number;
  readonly DisksBytes: number;
  readonly Snapshots: number;
  readonly StoredBytes: number;
  readonly LogicalBytes: number;
  readonly ChangedBytes: number;
};

export type Image = {
  readonly ImageId: string;
  readonly ImageName: string;
};

export type Instance = {
  readonly InstanceId: string;
  readonly InstanceName: string;
  readonly Kind: "HOST" | "NBD";
  readonly Zone: string;
  readonly AttachedDiskCount: number;
  readonly MaxAttachCount: number;
  readonly CreateTime: string;
};

export type InstancePlacement = {
  readonly Zone: string;
  readonly ProjectId: number;
  readonly HostIds: readonly string[];
  readonly HostId: string;
  readonly DedicatedResourcePackTenancy: string;
  readonly DedicatedResourcePackIds: readonly string[];
  readonly RackId: string;
};

export type InstanceStatus = {
  readonly InstanceId: string;
  readonly InstanceState: string;
};

export type InternetAccessible = {
  readonly InternetChargeType: string;
  readonly InternetMaxBandwidthOut: number;
  readonly PublicIpAssigned: boolean;
  readonly BandwidthPackageId: string;
  readonly InternetServiceProvider: string;
  readonly IPv4AddressType: string;
  readonly IPv6AddressType: string;
  readonly AntiDDoSPackageId: string;
};

export type Key = {
  readonly SecretId: string;
  readonly Enabled: boolean;
  readonly CreateTime: string;
  readonly MadeBy: string | null;
};

export type KeyedTag = {
  readonly TagKey: string;
  readonly TagValue: string;
  readonly Category: string;
};

export type LoginSettings = {
  readonly Password: string;
  readonly KeyIds: readonly string[];
  readonly KeepImageLogin: string;
};

export type Metadata = {
  readonly Items: readonly MetadataItem[];
};

export type MetadataItem = {
  readonly Key: string;
  readonly Value: string;
};

export type Opening = {
  readonly Finding: "opens" | "damaged" | "not proven";
  readonly Reason: string;
  readonly Steps: readonly OpeningStep[];
  readonly BeginTime: string;
  readonly EndTime: string;
};

export type OpeningStep = {
  readonly Title: string;
  readonly Finding: "opens" | "damaged" | "not proven";
  readonly Seconds: number;
  readonly Detail: string;
};

export type Operation = {
  readonly OperationId: string;
  readonly Kind: "create_disk" | "snapshot" | "snapshot_group" | "delete_snapshot" | "rollback" | "hydrate" | "compare" | "resize" | "attach" | "detach" | "terminate" | "initialize" | "export" | "import" | "compact" | "prove" | "rewrite";
  readonly DiskId: string | null;
  readonly SnapshotId: string | null;
  readonly InstanceId: string | null;
  readonly State: "RUNNING" | "DONE" | "FAILED";
  readonly Phase: string;
  readonly Percent: number;
  readonly Attempts: number;
  readonly ErrorCode: string;
  readonly ErrorMessage: string;
  readonly ToSendBytes: number | null;
  readonly SentBytes: number | null;
  readonly Result: unknown;
  readonly CreateTime: string;
  readonly UpdateTime: string;
  readonly Cancellable: boolean;
  readonly Retriable: boolean;
};

export type OperationPhase = {
  readonly Phase: string;
  readonly BeginTime: string;
  readonly Seconds: number;
  readonly Ended: boolean;
};

export type OperationStep = {
  readonly At: string;
  readonly Phase: string;
  readonly State: "RUNNING" | "DONE" | "FAILED";
  readonly Attempts: number;
  readonly ErrorMessage: string;
};

export type Placement = {
  readonly Zone: string;
  readonly CageId?: string;
  readonly CdcId?: string;
  readonly CdcName?: string;
  readonly DedicatedClusterId?: string;
  readonly ProjectId?: number;
  readonly ProjectName?: string;
};

export type Policy = {
  readonly Hour: readonly number[];
  readonly DayOfWeek?: readonly number[];
  readonly DayOfMonth?: readonly number[];
  readonly IntervalDays?: number;
};

export type PolicyDetail = {
  readonly PolicyId: string;
  readonly PolicyName: string;
  readonly Active: boolean;
  readonly TimeZone: string;
  readonly Triggers: readonly PolicyTrigger[];
  readonly IsPermanent: boolean;
  readonly RetentionDays: number | null;
  readonly RetentionMonths: number | null;
  readonly RetentionAmount: number | null;
  readonly AdvancedRetentionPolicy: AdvancedRetentionPolicy | null;
  readonly Group: boolean;
  readonly SkipUnchanged: boolean;
  readonly CopiedFrom: string | null;
  readonly DiskIds: readonly string[];
  readonly NextTimes: readonly string[];
  readonly LastRuns: readonly PolicyRun[];
  readonly CreateTime: string;
  readonly ModifyTime: string;
};

export type PolicyRun = {
  readonly PolicyId: string;
  readonly SlotTime: string;
  readonly DiskId: string;
  readonly State: "waiting" | "running" | "done" | "skipped" | "failed";
  readonly Reason: "unchanged" | "not in use" | "overlap" | "missed" | "busy" | "quota" | "full" | "disk unfit" | "recycled" | "disk gone" | "unbound" | "switched off" | "policy gone" | "cancelled" | "snapshot failed" | "clock" | null;
  readonly Detail: string;
  readonly LateSeconds: number;
  readonly Missed: number;
  readonly Attempts: number;
  readonly SnapshotId: string | null;
  readonly EndedTime: string | null;
};

export type PolicyTrigger = {
  readonly Hour: readonly number[];
  readonly DayOfWeek: readonly number[];
  readonly DayOfMonth: readonly number[];
  readonly IntervalDays: number;
};

export type PrepayPrice = {
  readonly OriginalPrice: number | null;
  readonly OriginalPriceHigh: string | null;
  readonly DiscountPrice: number | null;
  readonly DiscountPriceHigh: string | null;
  readonly UnitPrice: number | null;
  readonly UnitPriceHigh: string | null;
  readonly UnitPriceDiscount: number | null;
  readonly UnitPriceDiscountHigh: string | null;
  readonly ChargeUnit: string | null;
  readonly DetailPrices: readonly DetailPrice[];
};

export type Price = {
  readonly OriginalPrice: number | null;
  readonly OriginalPriceHigh: string | null;
  readonly DiscountPrice: number | null;
  readonly DiscountPriceHigh: string | null;
  readonly UnitPrice: number | null;
  readonly UnitPriceHigh: string | null;
  readonly UnitPriceDiscount: number | null;
  readonly UnitPriceDiscountHigh: string | null;
  readonly ChargeUnit: string | null;
};

export type QuiesceProfile = {
  readonly ResourceId: string;
  readonly Mode: "require" | "prefer";
  readonly FreezeSecondsMax: number;
  readonly Steps: readonly QuiesceStepRecord[];
  readonly ModifyTime: string;
  readonly ProveEveryH: number | null;
};

export type QuiesceStep = {
  readonly Kind: string;
  readonly SecondsMax?: number;
  readonly Mount?: string;
  readonly Freeze?: readonly string[];
  readonly Thaw?: readonly string[];
  readonly OptionFile?: string;
  readonly Connection?: string;
  readonly Socket?: string;
  readonly Domain?: string;
};

export type QuiesceStepRecord = {
  readonly Kind: "command" | "mariadb" | "postgresql" | "filesystem" | "guest-agent" | "libvirt";
  readonly SecondsMax: number;
  readonly Mount: string | null;
  readonly Freeze: readonly string[];
  readonly Thaw: readonly string[];
  readonly OptionFile: string | null;
  readonly Connection: string | null;
  readonly Socket: string | null;
  readonly Domain: string | null;
};

export type RegionInfo = {
  readonly Region: string;
  readonly RegionName: string;
  readonly RegionState: string;
};

export type RemoteDiskDetail = {
  readonly RemoteDiskId: string;
  readonly RemoteDiskName: string;
  readonly RemoteDiskState: string;
  readonly RemoteDiskType: string;
  readonly InstanceId: string | null;
  readonly DiskChargeType: string;
  readonly Placement: DiskPlacement;
  readonly DiskSize: number;
  readonly CreateTime: string;
  readonly DeadlineTime: string | null;
  readonly RenewFlag: string | null;
};

export type ResourceTagMapping = {
  readonly Resource: string;
  readonly Tags: readonly KeyedTag[];
};

export type SharePermission = {
  readonly AccountId: string;
  readonly CreatedTime: string;
};

export type SimulatedPolicyDay = {
  readonly Date: string;
  readonly RunTimes: readonly string[];
  readonly GoneTimes: readonly string[];
  readonly Kept: number;
};

export type Snapshot = {
  readonly SnapshotId: string;
  readonly SnapshotName: string;
  readonly SnapshotState: "NORMAL" | "CREATING" | "ROLLBACKING";
  readonly SnapshotType: string;
  readonly SnapshotMode: string;
  readonly Percent: number;
  readonly DiskId: string;
  readonly DiskSize: number;
  readonly DiskUsage: string;
  readonly Placement: DiskPlacement;
  readonly IsPermanent: boolean;
  readonly DeadlineTime: string;
  readonly CreateTime: string;
  readonly LatestModifyTime: string;
  readonly IsLocked: boolean;
  readonly Encrypt: boolean;
  readonly CopyFromRemote: boolean;
  readonly CopyingToRegions: readonly string[];
  readonly ShareReference: number;
  readonly TimeStartShare: string;
  readonly Images: readonly Image[];
  readonly ImageCount: number;
  readonly AutoSnapshotPolicyId: string;
  readonly Tags: readonly Tag[];
};

export type SnapshotCopyResult = {
  readonly SnapshotId: string;
  readonly DestinationRegion: string;
  readonly Code: string;
  readonly Message: string;
};

export type SnapshotGroup = {
  readonly SnapshotGroupId: string;
  readonly SnapshotGroupName: string;
  readonly SnapshotGroupType: string;
  readonly SnapshotGroupState: "NORMAL" | "CREATING" | "ROLLBACKING";
  readonly Percent: number;
  readonly SnapshotIdSet: readonly string[];
  readonly ContainRootSnapshot: boolean;
  readonly IsPermanent: boolean;
  readonly DeadlineTime: string | null;
  readonly AutoSnapshotPolicyId: string | null;
  readonly CreateTime: string;
  readonly ModifyTime: string;
  readonly Images: readonly Image[];
  readonly ImageCount: number;
};

export type SnapshotGroupRecord = {
  readonly SnapshotGroupId: string;
  readonly InstanceId: string;
  readonly PauseMs: number | null;
  readonly TakenAt: string | null;
  readonly MemberSet: readonly GroupMember[];
  readonly Tags: readonly Tag[];
};

export type SnapshotRecord = {
  readonly SnapshotId: string;
  readonly SnapshotGroupId: string | null;
  readonly ParentSnapshotId: string | null;
  readonly Tracking: string | null;
  readonly TrackingReason: string | null;
  readonly ReadBytes: number | null;
  readonly ChangedBytes: number | null;
  readonly StoredBytes: number | null;
  readonly Requests: number | null;
  readonly FreezeMs: number | null;
  readonly DurationMs: number | null;
  readonly Consistency: string | null;
  readonly ConsistencyAsked: string | null;
  readonly QuiesceMs: number | null;
  readonly Transcript: readonly string[];
  readonly TakenAt: string | null;
  readonly Suspect: boolean;
  readonly AuditedBlocks: number | null;
  readonly AuditComplete: boolean | null;
  readonly AuditLies: number | null;
  readonly Damaged: boolean;
  readonly Opening: Opening | null;
  readonly CreateTime: string;
  readonly ModifyTime: string;
  readonly DeadlineTime: string | null;
};

export type SnapshotSpace = {
  readonly SnapshotId: string;
  readonly UniqueBytes: number;
  readonly SharedBytes: number;
};

export type SpaceDay = {
  readonly Day: string;
  readonly StoredBytes: number;
  readonly FreeBytes: number;
};

export type StoreDay = {
  readonly Day: string;
  readonly WriteRequests: number;
  readonly ReadRequests: number;
  readonly ListRequests: number;
  readonly DeleteRequests: number;
  readonly SentBytes: number;
  readonly ReceivedBytes: number;
  readonly Errors: number;
};

export type SystemDisk = {
  readonly DiskType: string;
  readonly DiskId: string;
  readonly DiskSize: number;
  readonly CdcId: string;
  readonly DiskName: string;
  readonly Encrypt: boolean;
  readonly KmsKeyId: string;
};

export type Tag = {
  readonly Key: string;
  readonly Value: string;
};

export type TagFilter = {
  readonly TagKey: string;
  readonly TagValue?: readonly string[];
};

export type TagKeyObject = {
  readonly TagKey: string;
};

export type TagPair = {
  readonly TagKey: string;
  readonly TagValue: string;
  readonly Category?: string;
};

export type TagResource = {
  readonly TagKey: string;
  readonly TagValue: string;
  readonly ResourceId: string;
  readonly TagKeyMd5: string;
  readonly TagValueMd5: string;
  readonly ServiceType: string;
  readonly Category: string;
};

export type VirtualPrivateCloud = {
  readonly VpcId: string;
  readonly SubnetId: string;
  readonly AsVpcGateway: boolean;
  readonly PrivateIpAddresses: readonly string[];
  readonly Ipv6AddressCount: number;
};

export type ZoneInfo = {
  readonly Zone: string;
  readonly ZoneName: string;
  readonly ZoneId: string;
  readonly ZoneState: string;
};

/** Each action of each service, what it takes and what it answers. */

export type Services = {
  cbs: {
    ApplyDiskBackup: {
      changes: true;
      parameters: {
        readonly DiskBackupId: string;
        readonly DiskId: string;
        readonly AutoStopInstance?: boolean;
        readonly AutoStartInstance?: boolean;
      };
      answer: Record<never, never>;
    };
    ApplySnapshot: {
      changes: true;
      parameters: {
        readonly SnapshotId: string;
        readonly DiskId: string;
        readonly AutoStopInstance?: boolean;
        readonly AutoStartInstance?: boolean;
      };
      answer: Record<never, never>;
    };
    ApplySnapshotGroup: {
      changes: true;
      parameters: {
        readonly SnapshotGroupId: string;
        readonly ApplyDisks: readonly ApplyDisk[];
        readonly AutoStopInstance?: boolean;
        readonly AutoStartInstance?: boolean;
      };
      answer: Record<never, never>;
    };
    AttachDisks: {
      changes: true;
      parameters: {
        readonly InstanceId: string;
        readonly DiskIds: readonly string[];
        readonly DeleteWithInstance?: boolean;
        readonly AttachMode?: string;
        readonly InstanceType?: string;
      };
      answer: Record<never, never>;
    };
    BindAutoSnapshotPolicy: {
      changes: true;
      parameters: {
        readonly AutoSnapshotPolicyId: string;
        readonly DiskIds?: readonly string[];
      };
      answer: Record<never, never>;
    };
    CopyAutoSnapshotPolicyCrossAccount: {
      changes: true;
      parameters: {
        readonly AutoSnapshotPolicyIds: readonly string[];
        readonly TargetAccountUin: string;
      };
      answer: {
        readonly AutoSnapshotPolicyIds: readonly string[] | null;
        readonly TargetAccountUin: string;
      };
    };
    CopySnapshotCrossRegions: {
      changes: true;
      parameters: {
        readonly DestinationRegions: readonly string[];
        readonly SnapshotId?: string;
        readonly SnapshotName?: string;
      };
      answer: {
        readonly SnapshotCopyResultSet: readonly SnapshotCopyResult[];
      };
    };
    CreateAutoSnapshotPolicy: {
      changes: true;
      parameters: {
        readonly Policy: readonly Policy[];
        readonly DryRun?: boolean;
        readonly IsActivated?: boolean;
        readonly AutoSnapshotPolicyName?: string;
        readonly IsPermanent?: boolean;
        readonly RetentionDays?: number;
      };
      answer: {
        readonly AutoSnapshotPolicyId: string;
        readonly NextTriggerTime: string;
      };
    };
    CreateDiskBackup: {
      changes: true;
      parameters: {
        readonly DiskId: string;
        readonly DiskBackupName?: string;
      };
      answer: {
        readonly DiskBackupId: string;
      };
    };
    CreateDisks: {
      changes: true;
      parameters: {
        readonly Placement: Placement;
        readonly DiskChargeType: string;
        readonly DiskType: string;
        readonly DiskName?: string;
        readonly Tags?: readonly Tag[];
        readonly SnapshotId?: string;
        readonly DiskCount?: number;
        readonly ThroughputPerformance?: number;
        readonly KmsKeyId?: string;
        readonly DiskSize?: number;
        readonly Shareable?: boolean;
        readonly ClientToken?: string;
        readonly Encrypt?: string;
        readonly DiskChargePrepaid?: DiskChargePrepaid;
        readonly DeleteSnapshot?: number;
        readonly AutoMountConfiguration?: AutoMountConfiguration;
        readonly DiskBackupQuota?: number;
        readonly BurstPerformance?: boolean;
        readonly EncryptType?: string;
        readonly AutoSnapshotPolicyId?: string;
      };
      answer: {
        readonly DiskIdSet: readonly string[];
      };
    };
    CreateSnapshot: {
      changes: true;
      parameters: {
        readonly DiskId?: string;
        readonly SnapshotName?: string;
        readonly Deadline?: string;
        readonly DiskBackupId?: string;
        readonly Tags?: readonly Tag[];
        readonly LocalSnap?: boolean;
        readonly DiskUsage?: string;
      };
      answer: {
        readonly SnapshotId: string;
      };
    };
    CreateSnapshotGroup: {
      changes: true;
      parameters: {
        readonly DiskIds: readonly string[];
        readonly SnapshotGroupName?: string;
        readonly Tags?: readonly Tag[];
      };
      answer: {
        readonly SnapshotGroupId: string;
      };
    };
    DeleteAutoSnapshotPolicies: {
      changes: true;
      parameters: {
        readonly AutoSnapshotPolicyIds: readonly string[];
      };
      answer: Record<never, never>;
    };
    DeleteDiskBackups: {
      changes: true;
      parameters: {
        readonly DiskBackupIds: readonly string[];
      };
      answer: Record<never, never>;
    };
    DeleteSnapshotGroup: {
      changes: true;
      parameters: {
        readonly SnapshotGroupId?: string;
        readonly SnapshotGroupIds?: readonly string[];
        readonly DeleteBindImages?: boolean;
      };
      answer: Record<never, never>;
    };
    DeleteSnapshots: {
      changes: true;
      parameters: {
        readonly SnapshotIds: readonly string[];
        readonly DeleteBindImages?: boolean;
      };
      answer: Record<never, never>;
    };
    DescribeAutoSnapshotPolicies: {
      changes: false;
      parameters: {
        readonly Offset?: number;
        readonly Limit?: number;
        readonly AutoSnapshotPolicyIds?: readonly string[];
        readonly Filters?: readonly Filter[];
        readonly Order?: string;
        readonly OrderField?: string;
      };
      answer: {
        readonly TotalCount: number;
        readonly AutoSnapshotPolicySet: readonly AutoSnapshotPolicy[];
      };
    };
    DescribeDedicatedClusterDiskStatistics: {
      changes: false;
      parameters: {
        readonly DedicatedClusterId: string;
      };
      answer: {
        readonly DedicatedClusterDiskStatisticSet: readonly DedicatedClusterDiskStatistic[];
      };
    };
    DescribeDiskAssociatedAutoSnapshotPolicy: {
      changes: false;
      parameters: {
        readonly DiskId: string;
      };
      answer: {
        readonly TotalCount: number;
        readonly AutoSnapshotPolicySet: readonly AutoSnapshotPolicy[];
      };
    };
    DescribeDiskBackups: {
      changes: false;
      parameters: {
        readonly Offset?: number;
        readonly Limit?: number;
        readonly DiskBackupIds?: readonly string[];
        readonly Filters?: readonly Filter[];
        readonly Order?: string;
        readonly OrderField?: string;
      };
      answer: {
        readonly TotalCount: number;
        readonly DiskBackupSet: readonly DiskBackup[];
      };
    };
    DescribeDiskConfigQuota: {
      changes: false;
      parameters: {
        readonly InquiryType: string;
        readonly DiskChargeType?: string;
        readonly InstanceFamilies?: readonly string[];
        readonly DiskTypes?: readonly string[];
        readonly Zones?: readonly string[];
        readonly Memory?: number;
        readonly DiskUsage?: string;
        readonly CPU?: number;
        readonly DedicatedClusterId?: string;
      };
      answer: {
        readonly DiskConfigSet: readonly DiskConfig[];
      };
    };
    DescribeDiskStoragePool: {
      changes: false;
      parameters: {
        readonly Offset?: number;
        readonly Limit?: number;
        readonly CdcIds?: readonly string[];
        readonly Filters?: readonly Filter[];
      };
      answer: {
        readonly TotalCount: number;
        readonly CdcSet: readonly Cdc[];
        readonly DiskStoragePoolSet: readonly Cdc[];
      };
    };
    DescribeDisks: {
      changes: false;
      parameters: {
        readonly Offset?: number;
        readonly Limit?: number;
        readonly Filters?: readonly Filter[];
        readonly OrderField?: string;
        readonly ReturnBindAutoSnapshotPolicy?: boolean;
        readonly DiskIds?: readonly string[];
        readonly Order?: string;
      };
      answer: {
        readonly TotalCount: number;
        readonly DiskSet: readonly Disk[];
      };
    };
    DescribeInstancesDiskNum: {
      changes: false;
      parameters: {
        readonly InstanceIds: readonly string[];
      };
      answer: {
        readonly AttachDetail: readonly AttachDetail[];
      };
    };
    DescribeRemoteDiskConfigQuota: {
      changes: false;
      parameters: {
        readonly Filters?: readonly Filter[];
      };
      answer: Record<never, never>;
    };
    DescribeRemoteDisks: {
      changes: false;
      parameters: {
        readonly Filters?: readonly Filter[];
      };
      answer: {
        readonly TotalCount: number;
        readonly RemoteDiskSet: readonly RemoteDiskDetail[];
      };
    };
    DescribeRemoteDisksDeniedActions: {
      changes: false;
      parameters: {
        readonly RemoteDiskIds: readonly string[];
      };
      answer: Record<never, never>;
    };
    DescribeSnapshotGroups: {
      changes: false;
      parameters: {
        readonly Offset?: number;
        readonly Limit?: number;
        readonly Filters?: readonly Filter[];
      };
      answer: {
        readonly TotalCount: number;
        readonly SnapshotGroupSet: readonly SnapshotGroup[];
      };
    };
    DescribeSnapshotOverview: {
      changes: false;
      parameters: Record<never, never>;
      answer: {
        readonly TotalNums: number;
        readonly TotalSize: number;
        readonly FreeQuota: number;
        readonly RealTradeSize: number;
      };
    };
    DescribeSnapshotSharePermission: {
      changes: false;
      parameters: {
        readonly SnapshotId: string;
      };
      answer: {
        readonly SharePermissionSet: readonly SharePermission[];
      };
    };
    DescribeSnapshots: {
      changes: false;
      parameters: {
        readonly Offset?: number;
        readonly Limit?: number;
        readonly SnapshotIds?: readonly string[];
        readonly Filters?: readonly Filter[];
        readonly OrderField?: string;
        readonly Order?: string;
      };
      answer: {
        readonly TotalCount: number;
        readonly SnapshotSet: readonly Snapshot[];
      };
    };
    DetachDisks: {
      changes: true;
      parameters: {
        readonly DiskIds: readonly string[];
        readonly InstanceId?: string;
        readonly InstanceType?: string;
      };
      answer: Record<never, never>;
    };
    GetSnapOverview: {
      changes: false;
      parameters: Record<never, never>;
      answer: {
        readonly TotalNums: number;
        readonly TotalSize: number;
        readonly FreeQuota: number;
        readonly RealTradeSize: number;
        readonly DeprecatedWarning: string;
      };
    };
    InitializeDisks: {
      changes: true;
      parameters: {
        readonly DiskIds: readonly string[];
      };
      answer: Record<never, never>;
    };
    InquirePriceModifyDiskBackupQuota: {
      changes: false;
      parameters: {
        readonly DiskId: string;
        readonly DiskBackupQuota: number;
      };
      answer: {
        readonly DiskPrice: Price;
      };
    };
    InquirePriceModifyDiskExtraPerformance: {
      changes: false;
      parameters: {
        readonly ThroughputPerformance: number;
        readonly DiskId: string;
      };
      answer: {
        readonly DiskPrice: Price;
      };
    };
    InquiryPriceCreateDisks: {
      changes: false;
      parameters: {
        readonly DiskChargeType: string;
        readonly DiskType: string;
        readonly DiskSize: number;
        readonly ProjectId?: number;
        readonly DiskCount?: number;
        readonly ThroughputPerformance?: number;
        readonly DiskChargePrepaid?: DiskChargePrepaid;
        readonly DiskBackupQuota?: number;
      };
      answer: {
        readonly DiskPrice: Price;
      };
    };
    InquiryPriceRenewDisks: {
      changes: false;
      parameters: {
        readonly DiskIds: readonly string[];
        readonly DiskChargePrepaids?: readonly DiskChargePrepaid[];
        readonly NewDeadline?: string;
        readonly ProjectId?: number;
      };
      answer: {
        readonly DiskPrice: PrepayPrice;
      };
    };
    InquiryPriceResizeDisk: {
      changes: false;
      parameters: {
        readonly DiskSize: number;
        readonly DiskId?: string;
        readonly ProjectId?: number;
        readonly DiskIds?: readonly string[];
      };
      answer: {
        readonly DiskPrice: PrepayPrice;
      };
    };
    ModifyAutoSnapshotPolicyAttribute: {
      changes: true;
      parameters: {
        readonly AutoSnapshotPolicyId: string;
        readonly IsActivated?: boolean;
        readonly IsPermanent?: boolean;
        readonly AutoSnapshotPolicyName?: string;
        readonly Policy?: readonly Policy[];
        readonly RetentionDays?: number;
      };
      answer: Record<never, never>;
    };
    ModifyDiskAttributes: {
      changes: true;
      parameters: {
        readonly DiskIds: readonly string[];
        readonly DiskName?: string;
        readonly Portable?: boolean;
        readonly ProjectId?: number;
        readonly DeleteWithInstance?: boolean;
        readonly DiskType?: string;
        readonly BurstPerformanceOperation?: string;
      };
      answer: Record<never, never>;
    };
    ModifyDiskBackupQuota: {
      changes: true;
      parameters: {
        readonly DiskId: string;
        readonly DiskBackupQuota: number;
      };
      answer: Record<never, never>;
    };
    ModifyDiskExtraPerformance: {
      changes: true;
      parameters: {
        readonly ThroughputPerformance: number;
        readonly DiskId: string;
      };
      answer: Record<never, never>;
    };
    ModifyDisksChargeType: {
      changes: true;
      parameters: {
        readonly DiskIds: readonly string[];
        readonly DiskChargePrepaid?: DiskChargePrepaid;
        readonly DiskChargePostpaid?: boolean;
      };
      answer: Record<never, never>;
    };
    ModifyDisksRenewFlag: {
      changes: true;
      parameters: {
        readonly DiskIds: readonly string[];
        readonly RenewFlag: string;
        readonly AutoRenewPeriod?: number;
      };
      answer: Record<never, never>;
    };
    ModifySnapshotAttribute: {
      changes: true;
      parameters: {
        readonly SnapshotId: string;
        readonly IsPermanent?: boolean;
        readonly SnapshotName?: string;
        readonly Deadline?: string;
      };
      answer: Record<never, never>;
    };
    ModifySnapshotsSharePermission: {
      changes: true;
      parameters: {
        readonly SnapshotIds: readonly string[];
        readonly AccountIds: readonly string[];
        readonly Permission: string;
      };
      answer: Record<never, never>;
    };
    RenewDisk: {
      changes: true;
      parameters: {
        readonly DiskChargePrepaid: DiskChargePrepaid;
        readonly DiskId: string;
      };
      answer: Record<never, never>;
    };
    ResizeDisk: {
      changes: true;
      parameters: {
        readonly DiskSize: number;
        readonly DiskId?: string;
      };
      answer: Record<never, never>;
    };
    TerminateDisks: {
      changes: true;
      parameters: {
        readonly DiskIds: readonly string[];
        readonly DeleteSnapshot?: number;
      };
      answer: Record<never, never>;
    };
    UnbindAutoSnapshotPolicy: {
      changes: true;
      parameters: {
        readonly AutoSnapshotPolicyId: string;
        readonly DiskIds?: readonly string[];
        readonly InstanceIds?: readonly string[];
      };
      answer: Record<never, never>;
    };
  };
  drystone: {
    AcknowledgeEvents: {
      changes: true;
      parameters: {
        readonly EventIds: readonly string[];
      };
      answer: Record<never, never>;
    };
    AuditDisk: {
      changes: true;
      parameters: {
        readonly DiskId: string;
      };
      answer: {
        readonly SnapshotId: string;
      };
    };
    CancelOperation: {
      changes: true;
      parameters: {
        readonly OperationId: string;
      };
      answer: Record<never, never>;
    };
    CollectGarbage: {
      changes: true;
      parameters: {
        readonly DryRun?: boolean;
        readonly Threshold?: number;
      };
      answer: {
        readonly OperationId: string | null;
        readonly Threshold: number;
        readonly PackCount: number;
        readonly PackBytes: number;
        readonly DeadBytes: number;
      };
    };
    ConfirmClock: {
      changes: true;
      parameters: Record<never, never>;
      answer: {
        readonly Clock: Clock;
      };
    };
    ConfirmStore: {
      changes: true;
      parameters: Record<never, never>;
      answer: {
        readonly WasHeld: string | null;
      };
    };
    CreateAccessKey: {
      changes: true;
      parameters: {
        readonly AccountId: string;
      };
      answer: {
        readonly SecretId: string;
        readonly SecretKey: string;
      };
    };
    CreateAccount: {
      changes: true;
      parameters: {
        readonly AccountName: string;
      };
      answer: {
        readonly AccountId: string;
        readonly SecretId: string;
        readonly SecretKey: string;
      };
    };
    CreateInstance: {
      changes: true;
      parameters: {
        readonly Kind: string;
        readonly InstanceName?: string;
      };
      answer: {
        readonly InstanceId: string;
      };
    };
    CreateKey: {
      changes: true;
      parameters: Record<never, never>;
      answer: {
        readonly SecretId: string;
        readonly SecretKey: string;
      };
    };
    DeleteAccessKey: {
      changes: true;
      parameters: {
        readonly SecretId: string;
      };
      answer: Record<never, never>;
    };
    DeleteInstance: {
      changes: true;
      parameters: {
        readonly InstanceId: string;
      };
      answer: Record<never, never>;
    };
    DeleteKey: {
      changes: true;
      parameters: {
        readonly SecretId: string;
        readonly Force?: boolean;
      };
      answer: Record<never, never>;
    };
    DeleteQuiesceProfile: {
      changes: true;
      parameters: {
        readonly ResourceId: string;
      };
      answer: Record<never, never>;
    };
    DescribeAccessKeys: {
      changes: false;
      parameters: {
        readonly AccountId: string;
      };
      answer: {
        readonly KeySet: readonly Key[];
      };
    };
    DescribeAccounts: {
      changes: false;
      parameters: {
        readonly Offset?: number;
        readonly Limit?: number;
      };
      answer: {
        readonly TotalCount: number;
        readonly AccountSet: readonly Account[];
      };
    };
    DescribeAuditTrail: {
      changes: false;
      parameters: {
        readonly Offset?: number;
        readonly Limit?: number;
        readonly Filters?: readonly Filter[];
        readonly BeginTime?: string;
        readonly EndTime?: string;
      };
      answer: {
        readonly TotalCount: number;
        readonly AuditEntrySet: readonly AuditEntry[];
      };
    };
    DescribeDiskDetails: {
      changes: false;
      parameters: {
        readonly Offset?: number;
        readonly Limit?: number;
        readonly DiskIds?: readonly string[];
        readonly Filters?: readonly Filter[];
        readonly Order?: string;
        readonly OrderField?: string;
      };
      answer: {
        readonly TotalCount: number;
        readonly DiskDetailSet: readonly DiskDetail[];
      };
    };
    DescribeDiskSpace: {
      changes: false;
      parameters: {
        readonly Offset?: number;
        readonly Limit?: number;
        readonly DiskIds?: readonly string[];
        readonly AllAccounts?: boolean;
        readonly Days?: number;
      };
      answer: {
        readonly TotalCount: number;
        readonly DiskSpaceSet: readonly DiskSpace[];
      };
    };
    DescribeEvents: {
      changes: false;
      parameters: {
        readonly Offset?: number;
        readonly Limit?: number;
        readonly EventIds?: readonly string[];
        readonly Filters?: readonly Filter[];
        readonly After?: number;
      };
      answer: {
        readonly TotalCount: number;
        readonly EventSet: readonly Event[];
        readonly Cursor: number;
      };
    };
    DescribeHistory: {
      changes: false;
      parameters: {
        readonly Hours?: number;
      };
      answer: {
        readonly Points: readonly HistoryPoint[];
      };
    };
    DescribeHost: {
      changes: false;
      parameters: Record<never, never>;
      answer: {
        readonly Version: string;
        readonly QemuVersion: string;
        readonly DataDirectory: string;
        readonly Region: string;
        readonly Zone: string;
        readonly StoreId: string;
        readonly FreeBytes: number;
        readonly FloorBytes: number;
        readonly StoredBytes: number;
        readonly StoreBytesPerSecond: number;
        readonly DiskCount: number;
        readonly SnapshotCount: number;
        readonly DaemonSet: readonly Daemon[];
        readonly Clock: Clock;
      };
    };
    DescribeInstances: {
      changes: false;
      parameters: {
        readonly Offset?: number;
        readonly Limit?: number;
        readonly InstanceIds?: readonly string[];
      };
      answer: {
        readonly TotalCount: number;
        readonly InstanceSet: readonly Instance[];
      };
    };
    DescribeKeys: {
      changes: false;
      parameters: Record<never, never>;
      answer: {
        readonly KeySet: readonly Key[];
      };
    };
    DescribeOperationHistory: {
      changes: false;
      parameters: {
        readonly OperationId: string;
      };
      answer: {
        readonly StepSet: readonly OperationStep[];
        readonly PhaseSet: readonly OperationPhase[];
      };
    };
    DescribeOperations: {
      changes: false;
      parameters: {
        readonly Offset?: number;
        readonly Limit?: number;
        readonly OperationIds?: readonly string[];
        readonly Filters?: readonly Filter[];
      };
      answer: {
        readonly TotalCount: number;
        readonly OperationSet: readonly Operation[];
      };
    };
    DescribeOverview: {
      changes: false;
      parameters: Record<never, never>;
      answer: {
        readonly Disks: number;
        readonly DisksAttached: number;
        readonly DisksBytes: number;
        readonly SnapshotsCount: number;
        readonly LogicalBytes: number;
        readonly ChangedBytes: number;
        readonly StoredBytes: number;
        readonly SavedByIncrementsBytes: number;
        readonly SavedByCompressionBytes: number;
        readonly StoreBytesFree: number | null;
        readonly RecentOperations: readonly Operation[];
      };
    };
    DescribePolicyDetails: {
      changes: false;
      parameters: {
        readonly Offset?: number;
        readonly Limit?: number;
        readonly PolicyIds?: readonly string[];
        readonly Filters?: readonly Filter[];
      };
      answer: {
        readonly TotalCount: number;
        readonly PolicyDetailSet: readonly PolicyDetail[];
      };
    };
    DescribePolicyRuns: {
      changes: false;
      parameters: {
        readonly Offset?: number;
        readonly Limit?: number;
        readonly Filters?: readonly Filter[];
      };
      answer: {
        readonly TotalCount: number;
        readonly PolicyRunSet: readonly PolicyRun[];
      };
    };
    DescribePolicySimulation: {
      changes: false;
      parameters: {
        readonly RetentionDays?: number;
        readonly RetentionMonths?: number;
        readonly RetentionAmount?: number;
        readonly AdvancedRetentionPolicy?: AdvancedRetention;
        readonly IsPermanent?: boolean;
        readonly PolicyId?: string;
        readonly Policy?: readonly Policy[];
        readonly TimeZone?: string;
        readonly Days?: number;
      };
      answer: {
        readonly TimeZone: string;
        readonly SimulatedPolicyDaySet: readonly SimulatedPolicyDay[];
        readonly KeptTimes: readonly string[];
      };
    };
    DescribeProtection: {
      changes: false;
      parameters: {
        readonly Offset?: number;
        readonly Limit?: number;
        readonly DiskIds?: readonly string[];
        readonly Filters?: readonly Filter[];
      };
      answer: {
        readonly TotalCount: number;
        readonly DiskProtectionSet: readonly DiskProtection[];
      };
    };
    DescribeQuiesceProfiles: {
      changes: false;
      parameters: {
        readonly Offset?: number;
        readonly Limit?: number;
      };
      answer: {
        readonly TotalCount: number;
        readonly QuiesceProfileSet: readonly QuiesceProfile[];
      };
    };
    DescribeQuotas: {
      changes: false;
      parameters: Record<never, never>;
      answer: {
        readonly DisksMax: number;
        readonly DisksCount: number;
        readonly DiskGibMax: number;
        readonly DiskGib: number;
        readonly SnapshotsPerDiskMax: number;
        readonly SnapshotsMax: number;
        readonly SnapshotsCount: number;
        readonly SnapshotBytesMax: number;
        readonly SnapshotBytes: number;
        readonly DisksPerInstanceMax: number;
        readonly DisksPerCallMax: number;
      };
    };
    DescribeSnapshotDifference: {
      changes: false;
      parameters: {
        readonly To: string;
        readonly From?: string;
      };
      answer: {
        readonly SizeBytes: number;
        readonly ChangedBytes: number;
        readonly BucketBytes: number;
        readonly Buckets: readonly number[];
      };
    };
    DescribeSnapshotGroupRecords: {
      changes: false;
      parameters: {
        readonly Offset?: number;
        readonly Limit?: number;
        readonly SnapshotGroupIds?: readonly string[];
      };
      answer: {
        readonly TotalCount: number;
        readonly SnapshotGroupRecordSet: readonly SnapshotGroupRecord[];
      };
    };
    DescribeSnapshotRecords: {
      changes: false;
      parameters: {
        readonly Offset?: number;
        readonly Limit?: number;
        readonly SnapshotIds?: readonly string[];
        readonly Filters?: readonly Filter[];
        readonly Order?: string;
        readonly OrderField?: string;
      };
      answer: {
        readonly TotalCount: number;
        readonly SnapshotRecordSet: readonly SnapshotRecord[];
      };
    };
    DescribeSnapshotSpace: {
      changes: false;
      parameters: {
        readonly SnapshotIds: readonly string[];
      };
      answer: {
        readonly SnapshotSpaceSet: readonly SnapshotSpace[];
        readonly DeadBytes: number;
        readonly ReclaimableBytes: number;
      };
    };
    DescribeStore: {
      changes: false;
      parameters: Record<never, never>;
      answer: {
        readonly StoredBytes: number;
        readonly MapBytes: number;
        readonly SnapshotBytes: number;
        readonly CacheBytes: number;
        readonly PackCount: number;
        readonly PackBytes: number;
        readonly LiveBytes: number;
        readonly DeadBytes: number;
        readonly ReclaimableBytes: number;
        readonly ReclaimedBytes: number;
        readonly WaitingBytes: number;
        readonly Threshold: number;
        readonly Held: string;
      };
    };
    DescribeStoreHealth: {
      changes: false;
      parameters: Record<never, never>;
      answer: {
        readonly PackCount: number;
        readonly PacksDue: number;
        readonly OldestProofTime: string | null;
        readonly SnapshotCount: number;
        readonly SnapshotsDue: number;
        readonly RequestedAt: string | null;
        readonly DamagedSnapshotCount: number;
        readonly SuspectSnapshotCount: number;
        readonly SuspectSnapshotIds: readonly string[];
        readonly DamageSet: readonly Damage[];
      };
    };
    DescribeStoreStatus: {
      changes: false;
      parameters: Record<never, never>;
      answer: {
        readonly StoreId: string;
        readonly Place: string;
        readonly PlaceKind: "directory" | "bucket";
        readonly State: "answers" | "unreachable" | "refused" | "foreign";
        readonly Fault: string;
        readonly FaultSince: string | null;
        readonly ReachedTime: string | null;
        readonly LastFault: string | null;
        readonly LastFaultTime: string | null;
        readonly LastFaultEndTime: string | null;
        readonly Epoch: number;
        readonly Held: string;
        readonly DaySet: readonly StoreDay[];
        readonly SpaceDaySet: readonly SpaceDay[];
        readonly DaysUntilFull: number | null;
      };
    };
    ExportSnapshot: {
      changes: true;
      parameters: {
        readonly SnapshotId: string;
        readonly Path: string;
        readonly Format?: string;
      };
      answer: {
        readonly OperationId: string;
      };
    };
    ImportDisk: {
      changes: true;
      parameters: {
        readonly Path: string;
        readonly Format?: string;
        readonly Force?: boolean;
        readonly DiskName?: string;
        readonly DiskType?: string;
        readonly DiskSize?: number;
      };
      answer: {
        readonly DiskId: string;
        readonly OperationId: string;
      };
    };
    ProveSnapshot: {
      changes: true;
      parameters: {
        readonly SnapshotId: string;
      };
      answer: {
        readonly OperationId: string;
      };
    };
    RetryOperation: {
      changes: true;
      parameters: {
        readonly OperationId: string;
      };
      answer: {
        readonly OperationId: string;
      };
    };
    RewriteDisk: {
      changes: true;
      parameters: {
        readonly DiskId: string;
      };
      answer: {
        readonly OperationId: string;
      };
    };
    ScrubStore: {
      changes: true;
      parameters: Record<never, never>;
      answer: {
        readonly RequestedAt: string;
      };
    };
    SetAccountPassword: {
      changes: true;
      parameters: {
        readonly AccountId?: string;
        readonly AccountName?: string;
        readonly Password?: string;
      };
      answer: {
        readonly Password: string | null;
      };
    };
    SetAccountQuota: {
      changes: true;
      parameters: {
        readonly AccountId: string;
        readonly Disks?: number;
        readonly DiskGib?: number;
      };
      answer: Record<never, never>;
    };
    SetPolicyOptions: {
      changes: true;
      parameters: {
        readonly RetentionDays?: number;
        readonly RetentionMonths?: number;
        readonly RetentionAmount?: number;
        readonly AdvancedRetentionPolicy?: AdvancedRetention;
        readonly IsPermanent?: boolean;
        readonly PolicyId: string;
        readonly TimeZone?: string;
        readonly Group?: boolean;
        readonly SkipUnchanged?: boolean;
      };
      answer: Record<never, never>;
    };
    SetQuiesceProfile: {
      changes: true;
      parameters: {
        readonly ResourceId: string;
        readonly Steps: readonly QuiesceStep[];
        readonly Mode?: string;
        readonly FreezeSecondsMax?: number;
        readonly ProveEveryH?: number;
      };
      answer: Record<never, never>;
    };
  };
  tag: {
    CreateTag: {
      changes: true;
      parameters: {
        readonly TagKey: string;
        readonly TagValue: string;
      };
      answer: Record<never, never>;
    };
    DeleteTag: {
      changes: true;
      parameters: {
        readonly TagKey: string;
        readonly TagValue: string;
      };
      answer: Record<never, never>;
    };
    DescribeResourceTagsByResourceIds: {
      changes: false;
      parameters: {
        readonly ServiceType: string;
        readonly ResourcePrefix: string;
        readonly ResourceIds: readonly string[];
        readonly ResourceRegion: string;
        readonly Offset?: number;
        readonly Limit?: number;
        readonly Category?: string;
      };
      answer: {
        readonly TotalCount: number;
        readonly Offset: number;
        readonly Limit: number;
        readonly Tags: readonly TagResource[];
      };
    };
    DescribeTagKeys: {
      changes: false;
      parameters: {
        readonly CreateUin?: number;
        readonly Offset?: number;
        readonly Limit?: number;
        readonly ShowProject?: number;
        readonly Category?: string;
      };
      answer: {
        readonly TotalCount: number;
        readonly Offset: number;
        readonly Limit: number;
        readonly Tags: readonly string[];
      };
    };
    DescribeTagValues: {
      changes: false;
      parameters: {
        readonly TagKeys: readonly string[];
        readonly CreateUin?: number;
        readonly Offset?: number;
        readonly Limit?: number;
        readonly Category?: string;
      };
      answer: {
        readonly TotalCount: number;
        readonly Offset: number;
        readonly Limit: number;
        readonly Tags: readonly KeyedTag[];
      };
    };
    GetResources: {
      changes: false;
      parameters: {
        readonly ResourceList?: readonly string[];
        readonly TagFilters?: readonly TagFilter[];
        readonly PaginationToken?: string;
        readonly MaxResults?: number;
      };
      answer: {
        readonly PaginationToken: string;
        readonly ResourceTagMappingList: readonly ResourceTagMapping[];
      };
    };
    GetTags: {
      changes: false;
      parameters: {
        readonly PaginationToken?: string;
        readonly MaxResults?: number;
        readonly TagKeys?: readonly string[];
        readonly Category?: string;
      };
      answer: {
        readonly PaginationToken: string;
        readonly Tags: readonly KeyedTag[];
      };
    };
    ModifyResourceTags: {
      changes: true;
      parameters: {
        readonly Resource: string;
        readonly ReplaceTags?: readonly TagPair[];
        readonly DeleteTags?: readonly TagKeyObject[];
      };
      answer: Record<never, never>;
    };
    TagResources: {
      changes: true;
      parameters: {
        readonly ResourceList: readonly string[];
        readonly Tags: readonly TagPair[];
      };
      answer: {
        readonly FailedResources: readonly FailedResource[];
      };
    };
    UnTagResources: {
      changes: true;
      parameters: {
        readonly ResourceList: readonly string[];
        readonly TagKeys: readonly string[];
      };
      answer: {
        readonly FailedResources: readonly FailedResource[];
      };
    };
  };
  cvm: {
    DescribeInstances: {
      changes: false;
      parameters: {
        readonly Offset?: number;
        readonly Limit?: number;
        readonly InstanceIds?: readonly string[];
        readonly Filters?: readonly Filter[];
      };
      answer: {
        readonly TotalCount: number;
        readonly InstanceSet: readonly CvmInstance[];
      };
    };
    DescribeInstancesStatus: {
      changes: false;
      parameters: {
        readonly Offset?: number;
        readonly Limit?: number;
        readonly InstanceIds?: readonly string[];
      };
      answer: {
        readonly TotalCount: number;
        readonly InstanceStatusSet: readonly InstanceStatus[];
      };
    };
    DescribeRegions: {
      changes: false;
      parameters: Record<never, never>;
      answer: {
        readonly TotalCount: number;
        readonly RegionSet: readonly RegionInfo[];
      };
    };
    DescribeZones: {
      changes: false;
      parameters: Record<never, never>;
      answer: {
        readonly TotalCount: number;
        readonly ZoneSet: readonly ZoneInfo[];
      };
    };
  };
  sts: {
    GetCallerIdentity: {
      changes: false;
      parameters: Record<never, never>;
      answer: {
        readonly Arn: string;
        readonly AccountId: string;
        readonly UserId: string;
        readonly PrincipalId: string;
        readonly Type: string;
      };
    };
  };
};

/** What a disk of a type may do per second: a base, what each GiB of its size adds, and the most. */

export const DISK_TYPES: Readonly<Record<string, Readonly<Record<"iops" | "mib_per_s", readonly [number, number, number]>>>> = {
  CLOUD_BASIC: { iops: [1000, 0, 1000], mib_per_s: [100, 0, 100] },
  CLOUD_PREMIUM: { iops: [1800, 8, 6000], mib_per_s: [100, 0.15, 150] },
  CLOUD_BSSD: { iops: [1800, 15, 10000], mib_per_s: [100, 0.15, 190] },
  CLOUD_SSD: { iops: [1800, 30, 26000], mib_per_s: [120, 0.2, 260] },
  CLOUD_HSSD: { iops: [1800, 50, 50000], mib_per_s: [120, 0.5, 350] },
  CLOUD_TSSD: { iops: [4000, 100, 50000], mib_per_s: [120, 0.5, 350] },
};
