// Made-up disks and snapshots, typed by the API.
import type {
  Disk, DiskDetail, Event, Instance, Operation, QuiesceProfile, QuiesceStepRecord, Snapshot, SnapshotGroup, SnapshotGroupRecord, SnapshotRecord,
} from "../src/api/types";

export const DAY_MS = 86_400_000;
const MIB = 2 ** 20;
export const GIB = 2 ** 30;

export const iso = (ms: number) => new Date(ms).toISOString().replace(/\.\d+Z$/, "+00:00");
const cbsTime = (ms: number) => new Date(ms + 8 * 3_600_000).toISOString().slice(0, 19).replace("T", " ");
export const idOf = (prefix: string, index: number) => `${prefix}-${(index + 36 ** 7 * 10).toString(36).slice(-8)}`;

/** Numbers that look random and are the same every time. */
export function noise(seed: number): number {
  const value = Math.sin(seed * 12.9898) * 43_758.5453;
  return value - Math.floor(value);
}

// What every answer has, and these pages do not show.
const placement = (Zone: string) => ({ Zone, ProjectId: 0, ProjectName: "", CageId: "", CdcId: "", CdcName: "", DedicatedClusterId: "" });
const UNSHOWN_OF_DISK = {
  Shareable: false, Attached: false, InstanceIdList: [], InstanceType: "", LastAttachInsId: null, AttachMode: "PF", DeleteWithInstance: false,
  SnapshotAbility: true, AutoSnapshotPolicyIds: null, Rollbacking: false, Migrating: false, MigratePercent: 100, Encrypt: false, EncryptType: "", KmsKeyId: "",
  ThroughputPerformance: 0, BurstPerformance: false, BackupDisk: false, DiskBackupQuota: 0, DiskBackupCount: 0, RenewFlag: "",
  AutoRenewFlagError: false, DeadlineTime: "", DeadlineError: false, DifferDaysOfDeadline: null, IsReturnable: false, ReturnFailCode: 10,
} as const;
const UNSHOWN_OF_SNAPSHOT = {
  SnapshotType: "PRIVATE_SNAPSHOT", SnapshotMode: "STANDARD_SNAPSHOT", Placement: placement("ap-local-1"), LatestModifyTime: "", IsLocked: false,
  Encrypt: false, CopyFromRemote: false, CopyingToRegions: [], ShareReference: 0, TimeStartShare: "", Images: [], ImageCount: 0, AutoSnapshotPolicyId: "",
} as const;
const UNSHOWN_OF_GROUP = {
  SnapshotGroupType: "NORMAL", ContainRootSnapshot: false, AutoSnapshotPolicyId: null, ModifyTime: "", Images: [], ImageCount: 0,
} as const;
export const FREE = {
  OriginalPrice: null, OriginalPriceHigh: null, DiscountPrice: null, DiscountPriceHigh: null, UnitPrice: 0, UnitPriceHigh: "0", UnitPriceDiscount: 0,
  UnitPriceDiscountHigh: "0", ChargeUnit: "HOUR",
} as const;

export const step = (Kind: QuiesceStepRecord["Kind"], more: Partial<QuiesceStepRecord> = {}): QuiesceStepRecord => ({
  SecondsMax: 5, Mount: null, Freeze: [], Thaw: [], OptionFile: null, Connection: null, Socket: null, Domain: null, ...more, Kind,
});

/** Disks and all that belongs to them; the same every time for the same time and number of snapshots. */
export class World {
  readonly disks: Disk[] = [];
  readonly details = new Map<string, DiskDetail>();
  snapshots: Snapshot[] = [];
  readonly records = new Map<string, SnapshotRecord>();
  operations: Operation[] = [];
  groups: SnapshotGroup[] = [];
  readonly groupRecords = new Map<string, SnapshotGroupRecord>();
  profiles: QuiesceProfile[] = [];
  readonly instances: Instance[];
  events: Event[] = [];

