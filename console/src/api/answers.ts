// What this console reads of the answers. The end-to-end test holds these shapes against the real service.
import type { Services, Tag } from "./types";

export type DiskState =
  | "UNATTACHED" | "ATTACHING" | "ATTACHED" | "DETACHING" | "EXPANDING" | "ROLLBACKING" | "TORECYCLE" | "DUMPING";
export type SnapshotState = "CREATING" | "NORMAL" | "ROLLBACKING";

export type Disk = {
  readonly DiskId: string;
  readonly DiskName: string;
  readonly DiskState: DiskState;
  /** GiB. */
  readonly DiskSize: number;
  readonly DiskType: string;
  readonly DiskUsage: string;
  readonly DiskChargeType: string;
  readonly Placement: { readonly Zone: string };
  readonly Portable: boolean;
  readonly InstanceId: string;
  readonly SnapshotCount: number;
  /** MiB, of all its snapshots. */
  readonly SnapshotSize: number;
  readonly RollbackPercent: number;
  readonly Tags: readonly Tag[];
  readonly DeleteSnapshot: number;
  readonly CreateTime: string;
  readonly ErrorPrompt: string;
};

export type DiskDetail = {
  readonly DiskId: string;
  readonly NbdUri: string | null;
  readonly Device: string | null;
  readonly Tracking: string;
  readonly TrackingReason: string;
  readonly BaseSnapshotId: string | null;
  readonly SourceSnapshotId: string | null;
  readonly Hydrating: boolean;
  readonly HydrationPercent: number;
  readonly NeedsRewrite: boolean;
};

export type Snapshot = {
  readonly SnapshotId: string;
  readonly SnapshotName: string;
  readonly SnapshotState: SnapshotState;
  readonly Percent: number;
  readonly DiskId: string;
  /** GiB, of the disk at the instant. */
  readonly DiskSize: number;
  readonly DiskUsage: string;
  readonly IsPermanent: boolean;
  readonly DeadlineTime: string;
  readonly CreateTime: string;
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
  readonly QuiesceMs: number | null;
  readonly Transcript: readonly string[];
  readonly TakenAt: string | null;
  readonly Suspect: boolean;
  readonly AuditedBlocks: number | null;
  readonly AuditComplete: boolean | null;
  readonly AuditLies: number | null;
  readonly Damaged: boolean;
  /** The newest proof that it opens; null: nobody tried. */
  readonly Opening: Opening | null;
};

export type Finding = "opens" | "damaged" | "not proven";
export type OpeningStep = { readonly Title: string; readonly Finding: Finding; readonly Seconds: number; readonly Detail: string };
export type Opening = {
  readonly Finding: Finding;
  readonly Reason: string;
  readonly Steps: readonly OpeningStep[];
  readonly BeginTime: string;
  readonly EndTime: string;
};

export type SnapshotGroup = {
  readonly SnapshotGroupId: string;
  readonly SnapshotGroupName: string;
  readonly SnapshotGroupState: SnapshotState;
  readonly Percent: number;
  readonly SnapshotIdSet: readonly string[];
  readonly IsPermanent: boolean;
  /** The earliest of its members. */
  readonly DeadlineTime: string | null;
  readonly CreateTime: string;
};

export type SnapshotGroupRecord = {
  readonly SnapshotGroupId: string;
  readonly InstanceId: string;
  /** How long all of its disks stood still at once. */
  readonly PauseMs: number | null;
  readonly TakenAt: string | null;
  readonly MemberSet: readonly { readonly SnapshotId: string; readonly DiskId: string }[];
  readonly Tags: readonly Tag[];
};

