import { describe, expect, it } from "vitest";

import { csv, matches, nextSort, sorted, sortOf } from "./arrange";

describe("search", () => {
  it.each([
    ["night", true], ["NIGHTLY", true], ["bcde", true], ["team=we", true], ["web nightly", true], ["weekly", false], ["nightly weekly", false],
  ])("for %s", (typed, found) => expect(matches(["Nightly-12", "snap-abcdefgh", "team=web"], typed)).toBe(found));
});

describe("order", () => {
  it("is by numbers within names, by size and by time, and what is missing comes last both ways", () => {
    const names = ["n-10", "", "N-9", "b"];
    expect(sorted(names, (name) => name, false, "en")).toEqual(["b", "N-9", "n-10", ""]);
    expect(sorted(names, (name) => name, true, "en")).toEqual(["n-10", "N-9", "b", ""]);
    expect(sorted([30, null, 4], (size) => size, false, "en")).toEqual([4, 30, null]);
    const times = [new Date(2), null, new Date(1)];
    expect(sorted(times, (at) => at, true, "en")).toEqual([new Date(2), new Date(1), null]);
  });

  it("goes up, down and back to the list's own, and stands in the address", () => {
    expect(nextSort(sortOf(""), "name")).toBe("name");
    expect(nextSort(sortOf("name"), "name")).toBe("-name");
    expect(nextSort(sortOf("-name"), "name")).toBe("");
    expect(nextSort(sortOf("-name"), "size")).toBe("size");
    expect(sortOf("-name")).toEqual({ column: "name", down: true });
  });
});

describe("a file", () => {
  it("quotes what must be quoted, and begins no formula", () => {
    const text = csv([["ID", "Name"], ["d", 'a "b", c'], ["e", "=1+1"], ["f", -3], ["g", new Date(0)], ["h", null]]);
    expect(text).toBe('\ufeffID,Name\r\nd,"a ""b"", c"\r\ne,\'=1+1\r\nf,-3\r\ng,1970-01-01T00:00:00.000Z\r\nh,\r\n');
  });
});
