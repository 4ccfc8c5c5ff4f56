import { describe, expect, it } from "vitest";

import type { PolicyDetail } from "../../api/types";
import { translator } from "../../words";
import { createParameters, formOf, isComplete, keptText, NEW_POLICY, NEW_TRIGGER, optionsOf, scheduleText, simulated } from "./policyForm";

const detail: PolicyDetail = {
  PolicyId: "asp-1", PolicyName: "nightly", Active: true, TimeZone: "Asia/Shanghai", Triggers: [{ Hour: [2, 14], DayOfWeek: [1, 5], DayOfMonth: [], IntervalDays: 0 }],
  IsPermanent: false, RetentionDays: 7, RetentionMonths: null, RetentionAmount: null, AdvancedRetentionPolicy: null, Group: true, SkipUnchanged: false, CopiedFrom: null,
  DiskIds: [], NextTimes: [], LastRuns: [], CreateTime: "", ModifyTime: "",
};
const t = translator("en");

describe("a policy's form", () => {
  it("sends what a policy was made of", () => {
    const form = formOf(detail);
    expect(createParameters(form)).toEqual({ Policy: [{ Hour: [2, 14], DayOfWeek: [1, 5] }], AutoSnapshotPolicyName: "nightly", RetentionDays: 7 });
    expect(optionsOf(form)).toEqual({ RetentionDays: 7, TimeZone: "Asia/Shanghai", Group: true, SkipUnchanged: false });
    const spread = formOf({ ...detail, RetentionDays: null, AdvancedRetentionPolicy: { Days: 7, Weeks: 4, Months: 0, Years: 1 } });
    expect(simulated(spread, 30)).toEqual({ Policy: [{ Hour: [2, 14], DayOfWeek: [1, 5] }], AdvancedRetentionPolicy: { Days: 7, Weeks: 4, Months: 0, Years: 1 }, TimeZone: "Asia/Shanghai", Days: 30 });
  });
  it("is complete with an hour, a day and a retention", () => {
    expect(isComplete(NEW_POLICY)).toBe(true);
    for (const wrong of [{ hours: [] }, { week: [] }, { way: "interval" as const, interval: "0" }, { way: "month" as const, month: [] }]) {
      expect(isComplete({ ...NEW_POLICY, triggers: [NEW_TRIGGER, { ...NEW_TRIGGER, ...wrong }] })).toBe(false);
    }
    expect(isComplete({ ...NEW_POLICY, count: "1.5" })).toBe(false);
    expect(isComplete({ ...NEW_POLICY, keep: "spread", spread: { days: "0", weeks: "0", months: "0", years: "0" } })).toBe(false);
    expect(isComplete({ ...NEW_POLICY, keep: "permanent", count: "" })).toBe(true);
  });
  it("is told in words, in both languages", () => {
    expect(scheduleText(t, detail, "en")).toBe("Mon, Fri, at 02:00, 14:00");
    expect(keptText(t, { ...detail, RetentionDays: 1 })).toBe("1 day");
    expect(scheduleText(translator("zh"), { ...detail, Triggers: [{ Hour: [2], DayOfWeek: [], DayOfMonth: [1, 15], IntervalDays: 0 }] }, "zh-CN")).toBe("每月 1, 15 日，02:00");
  });
});