  constructor(
    readonly now: number,
    readonly snapshotCount: number,
  ) {
    const zone = "ap-local-1";
    this.instances = [
      { InstanceId: "ins-host0001", InstanceName: "host", Kind: "HOST", Zone: zone, AttachedDiskCount: 2, MaxAttachCount: 20, CreateTime: iso(now - 90 * DAY_MS) },
      { InstanceId: "ins-nbdvm001", InstanceName: "nbd", Kind: "NBD", Zone: zone, AttachedDiskCount: 1, MaxAttachCount: 20, CreateTime: iso(now - 90 * DAY_MS) },
    ];
    const names = ["mysql-data", "postgres-main", "web-assets", "git-repositories", "未命名", "build-cache", "mail", "archive-2025"];
    const states = ["ATTACHED", "ATTACHED", "ATTACHED", "UNATTACHED", "UNATTACHED", "ROLLBACKING", "UNATTACHED", "EXPANDING"] as const;
    const types = ["CLOUD_SSD", "CLOUD_HSSD", "CLOUD_PREMIUM"];
    names.forEach((name, index) => {
      const id = idOf("disk", index * 77_777 + 4_242_424);
      const state = states[index] ?? "UNATTACHED";
      const attached = state === "ATTACHED";
      const instance = attached ? (index === 2 ? "ins-nbdvm001" : "ins-host0001") : "";
      this.disks.push({
        ...UNSHOWN_OF_DISK, DiskId: id, DiskName: name, DiskState: state, DiskSize: [200, 500, 50, 100, 20, 80, 40, 2048][index] ?? 20,
        DiskType: types[index % 3] ?? "CLOUD_SSD", DiskUsage: "DATA_DISK", DiskChargeType: "POSTPAID_BY_HOUR",
        Placement: placement(zone), Portable: true, InstanceId: instance, SnapshotCount: [14, 9, 3, 6, 0, 2, 1, 1][index] ?? 0,
        SnapshotSize: [38_200, 51_000, 2_900, 8_400, 0, 5_100, 800, 912_000][index] ?? 0, RollbackPercent: index === 5 ? 42 : 100,
        Tags: index < 2 ? [{ Key: "team", Value: "data" }, { Key: "env", Value: "production" }] : [], DeleteSnapshot: 0,
        CreateTime: cbsTime(now - (80 - index * 9) * DAY_MS), ErrorPrompt: "",
      });
      this.details.set(id, {
        DiskId: id, NbdUri: index === 2 ? `nbd+unix:///${id}?socket=/var/lib/drystone/run/ins-nbdvm001/nbd.sock` : null,
        Device: attached && index !== 2 ? `/dev/disk/by-id/virtio-${id}` : null, Tracking: attached ? "LIVE" : "STOPPED",
        TrackingReason: "", Epoch: 1, Daemon: null, BaseSnapshotId: null, SourceSnapshotId: null, NeedsRewrite: index === 6, Hydrating: index === 6, HydrationPercent: index === 6 ? 63 : 100,
        CreateTime: iso(now - (80 - index * 9) * DAY_MS),
      });
    });
    for (let index = 0; index < snapshotCount; index += 1) this.addSnapshot(index);
    for (let index = 0; index < Math.min(5, Math.floor(snapshotCount / 10)); index += 1) this.addGroup(index);
    this.profiles = [
      {
        ResourceId: this.disks[0]?.DiskId ?? "", Mode: "require", FreezeSecondsMax: 10, ModifyTime: iso(now), ProveEveryH: 24,
        Steps: [step("mariadb", { OptionFile: "/etc/drystone/mariadb.cnf" }), step("filesystem", { Mount: "/srv/mysql" })],
      },
      { ResourceId: "ins-host0001", Mode: "prefer", FreezeSecondsMax: 5, ModifyTime: iso(now), ProveEveryH: null, Steps: [step("filesystem", { Mount: "/srv/postgres" })] },
    ];
    const kinds = ["snapshot", "delete_snapshot", "attach", "hydrate", "prove", "create_disk", "snapshot_group", "resize"] as const;
    for (let index = 0; index < 40; index += 1) {
      const running = index === 0;
      const failed = index === 7;
      this.operations.push({
        Result: null, Cancellable: running, Retriable: failed, OperationId: idOf("op", index * 31_337), Kind: kinds[index % kinds.length] ?? "snapshot",
        DiskId: this.disks[index % 8]?.DiskId ?? null, SnapshotId: index % 8 < 2 ? (this.snapshots[index]?.SnapshotId ?? null) : null, InstanceId: null,
        State: running ? "RUNNING" : failed ? "FAILED" : "DONE", Phase: running ? "FROZEN" : "", Percent: running ? 37 + index : 100, Attempts: 1,
        ErrorCode: failed ? "ResourceInsufficient" : "",
        ErrorMessage: failed ? "The scratch space for disk writes during the snapshot was used up; free some space and try again." : "",
        ToSendBytes: null,
        SentBytes: null,
        CreateTime: iso(now - index * 2_400_000 - 40_000), UpdateTime: iso(now - index * 2_400_000 - 40_000 + Math.floor(noise(index) * 90_000)),
      });
    }
    this.addEvents();
  }

