// A server with made-up disks and snapshots, typed by the API: for pages that need 10,000 snapshots or a year of history.
import { readFileSync, statSync } from "node:fs";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { extname, join, normalize } from "node:path";

import type { AnswerOf } from "../src/api/answers";
import type { Session } from "../src/api/client";
import type {
  Disk, DiskDetail, Filter, Instance, Operation, QuiesceProfile, QuiesceStepRecord, Snapshot, SnapshotGroup, SnapshotGroupRecord, SnapshotRecord,
} from "../src/api/types";

const BUILT = new URL("../../src/drystone/console_files/", import.meta.url).pathname;
const TYPES: Readonly<Record<string, string>> = {
  ".html": "text/html; charset=utf-8", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml",
};
export const PASSWORD = "correct horse battery staple";
const CSRF = "token-of-the-mock";
const POLICY = "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:";
const DAY_MS = 86_400_000;
const MIB = 2 ** 20;
const GIB = 2 ** 30;

const iso = (ms: number) => new Date(ms).toISOString().replace(/\.\d+Z$/, "+00:00");
const cbsTime = (ms: number) => new Date(ms + 8 * 3_600_000).toISOString().slice(0, 19).replace("T", " ");
const idOf = (prefix: string, index: number) => `${prefix}-${(index + 36 ** 7 * 10).toString(36).slice(-8)}`;

/** Numbers that look random and are the same every time. */
function noise(seed: number): number {
  const value = Math.sin(seed * 12.9898) * 43_758.5453;
  return value - Math.floor(value);
}

// What every answer has, and these pages do not show.
const placement = (Zone: string) => ({ Zone, ProjectId: 0, ProjectName: "", CageId: "", CdcId: "", CdcName: "", DedicatedClusterId: "" });
const UNSHOWN_OF_DISK = {
  Shareable: false, Attached: false, InstanceIdList: [], InstanceType: "", LastAttachInsId: null, AttachMode: "PF", DeleteWithInstance: false,
  SnapshotAbility: true, AutoSnapshotPolicyIds: null, Rollbacking: false, Migrating: false, MigratePercent: 100, Encrypt: false,
  ThroughputPerformance: 0, BurstPerformance: false, BackupDisk: false, DiskBackupQuota: 0, DiskBackupCount: 0, RenewFlag: "",
  AutoRenewFlagError: false, DeadlineTime: "", DeadlineError: false, DifferDaysOfDeadline: null, IsReturnable: false, ReturnFailCode: 10,
} as const;
const UNSHOWN_OF_SNAPSHOT = {
  SnapshotType: "PRIVATE_SNAPSHOT", SnapshotMode: "STANDARD_SNAPSHOT", Placement: placement("ap-local-1"), LatestModifyTime: "", IsLocked: false,
  Encrypt: false, CopyFromRemote: false, CopyingToRegions: [], ShareReference: 0, TimeStartShare: "", Images: [], ImageCount: 0,
} as const;
const UNSHOWN_OF_GROUP = {
  SnapshotGroupType: "NORMAL", ContainRootSnapshot: false, AutoSnapshotPolicyId: null, ModifyTime: "", Images: [], ImageCount: 0,
} as const;
const FREE = {
  OriginalPrice: null, OriginalPriceHigh: null, DiscountPrice: null, DiscountPriceHigh: null, UnitPrice: 0, UnitPriceHigh: "0", UnitPriceDiscount: 0,
  UnitPriceDiscountHigh: "0", ChargeUnit: "HOUR",
} as const;

const step = (Kind: QuiesceStepRecord["Kind"], more: Partial<QuiesceStepRecord> = {}): QuiesceStepRecord => ({
  SecondsMax: 5, Mount: null, Freeze: [], Thaw: [], OptionFile: null, Connection: null, Socket: null, Domain: null, ...more, Kind,
});

