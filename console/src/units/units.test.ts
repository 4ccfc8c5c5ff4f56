import { describe, expect, it } from "vitest";

import { bytes, gib, percent } from "./bytes";
import { duration, remaining } from "./durations";
import { deadlineIn, exactTime, parseTime, relativeTime, setZoneHours } from "./times";

describe("bytes", () => {
  it.each([
    [0, "0 B"], [1, "1 B"], [999, "999 B"], [1000, "0.98 KiB"], [1024, "1 KiB"], [1536, "1.5 KiB"], [10_240, "10 KiB"],
    [102_400, "100 KiB"], [1_048_576, "1 MiB"], [1_073_741_824, "1 GiB"], [5 * 2 ** 40, "5 TiB"], [3 * 2 ** 50, "3 PiB"],
    [2 ** 62, "4096 PiB"], [1023 * 1024, "1 MiB"],
  ])("writes %d as %s", (count, text) => expect(bytes(count)).toBe(text));
  it("says nothing of what is not known", () => expect([bytes(null), bytes(undefined)]).toEqual(["–", "–"]));
  it("counts sizes in GiB", () => expect(gib(2048)).toBe("2 TiB"));
  it("has no percent of nothing", () => expect([percent(1, 0), percent(1, 4), percent(9, 4)]).toEqual([0, 25, 100]));
});

describe("durations", () => {
  it.each([
    [0.25, "0.25 ms"], [3.4, "3 ms"], [999.6, "1 s"], [4_230, "4.2 s"], [59_960, "1 min"], [200_000, "3 min 20 s"],
    [7_500_000, "2 h 5 min"], [3_600_000, "1 h"],
  ])("writes %d ms as %s", (ms, text) => expect(duration(ms)).toBe(text));
  it("tells what is left only when it can", () => {
    expect(remaining(50, 1000)).toBe(1000);
    expect([remaining(0, 1000), remaining(100, 1000), remaining(50, 0)]).toEqual([null, null, null]);
  });
});

describe("times", () => {
  it("reads CBS's times in the server's zone and ISO times in theirs", () => {
    setZoneHours(8);
    expect(parseTime("2018-09-26 17:36:07")?.toISOString()).toBe("2018-09-26T09:36:07.000Z");
    setZoneHours(-3.5);
    expect(parseTime("2018-09-26 17:36:07")?.toISOString()).toBe("2018-09-26T21:06:07.000Z");
    setZoneHours(8);
    expect(parseTime("2022-04-02T17:44:55+00:00")?.toISOString()).toBe("2022-04-02T17:44:55.000Z");
    expect([parseTime(""), parseTime(null), parseTime("soon")]).toEqual([null, null, null]);
  });
  it("says how long ago", () => {
    const now = new Date("2026-01-02T00:00:00Z");
    expect(relativeTime(new Date("2026-01-01T23:57:00Z"), now, "en")).toBe("3 minutes ago");
    expect(relativeTime(new Date("2026-01-09T00:00:00Z"), now, "en")).toBe("in 7 days");
    expect(relativeTime(new Date("2026-01-01T00:00:00Z"), now, "zh-CN")).toBe("昨天");
    expect(relativeTime(null, now, "en")).toBe("–");
  });
  it("writes a deadline with its offset, a little more than whole days ahead", () => {
    expect(deadlineIn(1, new Date("2026-01-01T00:00:00Z"))).toBe("2026-01-02T00:01:00+00:00");
  });
  it("writes a time with its zone, so that it names one instant", () => {
    const at = new Date("2026-11-22T17:36:07Z");
    expect(exactTime(at)).toMatch(/^2026-11-2\d \d\d:\d\d:07 [+-]\d\d:\d\d$/);
    expect(new Date(exactTime(at).replace(" ", "T").replace(" ", ""))).toEqual(at);
  });
  it("writes no time as a dash", () => expect(exactTime(null)).toBe("–"));
});
