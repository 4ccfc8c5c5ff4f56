// A server with a made-up world: for pages that need 10,000 snapshots or a year of history.
import { readFileSync, statSync } from "node:fs";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { extname, join, normalize } from "node:path";
import { fileURLToPath } from "node:url";

import type { AnswerOf } from "../src/api/answers";
import type { Session } from "../src/api/client";
import type { DiskProtection, Filter, Operation, QuiesceProfile, QuiesceStepRecord, Snapshot } from "../src/api/types";
import { change } from "./changes";
import { Policies } from "./policies";
import { DAY_MS, FREE, GIB, idOf, iso, noise, step, World } from "./world";

const BUILT = fileURLToPath(new URL("../../src/drystone/console_files/", import.meta.url));
const TYPES: Readonly<Record<string, string>> = {
  ".html": "text/html; charset=utf-8", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml",
};
export const PASSWORD = "correct horse battery staple";
const CSRF = "token-of-the-mock";
const POLICY = "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:";

export class Mock extends World {
  /** Changes that were asked for: the action and what was sent. */
  readonly changes: (readonly [string, Record<string, unknown>])[] = [];
  readonly policies = new Policies(this.now, this.disks.map((disk) => disk.DiskId), this.snapshots[1]?.SnapshotId ?? "");
  /** Why nothing is freed and nothing expires; "" where it is not so. */
  held = "";
  /** Whether there is a session. */
  loggedIn = false;
  /** Calls of actions, by name. */
  readonly calls = new Map<string, number>();
  /** Snapshots as the server searches and orders them, for lists longer than a page. */
  private searchedRecords(body: Readonly<Record<string, unknown>>): AnswerOf<"drystone", "DescribeSnapshotRecords"> {
    const filters = (body["Filters"] ?? []) as readonly Filter[];
    const values = (name: string) => filters.filter(({ Name }) => Name === name).flatMap(({ Values }) => Values);
    const words = values("search").join(" ").toLowerCase().split(/\s+/);
    const states = values("snapshot-state");
    const names = new Map(this.disks.map((disk) => [disk.DiskId, disk.DiskName]));
    const found = this.snapshots.filter((one) => {
      const name = names.get(one.DiskId) ?? "";
      const texts = [one.SnapshotName, one.SnapshotId, one.DiskId, name, ...one.Tags.flatMap(({ Key, Value }) => [Key, Value])].map((text) => text.toLowerCase());
      return words.every((word) => texts.some((text) => text.includes(word))) && (states.length === 0 || states.includes(one.SnapshotState));
    });
    const sign = body["Order"] === "ASC" ? 1 : -1;
    const key = (one: Snapshot): string | number =>
      body["OrderField"] === "NAME" ? one.SnapshotName : body["OrderField"] === "STORED_BYTES" ? (this.records.get(one.SnapshotId)?.StoredBytes ?? 0) : one.CreateTime;
    found.sort((a, b) => (key(a) < key(b) ? -sign : key(a) > key(b) ? sign : 0));
    const offset = Number(body["Offset"] ?? 0);
    const rows = found.slice(offset, offset + Number(body["Limit"] ?? 20)).flatMap(({ SnapshotId }) => this.records.get(SnapshotId) ?? []);
    return { TotalCount: found.length, SnapshotRecordSet: rows };
  }