  /** One of many kinds: some over, some acknowledged; none where there is no snapshot. */
  private addEvents(): void {
    if (this.snapshotCount === 0) return;
    const kinds: readonly (readonly [Event["Kind"], string, Partial<Event["Facts"]>, number])[] = [
      ["snapshot_damaged", this.snapshots[17]?.SnapshotId ?? "", {}, 1],
      ["consistency_reduced", this.disks[1]?.DiskId ?? "", { Asked: "filesystem", Given: "crash", Reason: "freeze filesystem /srv/postgres failed, 3.1 ms: it is not mounted" }, 4],
      ["store_unreachable", "5f2c9f3b9a7e4f0c8d1e2a3b4c5d6e7f", { Reason: "the bucket backups does not answer (owner): connection timed out" }, 1],
      ["operation_failed", this.disks[7]?.DiskId ?? "", { OperationKind: "resize", OperationId: this.operations[7]?.OperationId ?? "", Reason: "There is not enough free space." }, 1],
      ["snapshot_failed", this.disks[2]?.DiskId ?? "", { Reason: "the scratch space of snapshots is used up" }, 2],
      ["damage_mended", "a91f0c", { Object: "packs/a91f0c", Blocks: 3 }, 1],
      ["space_low", "data", { FreeBytes: 700 * MIB }, 1],
      ["daemon_died", "ins-host0001", { Disks: 2 }, 1],
      ["clock_doubted", "", { Seconds: 31_536_000 }, 1],
      ["proof_failed", this.disks[0]?.DiskId ?? "", { Given: "not proven", Reason: "mariadb: mariadbd is not installed on this host", SnapshotId: this.snapshots[1]?.SnapshotId ?? "" }, 1],
    ];
    const warnings = new Set(["consistency_reduced", "damage_mended", "space_low", "daemon_died", "clock_doubted"]);
    this.events = kinds.map(([Kind, SubjectId, facts, Count], index) => ({
      EventId: idOf("evt", index * 51_137 + 3), Kind, SubjectId, Count, Severity: warnings.has(Kind) ? "warning" : "error",
      OfInstallation: index > 4, Message: `${Kind}.`,
      Facts: {
        Reason: "", DiskId: null, SnapshotId: null, OperationId: null, OperationKind: null, Asked: null, Given: null, Object: null, Blocks: null,
        Snapshots: null, Disks: null, FreeBytes: null, Seconds: null, At: null, ...facts,
      },
      FirstSeenTime: iso(this.now - (index * 5 + Count) * 3_600_000), LastSeenTime: iso(this.now - index * 5 * 3_600_000),
      ResolvedTime: index > 6 ? iso(this.now - index * 4 * 3_600_000) : null,
      AcknowledgedTime: index === 3 || index > 7 ? iso(this.now - index * 3_600_000) : null, AcknowledgedBy: index === 3 || index > 7 ? "100000000001" : "",
    }));
  }

  /** Both disks of the host, at one instant. */
  private addGroup(index: number): void {
    const id = idOf("csnap", index * 41_113 + 9);
    const at = this.now - index * 2.1 * DAY_MS - 7_200_000;
    const members = this.snapshots.slice(3 + index * 3, 6 + index * 3).filter((one, place, all) => all.findIndex((other) => other.DiskId === one.DiskId) === place);
    this.groups.push({
      ...UNSHOWN_OF_GROUP, SnapshotGroupId: id, SnapshotGroupName: index === 3 ? "未命名" : `before-upgrade-${index + 1}`, SnapshotGroupState: index === 0 ? "CREATING" : "NORMAL",
      Percent: index === 0 ? 71 : 100, SnapshotIdSet: members.map((one) => one.SnapshotId), IsPermanent: index % 2 === 0,
      DeadlineTime: index % 2 === 0 ? null : iso(this.now + 20 * DAY_MS), CreateTime: iso(at),
    });
    for (const one of members) {
      const record = this.records.get(one.SnapshotId);
      if (record) this.records.set(one.SnapshotId, { ...record, SnapshotGroupId: id });
    }
    this.groupRecords.set(id, {
      SnapshotGroupId: id, InstanceId: "ins-host0001", PauseMs: 6.4 + index, TakenAt: iso(at),
      MemberSet: members.map(({ SnapshotId, DiskId }) => ({ SnapshotId, DiskId })), Tags: index === 1 ? [{ Key: "release", Value: "8.2" }] : [],
    });
  }

