// Made-up snapshot policies, and what is asked of them.
import type { AnswerOf } from "../src/api/answers";
import type { Filter, Policy, PolicyDetail, PolicyRun } from "../src/api/types";
import { DAY_MS, idOf, iso } from "./world";

type Body = Readonly<Record<string, unknown>>;
const NONE = { DayOfWeek: [], DayOfMonth: [], IntervalDays: 0 } as const;

export class Policies {
  all: PolicyDetail[];

  constructor(
    readonly now: number,
    diskIds: readonly string[],
    snapshotId: string,
  ) {
    const midnight = now - (now % DAY_MS);
    const run = (DiskId: string, State: PolicyRun["State"], Reason: PolicyRun["Reason"] = null): PolicyRun => ({
      PolicyId: idOf("asp", 1), SlotTime: iso(midnight), DiskId, State, Reason, Detail: Reason === null ? "" : "There is not enough free space.", LateSeconds: 0, Missed: 0,
      Attempts: 1, SnapshotId: State === "done" ? snapshotId : null, EndedTime: iso(midnight + 60_000),
    });
    const base = {
      Active: true, TimeZone: "Asia/Shanghai", IsPermanent: false, RetentionDays: null, RetentionMonths: null, RetentionAmount: null, AdvancedRetentionPolicy: null,
      Group: false, SkipUnchanged: false, CopiedFrom: null, DiskIds: [], LastRuns: [], NextTimes: [1, 2, 3, 4, 5].map((day) => iso(midnight + day * DAY_MS + 3_600_000)),
      CreateTime: iso(now - 20 * DAY_MS), ModifyTime: iso(now),
    } as const;
    this.all = [
      {
        ...base, PolicyId: idOf("asp", 1), PolicyName: "nightly", Triggers: [{ ...NONE, Hour: [2], DayOfWeek: [0, 1, 2, 3, 4, 5, 6] }], DiskIds: diskIds.slice(0, 3),
        AdvancedRetentionPolicy: { Days: 7, Weeks: 4, Months: 12, Years: 0 }, LastRuns: [run(diskIds[0] ?? "", "done"), run(diskIds[1] ?? "", "failed", "full"), run(diskIds[2] ?? "", "skipped", "unchanged")],
      },
      { ...base, PolicyId: idOf("asp", 2), PolicyName: "working-hours", Triggers: [{ ...NONE, Hour: [8, 12, 16], DayOfWeek: [1, 2, 3, 4, 5] }], RetentionDays: 3, Active: false },
      { ...base, PolicyId: idOf("asp", 3), PolicyName: "month-end", Triggers: [{ ...NONE, Hour: [23], DayOfMonth: [15, 31] }], IsPermanent: true },
    ];
  }

  /** The answer to an action on policies; undefined for any other. */
  answer(action: string, body: Body): Record<string, unknown> | undefined {
    const ids = (body["PolicyIds"] ?? body["AutoSnapshotPolicyIds"]) as readonly string[] | undefined;
    const id = (body["AutoSnapshotPolicyId"] ?? body["PolicyId"] ?? "") as string;
    const set = (change: (one: PolicyDetail) => Partial<PolicyDetail>) => {
      this.all = this.all.map((one) => (one.PolicyId === id ? { ...one, ...change(one) } : one));
      return {};
    };
    const disks = (body["DiskIds"] ?? []) as readonly string[];
    const triggers = (body["Policy"] as readonly Policy[] | undefined)?.map((one) => ({ ...NONE, ...one }));
    switch (action) {
      case "DescribePolicyDetails": {
        const found = this.all.filter((one) => ids?.includes(one.PolicyId) ?? true);
        return { TotalCount: found.length, PolicyDetailSet: found } satisfies AnswerOf<"drystone", "DescribePolicyDetails">;
      }
      case "DescribeAutoSnapshotPolicies": {
        const names = (body["Filters"] as readonly Filter[] | undefined)?.flatMap((one) => one.Values) ?? [];
        return { TotalCount: this.all.filter((one) => names.includes(one.PolicyName)).length, AutoSnapshotPolicySet: [] } satisfies AnswerOf<"cbs", "DescribeAutoSnapshotPolicies">;
      }
      case "DescribePolicyRuns": {
        const runs = this.all.flatMap((one) => one.LastRuns);
        return { TotalCount: runs.length, PolicyRunSet: runs } satisfies AnswerOf<"drystone", "DescribePolicyRuns">;
      }
      case "DescribePolicySimulation": {
        const days = Array.from({ length: Number(body["Days"] ?? 35) }, (_, index) => {
          const at = this.now + index * DAY_MS;
          return { Date: iso(at).slice(0, 10), RunTimes: [iso(at)], GoneTimes: index > 6 ? [iso(at - 7 * DAY_MS)] : [], Kept: Math.min(7, index + 1) };
        });
        return { TimeZone: "Asia/Shanghai", SimulatedPolicyDaySet: days, KeptTimes: [] } satisfies AnswerOf<"drystone", "DescribePolicySimulation">;
      }
      case "CreateAutoSnapshotPolicy": {
        const made = idOf("asp", 9);
        const first = this.all[1];
        if (first) this.all = [{ ...first, PolicyId: made, PolicyName: (body["AutoSnapshotPolicyName"] as string | undefined) ?? "未命名", Active: true, Triggers: triggers ?? [], LastRuns: [], DiskIds: [] }, ...this.all];
        return { AutoSnapshotPolicyId: made, NextTriggerTime: "" } satisfies AnswerOf<"cbs", "CreateAutoSnapshotPolicy">;
      }
      case "ModifyAutoSnapshotPolicyAttribute":
        return set((one) => ({ Active: (body["IsActivated"] as boolean | undefined) ?? one.Active, Triggers: triggers ?? one.Triggers }));
      case "SetPolicyOptions":
        return set((one) => ({ RetentionDays: (body["RetentionDays"] as number | undefined) ?? one.RetentionDays }));
      case "BindAutoSnapshotPolicy":
        return set((one) => ({ DiskIds: [...one.DiskIds, ...disks] }));
      case "UnbindAutoSnapshotPolicy":
        return set((one) => ({ DiskIds: one.DiskIds.filter((disk) => !disks.includes(disk)) }));
      case "DeleteAutoSnapshotPolicies":
        this.all = this.all.filter((one) => !ids?.includes(one.PolicyId));
        return {};
      default:
        return undefined;
    }
  }
}