  private server: Server | null = null;

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
    } else if (path === "confirm" || path === "password") {
      this.changes.push([path, body]);
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
    const ids = (name: string) => body[name] as readonly string[] | undefined;
    /** A page of the rows whose fields have the values that are asked for: ids, and filters by name. */
    const page = <T>(rows: readonly T[], fields: Readonly<Record<string, (row: T) => string | null | readonly (string | null)[]>>) => {
      const wanted = Object.entries(fields).flatMap(([name, of]) => {
        const values = ids(name) ?? filters.find((filter) => filter.Name === name)?.Values;
        return values === undefined ? [] : [(row: T) => [of(row)].flat().some((value) => values.some((one) => one === value))];
      });
      const found = rows.filter((row) => wanted.every((matches) => matches(row)));
      return { TotalCount: found.length, rows: found.slice(offset, offset + limit) };
    };
    switch (action) {
      case "DescribeDisks": {
        const found = page(this.disks, {
          DiskIds: (disk) => disk.DiskId,
          "instance-id": (disk) => disk.InstanceId,
          "disk-id": (disk) => disk.DiskId,
          "disk-state": (disk) => disk.DiskState,
          "disk-name": (disk) => disk.DiskName,
        });
        return { TotalCount: found.TotalCount, DiskSet: found.rows } satisfies AnswerOf<"cbs", "DescribeDisks">;
      }
      case "DescribeDiskDetails": {
        const words = filters.filter(({ Name }) => Name === "search").flatMap(({ Values }) => Values.join(" ").toLowerCase().split(/\s+/));
        const named = new Map(this.disks.map((disk) => [disk.DiskId, `${disk.DiskName} ${disk.DiskId}`.toLowerCase()]));
        const rows = [...this.details.values()].filter(
          (detail) => (ids("DiskIds")?.includes(detail.DiskId) ?? named.has(detail.DiskId)) && words.every((word) => named.get(detail.DiskId)?.includes(word)),
        );
        return { TotalCount: rows.length, DiskDetailSet: rows.slice(offset, offset + limit) } satisfies AnswerOf<"drystone", "DescribeDiskDetails">;
      }
      case "DescribeSnapshots": {
        const found = page(this.snapshots, {
          SnapshotIds: (snapshot) => snapshot.SnapshotId,
          "disk-id": (snapshot) => snapshot.DiskId,
          "snapshot-id": (snapshot) => snapshot.SnapshotId,
          "snapshot-name": (snapshot) => snapshot.SnapshotName,
          "snapshot-state": (snapshot) => snapshot.SnapshotState,
        });
        return { TotalCount: found.TotalCount, SnapshotSet: found.rows } satisfies AnswerOf<"cbs", "DescribeSnapshots">;
      }
      case "DescribeSnapshotRecords": {
        if (body["Filters"] !== undefined || body["OrderField"] !== undefined) return this.searchedRecords(body);
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
      case "DescribeOperationHistory": {
        const found = this.operations.find(({ OperationId }) => OperationId === body["OperationId"]);
        if (found === undefined) return { Error: { Code: "ResourceNotFound", Message: "There is no such operation. (2d1b0a99)" } };
        const { Phase, State, Attempts, ErrorMessage, CreateTime, UpdateTime } = found;
        const first = { At: CreateTime, Phase, State: "RUNNING", Attempts: 1, ErrorMessage: "" } as const;
        return {
          StepSet: State === "RUNNING" ? [first] : [first, { At: UpdateTime, Phase, State, Attempts, ErrorMessage }],
          PhaseSet: Phase === "" ? [] : [{ Phase, BeginTime: CreateTime, Seconds: 12.5, Ended: State !== "RUNNING" }],
        } satisfies AnswerOf<"drystone", "DescribeOperationHistory">;
      }
      case "DescribeOperations": {
        const found = page(this.operations, {
          OperationIds: (operation) => operation.OperationId,
          state: (operation) => operation.State,
          kind: (operation) => operation.Kind,
          "resource-id": (operation) => [operation.DiskId, operation.SnapshotId],
        });
        return { TotalCount: found.TotalCount, OperationSet: found.rows } satisfies AnswerOf<"drystone", "DescribeOperations">;
      }
      case "DescribeEvents": {
        const found = page(this.events, {
          EventIds: (event) => event.EventId,
          kind: (event) => event.Kind,
          severity: (event) => event.Severity,
          "subject-id": (event) => event.SubjectId,
          resolved: (event) => String(event.ResolvedTime !== null),
          acknowledged: (event) => String(event.AcknowledgedTime !== null),
        });
        return { TotalCount: found.TotalCount, EventSet: found.rows, Cursor: 1 } satisfies AnswerOf<"drystone", "DescribeEvents">;
      }
      case "DescribeProtection": {
        const rows = this.disks.map((disk, index): DiskProtection => {
          const last = index === 4 ? undefined : this.snapshots.find((one) => one.DiskId === disk.DiskId && one.SnapshotState === "NORMAL");
          const record = last && this.records.get(last.SnapshotId);
          const failed = index === 2;
          return {
            DiskId: disk.DiskId, DiskName: disk.DiskName, SizeBytes: disk.DiskSize * GIB, Protected: last !== undefined && !failed,
            LastSnapshotId: last?.SnapshotId ?? null, LastSnapshotTime: record?.TakenAt ?? null, Consistency: record?.Consistency ?? null,
            ConsistencyAsked: index === 1 ? "application" : null, VerifiedTime: last && index % 2 === 0 ? iso(this.now - index * 2 * DAY_MS - 900_000) : null,
            ProofSnapshotId: last?.SnapshotId ?? null, ProofFinding: index > 2 ? null : index === 0 ? "opens" : index === 1 ? "not proven" : "damaged", ProofReason: "",
            ProofTime: index > 2 ? null : iso(this.now - (index + 1) * 7 * 3_600_000), FailedSince: failed ? iso(this.now - 7_200_000) : null, FailedCount: failed ? 2 : 0,
            FailedReason: failed ? "the scratch space of snapshots is used up" : null, NextRunTime: null, PolicyIds: [], Behind: false, SnapshotCount: disk.SnapshotCount, StoredBytes: disk.SnapshotSize * 1_048_576,
          };
        });
        const found = page(rows, { DiskIds: (row) => row.DiskId, protected: (row) => String(row.Protected) });
        return { TotalCount: found.TotalCount, DiskProtectionSet: found.rows } satisfies AnswerOf<"drystone", "DescribeProtection">;
      }
      case "AcknowledgeEvents":
        this.events = this.events.map((event) =>
          ids("EventIds")?.includes(event.EventId) ? { ...event, AcknowledgedTime: iso(this.now), AcknowledgedBy: "100000000001" } : event,
        );
        return {};
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
        const found = page(this.groups, {
          "snapshot-group-id": (group) => group.SnapshotGroupId,
          "snapshot-group-name": (group) => group.SnapshotGroupName,
          "snapshot-group-state": (group) => group.SnapshotGroupState,
        });
        return { TotalCount: found.TotalCount, SnapshotGroupSet: found.rows } satisfies AnswerOf<"cbs", "DescribeSnapshotGroups">;
      }
      case "DescribeSnapshotGroupRecords": {
        const rows = (ids("SnapshotGroupIds") ?? []).flatMap((id) => this.groupRecords.get(id) ?? []);
        return { TotalCount: rows.length, SnapshotGroupRecordSet: rows } satisfies AnswerOf<"drystone", "DescribeSnapshotGroupRecords">;
      }
      case "CreateSnapshot":
        return { SnapshotId: this.snapshots[0]?.SnapshotId ?? "" } satisfies AnswerOf<"cbs", "CreateSnapshot">;
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
          Result: null, Cancellable: true, Retriable: false, ToSendBytes: null, SentBytes: null, OperationId: idOf("op", 999_999), Kind: "prove", DiskId: null, SnapshotId: String(body["SnapshotId"]), InstanceId: null, State: "RUNNING",
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
          StoredBytes: 991 * GIB, MapBytes: 3 * GIB, SnapshotBytes: 90_000_000, CacheBytes: 180_000_000, PackCount: 31_812, PackBytes: 991 * GIB, LiveBytes: 948 * GIB, DeadBytes: 43 * GIB, ReclaimableBytes: 12 * GIB, ReclaimedBytes: 0, WaitingBytes: 0, Threshold: 20, Held: this.held,
        } satisfies AnswerOf<"drystone", "DescribeStore">;
      case "DescribeStoreStatus":
        return {
          StoreId: "5f2c9f3b9a7e4f0c8d1e2a3b4c5d6e7f", Place: "s3://backups/drystone", PlaceKind: "bucket", State: "answers", Fault: "", FaultSince: null,
          ReachedTime: iso(this.now - 130_000), LastFault: "The snapshot store does not answer: the bucket backups does not answer (owner): connection timed out",
          LastFaultTime: iso(this.now - 3 * DAY_MS), LastFaultEndTime: iso(this.now - 3 * DAY_MS + 1_500_000), Epoch: 1742, Held: "",
          DaySet: Array.from({ length: 30 }, (_, index) => ({
            Day: iso(this.now - (29 - index) * DAY_MS).slice(0, 10), WriteRequests: 900 + Math.floor(noise(index) * 700), ReadRequests: 4_000 + Math.floor(noise(index + 50) * 9_000),
            ListRequests: 310, DeleteRequests: Math.floor(noise(index + 9) * 200), SentBytes: Math.floor((3 + noise(index) * 20) * GIB), ReceivedBytes: Math.floor(noise(index + 3) * 9 * GIB), Errors: index === 26 ? 41 : 0,
          })),
          SpaceDaySet: Array.from({ length: 30 }, (_, index) => ({ Day: iso(this.now - (29 - index) * DAY_MS).slice(0, 10), StoredBytes: (700 + index * 10) * GIB, FreeBytes: (3_500 - index * 10) * GIB })),
          DaysUntilFull: 320.4,
        } satisfies AnswerOf<"drystone", "DescribeStoreStatus">;
      case "DescribeDiskSpace": {
        const rows = this.disks.map((disk, index) => {
          const StoredBytes = disk.SnapshotSize * 1_048_576;
          const DaySet = Array.from({ length: 12 }, (_, step) => ({ Day: iso(this.now - (33 - step * 3) * DAY_MS).slice(0, 10), StoredBytes: Math.floor(StoredBytes * (0.7 + step * 0.025 - (index === 3 && step > 6 ? 0.2 : 0))) }));
          return { DiskId: disk.DiskId, DiskName: index === 7 ? null : disk.DiskName, AccountId: index === 7 ? null : "100000000001", StoredBytes, DaySet: StoredBytes === 0 ? [] : DaySet };
        });
        const found = page(rows.sort((one, other) => other.StoredBytes - one.StoredBytes), { DiskIds: (row) => row.DiskId });
        return { TotalCount: found.TotalCount, DiskSpaceSet: found.rows } satisfies AnswerOf<"drystone", "DescribeDiskSpace">;
      }
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
          Disks: this.disks.length, DisksAttached: this.disks.filter((disk) => disk.InstanceId !== "").length, DisksBytes: this.disks.reduce((sum, disk) => sum + disk.DiskSize, 0) * GIB, SnapshotsCount: this.snapshots.length,
          LogicalBytes: 5_900 * GIB, ChangedBytes: 1_740 * GIB, StoredBytes: 991 * GIB, SavedByIncrementsBytes: 4_160 * GIB, SavedByCompressionBytes: 749 * GIB,
          StoreBytesFree: 3_204 * GIB, RecentOperations: this.operations.slice(0, 8),
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
          StoreId: "5f2c9f3b9a7e4f0c8d1e2a3b4c5d6e7f", FreeBytes: 3_204 * GIB, FloorBytes: 8 * GIB, StoredBytes: 991 * GIB, StoreBytesPerSecond: 0, DiskCount: this.disks.length,
          SnapshotCount: this.snapshots.length, DaemonSet: [],
          Clock: { MachineTime: iso(this.now), SteadyTime: iso(this.now), DoubtedSince: null, ExpiryWaitsSeconds: 0 },
        } satisfies AnswerOf<"drystone", "DescribeHost">;
      default:
        return this.policies.answer(action, body) ?? change(this, action, body) ?? { Error: { Code: "UnsupportedOperation", Message: `The mock does not do ${action}. (2d1b0a99)` } };
    }
  }
}