  private addSnapshot(index: number): void {
    const disk = this.disks[index % 3 === 0 ? 0 : index % 5];
    if (disk === undefined) return;
    const id = idOf("snap", index * 7_919 + 17);
    const at = this.now - index * 0.31 * DAY_MS - 3_000_000;
    const first = index >= this.snapshotCount - 3;
    const creating = index === 0;
    const changed = first ? 21 * GIB : Math.floor(noise(index) ** 4 * 3 * GIB) + 3 * MIB;
    this.snapshots.push({
      ...UNSHOWN_OF_SNAPSHOT, SnapshotId: id, SnapshotName: index % 4 === 3 ? "未命名" : `${disk.DiskName === "未命名" ? "disk" : disk.DiskName}-${iso(at).slice(0, 10)}`,
      SnapshotState: creating ? "CREATING" : "NORMAL", Percent: creating ? 64 : 100, DiskId: disk.DiskId, DiskSize: disk.DiskSize,
      DiskUsage: "DATA_DISK", IsPermanent: index % 3 !== 1, DeadlineTime: index % 3 === 1 ? cbsTime(this.now + (index + 3) * DAY_MS) : "",
      CreateTime: cbsTime(at), Tags: index % 6 === 0 ? [{ Key: "kind", Value: "daily" }] : [],
    });
    this.records.set(id, {
      SnapshotId: id, SnapshotGroupId: null, ParentSnapshotId: first ? null : idOf("snap", (index + 1) * 7_919 + 17),
      Tracking: creating ? null : first ? "full" : index % 11 === 7 ? "rescan" : "delta", TrackingReason: "changes were tracked since the parent",
      ReadBytes: changed + 12 * MIB, ChangedBytes: changed, StoredBytes: creating ? null : Math.floor(changed * 0.61), Requests: 9 + (index % 20),
      FreezeMs: 3.1 + noise(index) * 9, DurationMs: 900 + changed / 200_000, Consistency: index % 4 === 0 ? "application" : "crash",
      ConsistencyAsked: index === 2 ? "filesystem" : index % 4 === 0 ? "application" : null,
      QuiesceMs: index % 4 === 0 || index === 2 ? 41.5 : null,
      Transcript: index === 2
        ? ["freeze filesystem /srv/web failed, 3.1 ms: it is not mounted", "held for 41.5 ms"]
        : index % 4 === 0 ? ["freeze mariadb /etc/drystone/mariadb.cnf ok, 12.0 ms", "held for 41.5 ms", "thaw mariadb /etc/drystone/mariadb.cnf ok, 1.0 ms"] : [],
      CreateTime: iso(at), ModifyTime: iso(at), DeadlineTime: null, TakenAt: iso(at), Suspect: false, AuditedBlocks: 16_384, AuditComplete: false, AuditLies: 0, Damaged: index === 17,
      Opening: index % 6 !== 1 ? null : {
        Finding: index % 5 === 0 ? "not proven" : "opens", Reason: index % 5 === 0 ? "mariadb: mariadbd is not installed on this host" : "",
        Steps: [
          { Title: "whole disk: ext4", Finding: "opens", Seconds: 1.84, Detail: "journal replayed, e2fsck -fn found nothing" },
          index % 5 === 0
            ? { Title: "mariadb", Finding: "not proven", Seconds: 0.01, Detail: "mariadbd is not installed on this host" }
            : { Title: "mariadb /mysql", Finding: "opens", Seconds: 12.7, Detail: "recovered from its own log; 214 tables are good" },
        ],
        BeginTime: iso(at + 600_000), EndTime: iso(at + 615_000),
      },
    });
  }
}