export class Mock {
  readonly disks: Disk[] = [];
  readonly details = new Map<string, DiskDetail>();
  snapshots: Snapshot[] = [];
  readonly records = new Map<string, SnapshotRecord>();
  operations: Operation[] = [];
  groups: SnapshotGroup[] = [];
  readonly groupRecords = new Map<string, SnapshotGroupRecord>();
  profiles: QuiesceProfile[] = [];
  /** Changes that were asked for: the action and what was sent. */
  readonly changes: (readonly [string, Record<string, unknown>])[] = [];
  readonly instances: Instance[];
  /** Whether there is a session. */
  loggedIn = false;
  /** Calls of actions, by name. */
  readonly calls = new Map<string, number>();
  private server: Server | null = null;

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
        Result: null, OperationId: idOf("op", index * 31_337), Kind: kinds[index % kinds.length] ?? "snapshot",
        DiskId: this.disks[index % 8]?.DiskId ?? null, SnapshotId: index % 8 < 2 ? (this.snapshots[index]?.SnapshotId ?? null) : null, InstanceId: null,
        State: running ? "RUNNING" : failed ? "FAILED" : "DONE", Phase: running ? "FROZEN" : "", Percent: running ? 37 + index : 100, Attempts: 1,
        ErrorCode: failed ? "ResourceInsufficient" : "",
        ErrorMessage: failed ? "The scratch space for disk writes during the snapshot was used up; free some space and try again." : "",
        CreateTime: iso(now - index * 2_400_000 - 40_000), UpdateTime: iso(now - index * 2_400_000 - 40_000 + Math.floor(noise(index) * 90_000)),
      });
    }
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
      QuiesceMs: index % 4 === 0 ? 41.5 : null, Transcript: index % 4 === 0 ? ["mariadb: flush tables with read lock (12 ms)", "mariadb: unlocked (1 ms)"] : [],
      TakenAt: iso(at), Suspect: false, AuditedBlocks: 16_384, AuditComplete: false, AuditLies: 0, Damaged: index === 17,
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

  async listen(): Promise<string> {
    const server = createServer((request, response) => {
      void this.answer(request, response);
    });
    this.server = server;
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  }

  async close(): Promise<void> {
    const server = this.server;
    this.server = null;
    if (server === null) return;
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  }

  private async answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = new URL(request.url ?? "/", "http://mock");
    if (!url.pathname.startsWith("/console/api/")) {
      this.file(url.pathname, response);
      return;
    }
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const body = JSON.parse(Buffer.concat(chunks).toString() || "{}") as Record<string, unknown>;
    const path = url.pathname.slice("/console/api/".length);
    const send = (status: number, value: unknown) => {
      response.writeHead(status, { "Content-Type": "application/json" });
      response.end(JSON.stringify(value));
    };
    if (path === "login") {
      this.loggedIn = body["Password"] === PASSWORD;
      if (this.loggedIn) send(200, this.session());
      else send(401, { Error: { Code: "AuthFailure.PasswordWrong", Message: "The account or the password is wrong." } });
      return;
    }
    if (!this.loggedIn) {
      send(401, { Error: { Code: "AuthFailure.SessionExpired", Message: "There is no session." } });
      return;
    }
    if (path === "session") send(200, this.session());
    else if (path === "logout") {
      this.loggedIn = false;
      send(200, {});
    } else if (request.headers["x-csrf-token"] !== CSRF) {
      send(403, { Error: { Code: "AuthFailure.CsrfTokenWrong", Message: "The token is wrong." } });
    } else {
      const action = path.split("/")[2] ?? "";
      this.calls.set(action, (this.calls.get(action) ?? 0) + 1);
      if (!action.startsWith("Describe")) this.changes.push([action, body]);
      send(200, { Response: { ...this.run(action, body), RequestId: "0f4c5a52-9d0e-4a5e-8a51-3f3c2d1b0a99" } });
    }
  }

  private file(path: string, response: ServerResponse): void {
    const name = normalize(path.replace(/^\/console\/?/, ""));
    let file = join(BUILT, name);
    let found = !name.startsWith("..") && name !== "." && name !== "";
    try {
      found = found && statSync(file).isFile();
    } catch {
      found = false;
    }
    if (!found) file = join(BUILT, "index.html");
    response.writeHead(200, {
      "Content-Type": TYPES[extname(file)] ?? "application/octet-stream",
      "Content-Security-Policy": POLICY,
      "Cache-Control": found ? "immutable" : "no-store",
    });
    response.end(readFileSync(file));
  }

  private session(): Session {
    return {
      AccountId: "100000000001", Name: "admin", CsrfToken: CSRF, Region: "ap-local", Zones: ["ap-local-1"], Version: "0.1.0", Admin: true, Proofs: true,
      TimeZoneOffsetHours: 8,
    };
  }

  private run(action: string, body: Record<string, unknown>): Record<string, unknown> {
    const offset = Number(body["Offset"] ?? 0);
    const limit = Number(body["Limit"] ?? 20);
    const filters = (body["Filters"] ?? []) as readonly Filter[];
    const value = (name: string) => filters.find((filter) => filter.Name === name)?.Values;
    const ids = (name: string) => body[name] as readonly string[] | undefined;
    const page = <T>(rows: readonly T[]) => ({ TotalCount: rows.length, rows: rows.slice(offset, offset + limit) });
    switch (action) {
      case "DescribeDisks": {
        const found = page(
          this.disks.filter(
            (disk) =>
              (ids("DiskIds")?.includes(disk.DiskId) ?? true) &&
              (value("instance-id")?.includes(disk.InstanceId) ?? true) &&
              (value("disk-id")?.includes(disk.DiskId) ?? true) &&
              (value("disk-state")?.includes(disk.DiskState) ?? true) &&
              (value("disk-name")?.includes(disk.DiskName) ?? true),
          ),
        );
        return { TotalCount: found.TotalCount, DiskSet: found.rows } satisfies AnswerOf<"cbs", "DescribeDisks">;
      }
      case "DescribeDiskDetails": {
        const rows = [...this.details.values()].filter((detail) => ids("DiskIds")?.includes(detail.DiskId) ?? true);
        return { TotalCount: rows.length, DiskDetailSet: rows } satisfies AnswerOf<"drystone", "DescribeDiskDetails">;
      }
      case "DescribeSnapshots": {
        const found = page(
          this.snapshots.filter(
            (snapshot) =>
              (ids("SnapshotIds")?.includes(snapshot.SnapshotId) ?? true) &&
              (value("disk-id")?.includes(snapshot.DiskId) ?? true) &&
              (value("snapshot-id")?.includes(snapshot.SnapshotId) ?? true) &&
              (value("snapshot-name")?.includes(snapshot.SnapshotName) ?? true) &&
              (value("snapshot-state")?.includes(snapshot.SnapshotState) ?? true),
          ),
        );
        return { TotalCount: found.TotalCount, SnapshotSet: found.rows } satisfies AnswerOf<"cbs", "DescribeSnapshots">;
      }
      case "DescribeSnapshotRecords": {
        const rows = (ids("SnapshotIds") ?? []).flatMap((id) => this.records.get(id) ?? []);
        return { TotalCount: rows.length, SnapshotRecordSet: rows } satisfies AnswerOf<"drystone", "DescribeSnapshotRecords">;
      }
      case "DescribeSnapshotSpace": {
        const rows = (ids("SnapshotIds") ?? []).map((id) => {
          const stored = this.records.get(id)?.StoredBytes ?? 0;
          return { SnapshotId: id, UniqueBytes: Math.floor(stored * 0.7), SharedBytes: Math.floor(stored * 5.3) };
        });
        const DeadBytes = rows.reduce((sum, row) => sum + row.UniqueBytes, 0);
        return { SnapshotSpaceSet: rows, DeadBytes, ReclaimableBytes: Math.floor(DeadBytes * 0.9) } satisfies AnswerOf<"drystone", "DescribeSnapshotSpace">;
      }
      case "DescribeSnapshotDifference": {
        const to = this.snapshots.find((one) => one.SnapshotId === body["To"]);
        const SizeBytes = (to?.DiskSize ?? 200) * GIB;
        const BucketBytes = SizeBytes / 1024;
        const shares = Array.from({ length: 1024 }, (_, index) => {
          const hot = (index > 40 && index < 120) || (index > 500 && index < 540) || noise(index) > 0.94;
          return hot ? noise(index * 3) : 0;
        });
        const changed = body["From"] === undefined ? SizeBytes * 0.3 : (this.records.get(to?.SnapshotId ?? "")?.ChangedBytes ?? GIB);
        const whole = shares.reduce((sum, share) => sum + share, 0);
        const Buckets = shares.map((share) => Math.min(BucketBytes, Math.floor((changed * share) / whole / 4096) * 4096));
        return { SizeBytes, ChangedBytes: changed, BucketBytes, Buckets } satisfies AnswerOf<"drystone", "DescribeSnapshotDifference">;
      }
      case "DescribeOperations": {
        const found = page(
          this.operations.filter(
            (operation) =>
              (value("state")?.includes(operation.State) ?? true) &&
              (value("kind")?.includes(operation.Kind) ?? true) &&
              (value("resource-id")?.some((id) => id === operation.DiskId || id === operation.SnapshotId) ?? true),
          ),
        );
        return { TotalCount: found.TotalCount, OperationSet: found.rows } satisfies AnswerOf<"drystone", "DescribeOperations">;
      }
      case "DescribeInstances":
        return { TotalCount: 2, InstanceSet: this.instances } satisfies AnswerOf<"drystone", "DescribeInstances">;
      case "DescribeQuiesceProfiles":
        return { TotalCount: this.profiles.length, QuiesceProfileSet: this.profiles } satisfies AnswerOf<"drystone", "DescribeQuiesceProfiles">;
      case "SetQuiesceProfile": {
        const sent = body as unknown as Omit<QuiesceProfile, "Steps" | "ProveEveryH"> & {
          ProveEveryH?: number; Steps: (Partial<QuiesceStepRecord> & Pick<QuiesceStepRecord, "Kind">)[];
        };
        const wrong = sent.Steps.findIndex((one) => one.Mount?.startsWith("/") === false);
        if (wrong >= 0) {
          const Message = `The profile cannot be used: step ${wrong} (filesystem): \`${sent.Steps[wrong]?.Mount ?? ""}\` is not an absolute path.`;
          return { Error: { Code: "InvalidParameterValue", Message } };
        }
        this.profiles = [
          ...this.profiles.filter((one) => one.ResourceId !== sent.ResourceId),
          { ...sent, ProveEveryH: sent.ProveEveryH ?? null, Steps: sent.Steps.map((one) => step(one.Kind, one)) },
        ];
        return {};
      }
      case "DeleteQuiesceProfile":
        this.profiles = this.profiles.filter((one) => one.ResourceId !== body["ResourceId"]);
        return {};
      case "DescribeSnapshotGroups": {
        const found = page(
          this.groups.filter(
            (group) =>
              (value("snapshot-group-id")?.includes(group.SnapshotGroupId) ?? true) &&
              (value("snapshot-group-name")?.includes(group.SnapshotGroupName) ?? true) &&
              (value("snapshot-group-state")?.includes(group.SnapshotGroupState) ?? true),
          ),
        );
        return { TotalCount: found.TotalCount, SnapshotGroupSet: found.rows } satisfies AnswerOf<"cbs", "DescribeSnapshotGroups">;
      }
      case "DescribeSnapshotGroupRecords": {
        const rows = (ids("SnapshotGroupIds") ?? []).flatMap((id) => this.groupRecords.get(id) ?? []);
        return { TotalCount: rows.length, SnapshotGroupRecordSet: rows } satisfies AnswerOf<"drystone", "DescribeSnapshotGroupRecords">;
      }
      case "CreateSnapshotGroup":
        return { SnapshotGroupId: this.groups[1]?.SnapshotGroupId ?? "" } satisfies AnswerOf<"cbs", "CreateSnapshotGroup">;
      case "DeleteSnapshotGroup":
        this.groups = this.groups.filter((one) => one.SnapshotGroupId !== body["SnapshotGroupId"]);
        return {};
      case "DeleteSnapshots":
        this.snapshots = this.snapshots.filter((one) => !ids("SnapshotIds")?.includes(one.SnapshotId));
        return {};
      case "ApplySnapshot":
      case "ApplySnapshotGroup":
        return {};
      case "ProveSnapshot": {
        const operation: Operation = {
          Result: null, OperationId: idOf("op", 999_999), Kind: "prove", DiskId: null, SnapshotId: String(body["SnapshotId"]), InstanceId: null, State: "RUNNING",
          Phase: "PROVING", Percent: 45, Attempts: 1, ErrorCode: "", ErrorMessage: "", CreateTime: iso(Date.now()), UpdateTime: iso(Date.now()),
        };
        this.operations = [operation, ...this.operations];
        return { OperationId: operation.OperationId } satisfies AnswerOf<"drystone", "ProveSnapshot">;
      }
      case "DescribeAccounts":
        return {
          TotalCount: 2,
          AccountSet: [
            { AccountId: "100000000001", AccountName: "admin", Admin: true, CreateTime: iso(this.now - 90 * DAY_MS) },
            { AccountId: "100000000002", AccountName: "build-farm", Admin: false, CreateTime: iso(this.now - 12 * DAY_MS) },
          ],
        } satisfies AnswerOf<"drystone", "DescribeAccounts">;
      case "DescribeStore":
        return {
          StoredBytes: 991 * GIB, PackCount: 31_812, PackBytes: 991 * GIB, LiveBytes: 948 * GIB, DeadBytes: 43 * GIB, ReclaimableBytes: 12 * GIB, ReclaimedBytes: 0, WaitingBytes: 0, Threshold: 20, Held: "",
        } satisfies AnswerOf<"drystone", "DescribeStore">;
      case "DescribeStoreHealth":
        return {
          PackCount: 31_812, PacksDue: 214, OldestProofTime: iso(this.now - 29 * DAY_MS), SnapshotCount: this.snapshots.length, SnapshotsDue: 3, RequestedAt: null,
          DamagedSnapshotCount: 1, SuspectSnapshotCount: 0, SuspectSnapshotIds: [], DamageSet: [],
        } satisfies AnswerOf<"drystone", "DescribeStoreHealth">;
      case "DescribeDiskConfigQuota": {
        const types = ["CLOUD_PREMIUM", "CLOUD_BSSD", "CLOUD_SSD", "CLOUD_HSSD", "CLOUD_TSSD"];
        return {
          DiskConfigSet: types.map((DiskType) => ({
            Available: true, DiskChargeType: "POSTPAID_BY_HOUR", DiskType, DiskUsage: "DATA_DISK",
            MinDiskSize: DiskType === "CLOUD_PREMIUM" ? 10 : 20, MaxDiskSize: 32_000, StepSize: 1, Zone: "ap-local-1", InstanceFamily: null,
            ExtraPerformanceRange: null, DeviceClass: null, Price: FREE,
          })),
        } satisfies AnswerOf<"cbs", "DescribeDiskConfigQuota">;
      }
      case "DescribeOverview":
        return {
          Disks: this.disks.length, DisksAttached: 3, DisksBytes: this.disks.reduce((sum, disk) => sum + disk.DiskSize, 0) * GIB, SnapshotsCount: this.snapshots.length,
          LogicalBytes: 5_900 * GIB, ChangedBytes: 1_740 * GIB, StoredBytes: 991 * GIB, SavedByIncrementsBytes: 4_160 * GIB, SavedByCompressionBytes: 749 * GIB,
          StoreBytesFree: 3_204 * GIB, RecentOperations: this.operations.slice(0, 8),
          Attention: [{ Kind: "snapshot_damaged", ResourceId: this.snapshots[17]?.SnapshotId ?? "", Message: "A scrub found a block of this snapshot that cannot be read any more.", At: iso(this.now) }],
        } satisfies AnswerOf<"drystone", "DescribeOverview">;
      case "DescribeHistory":
        return {
          Points: Array.from({ length: 168 }, (_, index) => ({
            At: iso(this.now - (167 - index) * 3_600_000), Disks: 6 + Math.floor(index / 60), DisksBytes: 4_120 * GIB, Snapshots: this.snapshots.length - Math.floor((167 - index) / 7) + (index < 110 ? 6 : 0),
            StoredBytes: (991 - (167 - index) * 1.7 - (index === 167 ? 0 : 14 * noise(Math.floor(index / 5)))) * GIB + (index < 110 ? 60 * GIB : 0),
            LogicalBytes: (5_900 - (167 - index) * 12) * GIB, ChangedBytes: 1_740 * GIB,
          })),
        } satisfies AnswerOf<"drystone", "DescribeHistory">;
      case "DescribeKeys":
        return {
          KeySet: [
            { SecretId: "AKIDz8krbsJ5yKBZQpn74WFkmLPx3EXAMPLE1", Enabled: true, CreateTime: iso(this.now - 80 * DAY_MS), MadeBy: null },
            { SecretId: "AKIDq1w2e3r4t5y6u7i8o9p0a1s2dEXAMPLE2", Enabled: true, CreateTime: iso(this.now - 3 * DAY_MS), MadeBy: null },
          ],
        } satisfies AnswerOf<"drystone", "DescribeKeys">;
      case "DescribeQuotas":
        return {
          DisksMax: 500, DisksCount: this.disks.length, DiskGibMax: 262_144, DiskGib: 4_120,
          SnapshotsPerDiskMax: 64, SnapshotsMax: 576, SnapshotsCount: Math.min(576, this.snapshots.length), SnapshotBytesMax: 0, SnapshotBytes: 991 * GIB,
          DisksPerInstanceMax: 20, DisksPerCallMax: 50,
        } satisfies AnswerOf<"drystone", "DescribeQuotas">;
      case "DescribeHost":
        return {
          Version: "0.1.0", QemuVersion: "10.0.2", DataDirectory: "/var/lib/drystone", Region: "ap-local", Zone: "ap-local-1",
          StoreId: "5f2c9f3b9a7e4f0c8d1e2a3b4c5d6e7f", FreeBytes: 3_204 * GIB, FloorBytes: 8 * GIB, StoredBytes: 991 * GIB, DiskCount: this.disks.length,
          SnapshotCount: this.snapshots.length, DaemonSet: [],
          Clock: { MachineTime: iso(this.now), SteadyTime: iso(this.now), DoubtedSince: null, ExpiryWaitsSeconds: 0 },
        } satisfies AnswerOf<"drystone", "DescribeHost">;
      default:
        return { Error: { Code: "UnsupportedOperation", Message: `The mock does not do ${action}. (2d1b0a99)` } };
    }
  }
}
