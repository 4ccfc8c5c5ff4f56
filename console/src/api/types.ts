// Generated from api.json by `npm run generate`; a test fails if it drifts.

export type ApplyDisk = {
  readonly SnapshotId: string;
  readonly DiskId: string;
};

export type AutoMountConfiguration = {
  readonly InstanceId: readonly string[];
  readonly MountPoint?: readonly string[];
  readonly FileSystemType?: string;
};

export type DiskChargePrepaid = {
  readonly Period: number;
  readonly RenewFlag?: string;
  readonly CurInstanceDeadline?: string;
};

export type Filter = {
  readonly Name: string;
  readonly Values: readonly string[];
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

export type QuiesceStep = {
  readonly Kind: string;
  readonly SecondsMax?: number;
  readonly Mount?: string;
  readonly Freeze?: readonly string[];
  readonly Thaw?: readonly string[];
  readonly OptionFile?: string;
  readonly Connection?: string;
};

export type Tag = {
  readonly Key: string;
  readonly Value: string;
};

/** Each action of each service, and what it takes. */

export type Services = {
  cbs: {
    ApplySnapshot: { changes: true; parameters: {
      readonly SnapshotId: string;
      readonly DiskId: string;
      readonly AutoStopInstance?: boolean;
      readonly AutoStartInstance?: boolean;
    } };
    ApplySnapshotGroup: { changes: true; parameters: {
      readonly SnapshotGroupId: string;
      readonly ApplyDisks: readonly ApplyDisk[];
      readonly AutoStopInstance?: boolean;
      readonly AutoStartInstance?: boolean;
    } };
    AttachDisks: { changes: true; parameters: {
      readonly InstanceId: string;
      readonly DiskIds: readonly string[];
      readonly DeleteWithInstance?: boolean;
      readonly AttachMode?: string;
      readonly InstanceType?: string;
    } };
    CreateDisks: { changes: true; parameters: {
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
    } };
    CreateSnapshot: { changes: true; parameters: {
      readonly DiskId?: string;
      readonly SnapshotName?: string;
      readonly Deadline?: string;
      readonly DiskBackupId?: string;
      readonly Tags?: readonly Tag[];
      readonly LocalSnap?: boolean;
      readonly DiskUsage?: string;
    } };
    CreateSnapshotGroup: { changes: true; parameters: {
      readonly DiskIds: readonly string[];
      readonly SnapshotGroupName?: string;
      readonly Tags?: readonly Tag[];
    } };
    DeleteSnapshotGroup: { changes: true; parameters: {
      readonly SnapshotGroupId?: string;
      readonly SnapshotGroupIds?: readonly string[];
      readonly DeleteBindImages?: boolean;
    } };
    DeleteSnapshots: { changes: true; parameters: {
      readonly SnapshotIds: readonly string[];
      readonly DeleteBindImages?: boolean;
    } };
    DescribeDiskConfigQuota: { changes: false; parameters: {
      readonly InquiryType: string;
      readonly DiskChargeType?: string;
      readonly InstanceFamilies?: readonly string[];
      readonly DiskTypes?: readonly string[];
      readonly Zones?: readonly string[];
      readonly Memory?: number;
      readonly DiskUsage?: string;
      readonly CPU?: number;
      readonly DedicatedClusterId?: string;
    } };
    DescribeDisks: { changes: false; parameters: {
      readonly Filters?: readonly Filter[];
      readonly Limit?: number;
      readonly OrderField?: string;
      readonly Offset?: number;
      readonly ReturnBindAutoSnapshotPolicy?: boolean;
      readonly DiskIds?: readonly string[];
      readonly Order?: string;
    } };
    DescribeInstancesDiskNum: { changes: false; parameters: {
      readonly InstanceIds: readonly string[];
    } };
    DescribeSnapshotGroups: { changes: false; parameters: {
      readonly Filters?: readonly Filter[];
      readonly Offset?: number;
      readonly Limit?: number;
    } };
    DescribeSnapshotOverview: { changes: false; parameters: Record<never, never> };
    DescribeSnapshots: { changes: false; parameters: {
      readonly SnapshotIds?: readonly string[];
      readonly Filters?: readonly Filter[];
      readonly Limit?: number;
      readonly OrderField?: string;
      readonly Offset?: number;
      readonly Order?: string;
    } };
    DetachDisks: { changes: true; parameters: {
      readonly DiskIds: readonly string[];
      readonly InstanceId?: string;
      readonly InstanceType?: string;
    } };
    InitializeDisks: { changes: true; parameters: {
      readonly DiskIds: readonly string[];
    } };
    ModifyDiskAttributes: { changes: true; parameters: {
      readonly DiskIds: readonly string[];
      readonly DiskName?: string;
      readonly Portable?: boolean;
      readonly ProjectId?: number;
      readonly DeleteWithInstance?: boolean;
      readonly DiskType?: string;
      readonly BurstPerformanceOperation?: string;
    } };
    ModifySnapshotAttribute: { changes: true; parameters: {
      readonly SnapshotId: string;
      readonly IsPermanent?: boolean;
      readonly SnapshotName?: string;
      readonly Deadline?: string;
    } };
    ResizeDisk: { changes: true; parameters: {
      readonly DiskSize: number;
      readonly DiskId?: string;
    } };
    TerminateDisks: { changes: true; parameters: {
      readonly DiskIds: readonly string[];
      readonly DeleteSnapshot?: number;
    } };
  };
  drystone: {
    AuditDisk: { changes: true; parameters: {
      readonly DiskId: string;
    } };
    CollectGarbage: { changes: true; parameters: {
      readonly DryRun?: boolean;
      readonly Threshold?: number;
    } };
    ConfirmStore: { changes: true; parameters: Record<never, never> };
    CreateAccessKey: { changes: true; parameters: {
      readonly AccountId: string;
    } };
    CreateAccount: { changes: true; parameters: {
      readonly AccountName: string;
    } };
    CreateInstance: { changes: true; parameters: {
      readonly Kind: string;
      readonly InstanceName?: string;
    } };
    CreateKey: { changes: true; parameters: Record<never, never> };
    DeleteAccessKey: { changes: true; parameters: {
      readonly SecretId: string;
    } };
    DeleteInstance: { changes: true; parameters: {
      readonly InstanceId: string;
    } };
    DeleteKey: { changes: true; parameters: {
      readonly SecretId: string;
      readonly Force?: boolean;
    } };
    DeleteQuiesceProfile: { changes: true; parameters: {
      readonly ResourceId: string;
    } };
    DescribeAccessKeys: { changes: false; parameters: {
      readonly AccountId: string;
    } };
    DescribeAccounts: { changes: false; parameters: {
      readonly Offset?: number;
      readonly Limit?: number;
    } };
    DescribeDiskDetails: { changes: false; parameters: {
      readonly Offset?: number;
      readonly Limit?: number;
      readonly DiskIds?: readonly string[];
    } };
    DescribeHistory: { changes: false; parameters: Record<never, never> };
    DescribeHost: { changes: false; parameters: Record<never, never> };
    DescribeInstances: { changes: false; parameters: {
      readonly Offset?: number;
      readonly Limit?: number;
      readonly InstanceIds?: readonly string[];
    } };
    DescribeKeys: { changes: false; parameters: Record<never, never> };
    DescribeOperations: { changes: false; parameters: {
      readonly Offset?: number;
      readonly Limit?: number;
      readonly OperationIds?: readonly string[];
      readonly Filters?: readonly Filter[];
    } };
    DescribeOverview: { changes: false; parameters: Record<never, never> };
    DescribeQuiesceProfiles: { changes: false; parameters: {
      readonly Offset?: number;
      readonly Limit?: number;
    } };
    DescribeQuotas: { changes: false; parameters: Record<never, never> };
    DescribeSnapshotDifference: { changes: false; parameters: {
      readonly From?: string;
      readonly To: string;
    } };
    DescribeSnapshotGroupRecords: { changes: false; parameters: {
      readonly Offset?: number;
      readonly Limit?: number;
      readonly SnapshotGroupIds?: readonly string[];
    } };
    DescribeSnapshotRecords: { changes: false; parameters: {
      readonly Offset?: number;
      readonly Limit?: number;
      readonly SnapshotIds?: readonly string[];
    } };
    DescribeSnapshotSpace: { changes: false; parameters: {
      readonly SnapshotIds: readonly string[];
    } };
    DescribeStore: { changes: false; parameters: Record<never, never> };
    DescribeStoreHealth: { changes: false; parameters: Record<never, never> };
    ExportSnapshot: { changes: true; parameters: {
      readonly SnapshotId: string;
      readonly Path: string;
      readonly Format?: string;
    } };
    ImportDisk: { changes: true; parameters: {
      readonly Path: string;
      readonly Format?: string;
      readonly DiskName?: string;
      readonly DiskType?: string;
      readonly DiskSize?: number;
    } };
    ScrubStore: { changes: true; parameters: Record<never, never> };
    SetQuiesceProfile: { changes: true; parameters: {
      readonly ResourceId: string;
      readonly Steps: readonly QuiesceStep[];
      readonly Mode?: string;
      readonly FreezeSecondsMax?: number;
    } };
  };
};