export type OperationState = "RUNNING" | "DONE" | "FAILED";
export type Operation = {
  readonly OperationId: string;
  readonly Kind: string;
  readonly DiskId: string | null;
  readonly SnapshotId: string | null;
  readonly InstanceId: string | null;
  readonly State: OperationState;
  readonly Phase: string;
  readonly Percent: number;
  readonly Attempts: number;
  readonly ErrorCode: string;
  readonly ErrorMessage: string;
  /** What it found out; its shape is told by its kind. */
  readonly Result?: unknown;
  readonly CreateTime: string;
  readonly UpdateTime: string;
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

export type DiskConfig = {
  readonly Available: boolean;
  readonly DiskChargeType: string;
  readonly DiskType: string;
  readonly DiskUsage: string;
  readonly MinDiskSize: number;
  readonly MaxDiskSize: number;
  readonly StepSize: number;
};

export type Attention = { readonly Kind: string; readonly ResourceId: string | null; readonly Message: string };

export type Overview = {
  readonly Disks: number;
  readonly DisksBytes: number;
  readonly SnapshotsCount: number;
  readonly LogicalBytes: number;
  readonly StoredBytes: number;
  readonly SavedByIncrementsBytes: number;
  readonly SavedByCompressionBytes: number;
  /** Null for who is no administrator. */
  readonly StoreBytesFree: number | null;
  readonly RecentOperations: readonly Operation[];
  readonly Attention: readonly Attention[];
};

export type HistoryPoint = {
  readonly At: string;
  readonly Disks: number;
  readonly Snapshots: number;
  readonly StoredBytes: number;
  readonly LogicalBytes: number;
};

export type Difference = {
  readonly SizeBytes: number;
  readonly BucketBytes: number;
  /** Changed bytes of each bucket. */
  readonly Buckets: readonly number[];
};

export type SpaceOfSet = {
  readonly SnapshotSpaceSet: readonly {
    readonly SnapshotId: string;
    readonly UniqueBytes: number;
    readonly SharedBytes: number;
  }[];
  readonly DeadBytes: number;
  readonly ReclaimableBytes: number;
};

export type Key = { readonly SecretId: string; readonly Enabled: boolean; readonly CreateTime: string; readonly MadeBy: string | null };

export type QuiesceStepRecord = {
  readonly Kind: string;
  readonly SecondsMax: number;
  readonly Mount: string | null;
  readonly Freeze: readonly string[];
  readonly Thaw: readonly string[];
  readonly OptionFile: string | null;
  readonly Connection: string | null;
  readonly Socket: string | null;
  readonly Domain: string | null;
};

export type QuiesceProfile = {
  /** A disk, or an instance: for its disks that have none of their own. */
  readonly ResourceId: string;
  readonly Mode: string;
  readonly FreezeSecondsMax: number;
  readonly Steps: readonly QuiesceStepRecord[];
  /** Null: only when somebody asks. */
  readonly ProveEveryH: number | null;
};

export type Account = { readonly AccountId: string; readonly AccountName: string; readonly Admin: boolean; readonly CreateTime: string };

export type StoreSpace = {
  readonly StoredBytes: number;
  readonly PackCount: number;
  readonly LiveBytes: number;
  readonly DeadBytes: number;
  readonly ReclaimableBytes: number;
  readonly WaitingBytes: number;
  /** Percent of a pack that must be dead before it is written again. */
  readonly Threshold: number;
  /** Why nothing expires and nothing is collected until an administrator confirms; "" normally. */
  readonly Held: string;
};

export type StoreHealth = {
  readonly PackCount: number;
  readonly PacksDue: number;
  readonly OldestProofTime: string | null;
  readonly SnapshotCount: number;
  readonly SnapshotsDue: number;
  readonly RequestedAt: string | null;
  readonly DamagedSnapshotCount: number;
  readonly SuspectSnapshotCount: number;
};

export type Quotas = {
  /** 0: no limit, as of all that follow. */
  readonly DisksMax: number;
  readonly DisksCount: number;
  readonly DiskGibMax: number;
  readonly DiskGib: number;
  readonly SnapshotsPerDiskMax: number;
  readonly SnapshotsMax: number;
  readonly SnapshotsCount: number;
  /** 0: no limit. */
  readonly SnapshotBytesMax: number;
  readonly SnapshotBytes: number;
  readonly DisksPerInstanceMax: number;
  readonly DisksPerCallMax: number;
};

export type Host = {
  readonly Version: string;
  readonly QemuVersion: string;
  readonly DataDirectory: string;
  readonly Region: string;
  readonly Zone: string;
  readonly StoreId: string;
  readonly FreeBytes: number;
  readonly FloorBytes: number;
  readonly StoredBytes: number;
  readonly DiskCount: number;
  readonly SnapshotCount: number;
};

type Total = { readonly TotalCount: number };

/** What each action that this console reads answers; others answer nothing that it needs. */
type Answers = {
  cbs: {
    CreateDisks: { readonly DiskIdSet: readonly string[] };
    CreateSnapshot: { readonly SnapshotId: string };
    CreateSnapshotGroup: { readonly SnapshotGroupId: string };
    DescribeDisks: Total & { readonly DiskSet: readonly Disk[] };
    DescribeSnapshotGroups: Total & { readonly SnapshotGroupSet: readonly SnapshotGroup[] };
    DescribeSnapshots: Total & { readonly SnapshotSet: readonly Snapshot[] };
    DescribeDiskConfigQuota: { readonly DiskConfigSet: readonly DiskConfig[] };
  };
  drystone: {
    AuditDisk: { readonly SnapshotId: string };
    CollectGarbage: { readonly OperationId: string | null; readonly PackCount: number };
    CreateAccount: { readonly AccountId: string; readonly SecretId: string; readonly SecretKey: string };
    CreateInstance: { readonly InstanceId: string };
    CreateKey: { readonly SecretId: string; readonly SecretKey: string };
    DescribeAccounts: Total & { readonly AccountSet: readonly Account[] };
    DescribeDiskDetails: Total & { readonly DiskDetailSet: readonly DiskDetail[] };
    DescribeHistory: { readonly Points: readonly HistoryPoint[] };
    DescribeHost: Host;
    DescribeInstances: Total & { readonly InstanceSet: readonly Instance[] };
    DescribeKeys: { readonly KeySet: readonly Key[] };
    DescribeOperations: Total & { readonly OperationSet: readonly Operation[] };
    DescribeOverview: Overview;
    DescribeQuiesceProfiles: Total & { readonly QuiesceProfileSet: readonly QuiesceProfile[] };
    DescribeQuotas: Quotas;
    DescribeSnapshotDifference: Difference;
    DescribeSnapshotGroupRecords: Total & { readonly SnapshotGroupRecordSet: readonly SnapshotGroupRecord[] };
    DescribeSnapshotRecords: Total & { readonly SnapshotRecordSet: readonly SnapshotRecord[] };
    DescribeSnapshotSpace: SpaceOfSet;
    DescribeStore: StoreSpace;
    DescribeStoreHealth: StoreHealth;
    ImportDisk: { readonly DiskId: string; readonly OperationId: string };
    ProveSnapshot: { readonly OperationId: string };
    SetAccountPassword: { readonly Password: string | null };
  };
};

export type ServiceName = keyof Services;
export type ActionName<S extends ServiceName> = keyof Services[S] & string;
export type ParametersOf<S extends ServiceName, A extends ActionName<S>> = Services[S][A] extends {
  parameters: infer P;
}
  ? P
  : never;
export type AnswerOf<S extends ServiceName, A extends ActionName<S>> = A extends keyof Answers[S]
  ? Answers[S][A]
  : Record<never, never>;
