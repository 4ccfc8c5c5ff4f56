import { describe, expect, it } from "vitest";

import { dayPoints, daysAgo, growthPerDay } from "./diskDays";

const NOW = new Date("2026-11-30T10:20:00Z");
const space = (StoredBytes: number, ...days: readonly (readonly [string, number])[]) => ({
  DiskId: "disk-1", DiskName: "a", AccountId: "1", StoredBytes, DaySet: days.map(([Day, bytes]) => ({ Day, StoredBytes: bytes })),
});
const shown = (points: ReturnType<typeof dayPoints>) => points.map(({ at, value }) => [at.toISOString().slice(5, 10), value]);

describe("what is held of a disk by day", () => {
  it("stays what it was until a day says another amount; today is what it is now", () => {
    const points = dayPoints(space(9, ["2026-11-01", 3], ["2026-11-28", 5]), NOW, 4);
    expect(shown(points)).toEqual([["11-27", 3], ["11-28", 5], ["11-29", 5], ["11-30", 9]]);
    expect([growthPerDay(points), daysAgo(points, 3), daysAgo(points, 7)]).toEqual([2, 3, null]);
  });
  it("is not known before its first day", () => {
    const points = dayPoints(space(5, ["2026-11-29", 5]), NOW, 30);
    expect(shown(points)).toEqual([["11-29", 5], ["11-30", 5]]);
    expect(growthPerDay(points)).toBe(0);
    expect(growthPerDay(dayPoints(space(5), NOW, 30))).toBeNull();
  });
});
