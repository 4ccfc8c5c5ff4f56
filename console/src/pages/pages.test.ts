import { describe, expect, it } from "vitest";

import type { Operation } from "../api/types";
import type { DiskRow, Page, SnapshotRow } from "../api/queries";
import { scaleTop, shade } from "../parts/charts";
import { linuxCommands } from "./disks/commands";
import { exactFilters } from "./disks/search";
import { terminateParameters } from "./disks/terminate";
import { barWidth, storedOf } from "./disks/Timeline";
import { returnPath } from "./login/returnPath";
import { badFinding, leftNoSnapshot } from "./operations/columns";
import { adviceOf, phasesOf } from "./operations/phases";

const row = (state: string, detail: Record<string, unknown>, disk: Record<string, unknown> = {}) =>
  ({
    disk: { DiskId: "disk-abcdefgh", DiskState: state, SnapshotCount: 0, ...disk },
    detail: { NbdUri: null, Device: null, SourceSnapshotId: null, BaseSnapshotId: null, ...detail },
  }) as unknown as DiskRow;

describe("the scale of a chart", () => {
  const [mib, gib] = [2 ** 20, 2 ** 30];
  it.each([
    ["bytes", 0, 1], ["bytes", 991 * gib, 1024 * gib], ["bytes", 513 * gib, 600 * gib], ["bytes", 1025 * gib, 2048 * gib], ["bytes", 3 * mib, 4 * mib],
    ["count", 0, 2], ["count", 1, 2], ["count", 3, 4], ["count", 41, 60], ["count", 100, 100], ["count", 1001, 2000],
  ] as const)("of %s up to %d ends at %d", (of, value, top) => {
    expect(scaleTop(value, of)).toBe(top);
  });
});

describe("log in", () => {
  it("goes back to where the user was, and nowhere else", () => {
    expect(returnPath({ from: "/snapshots?q=a" })).toBe("/snapshots?q=a");
    for (const from of ["//evil.example", "/\\evil.example", "https://evil.example", "/login", "", 7]) {
      expect(returnPath({ from })).toBe("/");
    }
    expect(returnPath(null)).toBe("/");
  });
});

describe("search", () => {
  it.each([
    ["disk", "disk-abcdefgh", [{ Name: "disk-id", Values: ["disk-abcdefgh"] }]],
    ["snapshot", "disk-abcdefgh", [{ Name: "disk-id", Values: ["disk-abcdefgh"] }]],
    ["snapshot", "snap-abcdefgh", [{ Name: "snapshot-id", Values: ["snap-abcdefgh"] }]],
    ["disk", "snap-abcdefgh", null],
    ["disk", "ins-abcdefgh", [{ Name: "instance-id", Values: ["ins-abcdefgh"] }]],
    ["disk", "tag:env=prod=1", [{ Name: "tag:env", Values: ["prod=1"] }]],
    ["disk", "tag:env", [{ Name: "tag-key", Values: ["env"] }]],
    ["snapshot", "nightly", null],
    // Parts of ids are looked for among all rows.
    ["snapshot", "snap-abc", null],
    ["disk", "", []],
  ] as const)("of %s for %s", (list, text, filters) => expect(exactFilters(list, text)).toEqual(filters));
});

describe("commands", () => {
  it("are those of how the disk is served", () => {
    const device = "/dev/disk/by-id/virtio-disk-abcdefgh";
    expect(linuxCommands(row("ATTACHED", { Device: device }))[0]?.text).toBe(`mkfs.ext4 ${device}`);
    expect(linuxCommands(row("ATTACHED", { NbdUri: "nbd+unix:///x?socket=/s" }))[0]?.text).toBe("nbdinfo 'nbd+unix:///x?socket=/s'");
    expect(linuxCommands(row("UNATTACHED", {}))).toEqual([]);
    expect(linuxCommands(row("DETACHING", { Device: device }))).toEqual([]);
  });
  it.each([{ Device: "/dev/nbd0" }, { NbdUri: "nbd+unix:///x?socket=/s" }])("format a disk only where it may be empty: %j", (served) => {
    const formats = (detail: Record<string, unknown>, disk: Record<string, unknown> = {}) =>
      linuxCommands(row("ATTACHED", { ...served, ...detail }, disk)).filter(({ text }) => text.includes("mkfs")).length;
    expect(formats({})).toBe(1);
    expect([formats({ SourceSnapshotId: "snap-a" }), formats({ BaseSnapshotId: "snap-a" }), formats({}, { SnapshotCount: 1 })]).toEqual([0, 0, 0]);
    expect(linuxCommands(row("ATTACHED", { ...served, SourceSnapshotId: "snap-a" })).some(({ text }) => text.includes("&& mount "))).toBe(true);
  });
});

describe("deleting disks", () => {
  const disks = (...settings: readonly number[]) =>
    settings.map((DeleteSnapshot, at) => ({ disk: { DiskId: `disk-${at}`, DeleteSnapshot }, detail: undefined }) as unknown as DiskRow);
  it.each([
    // What was chosen at the disk's creation holds until the user says something else.
    [[1], null, 1], [[0], null, 0], [[1], false, 0], [[0], true, 1],
    [[1, 1], null, 1], [[0, 0], null, 0], [[0, 1], null, undefined], [[0, 1], true, 1], [[1, 0], false, 0],
  ] as const)("of disks created with %j, ticked %j: their snapshots go %j", (settings, ticked, sent) => {
    const parameters = terminateParameters(disks(...settings), ticked);
    expect(parameters.DeleteSnapshot).toBe(sent);
    expect(parameters.DiskIds).toHaveLength(settings.length);
    // Nothing said is no field, not an empty one.
    expect("DeleteSnapshot" in parameters).toBe(sent !== undefined);
  });
});

describe("operations", () => {
  it("say what a proof that is not good has found, and nothing of others", () => {
    const of = (Kind: string, Result?: unknown) => badFinding({ Kind, Result } as Operation);
    expect(of("prove", { finding: "damaged", reason: "e2fsck: bad" })).toEqual({ finding: "damaged", reason: "e2fsck: bad" });
    expect([of("prove", { finding: "opens", reason: "" }), of("prove"), of("prove", null), of("export", { finding: "damaged" })]).toEqual([null, null, null, null]);
  });
});

describe("the snapshot of an operation", () => {
  const of = (Kind: string, State: string) => leftNoSnapshot({ Kind, State } as Operation);
  it("has a page but where the snapshot was to be created and was not", () => {
    expect([of("snapshot", "FAILED"), of("snapshot", "RUNNING"), of("snapshot", "DONE"), of("rollback", "FAILED")]).toEqual([true, false, false, false]);
  });
});

describe("phases of an operation", () => {
  const of = (Kind: string, Phase: string, State: string, entered: readonly string[] = [], ErrorCode = "") =>
    phasesOf({ Kind, Phase, State, ErrorCode } as Operation, entered).map(({ name, state }) => `${name} ${state}`);
  it("are behind it, here or before it", () => {
    expect(of("snapshot", "FROZEN", "RUNNING")).toEqual(["FREEZING done", "FROZEN now", "SPOOLED next", "COMMITTED next"]);
    expect(of("snapshot", "COMMITTED", "DONE")).toEqual(["FREEZING done", "FROZEN done", "SPOOLED done", "COMMITTED done"]);
    expect(of("rollback", "WRITING", "FAILED")).toEqual(["PLANNING done", "WRITING stopped"]);
    expect(of("snapshot", "FAILING", "RUNNING").at(-1)).toBe("FAILING now");
    expect([of("attach", "", "RUNNING"), of("attach", "", "DONE")]).toEqual([[], []]);
  });
  it("of what was undone say how far it came, and that it is undone", () => {
    const [entered, cancelled] = [["FREEZING", "FROZEN", "FAILING"], "FailedOperation.Cancelled"];
    expect(of("snapshot", "FAILING", "RUNNING", entered, cancelled)).toEqual(["FREEZING done", "FROZEN cancelled", "SPOOLED next", "COMMITTED next", "FAILING now"]);
    expect(of("snapshot", "FAILING", "FAILED", entered, cancelled)).toEqual(["FREEZING done", "FROZEN cancelled", "SPOOLED next", "COMMITTED next", "FAILING undone"]);
    expect(of("snapshot", "FAILING", "FAILED", entered)).toContain("FROZEN stopped");
    expect(of("export", "COPYING", "FAILED", ["COPYING"], cancelled)).toEqual(["COPYING cancelled", "NAMING next"]);
  });
  it("end, where it failed, with what helps against the error", () => {
    expect(["ResourceInsufficient", "InsufficientSnapshotQuota", "InvalidDiskId.NotFound", "InvalidParameterValue", "ResourceBusy", "InternalError", "Other"].map(adviceOf)).toEqual(
      ["space", "quota", "gone", "correct", "busy", "internal", "again"],
    );
  });
});

describe("pictures", () => {
  it("show the smallest change, and nothing where there is none", () => {
    expect(shade(0, 100)).toBe(0);
    expect(shade(1, 1_000_000)).toBeGreaterThan(0.2);
    expect(shade(100, 100)).toBe(1);
    expect(barWidth(0, 100)).toBe(0);
    expect(barWidth(1, 1_000_000_000)).toBeGreaterThan(0.5);
    expect(barWidth(100, 100)).toBe(100);
    expect(barWidth(25, 100)).toBe(25);
  });
  it("agree with the sum above them where all is known", () => {
    const disk = { SnapshotCount: 2, SnapshotSize: 1 };
    const page = (...stored: readonly (number | null)[]) => ({ total: stored.length, rows: stored.map((StoredBytes) => ({ record: { StoredBytes } })) }) as unknown as Page<SnapshotRow>;
    expect(storedOf(disk, page(600_000, 50_000))).toBe(650_000);
    expect([storedOf(disk, undefined), storedOf(disk, page(600_000, null)), storedOf(disk, page(600_000))]).toEqual([2 ** 20, 2 ** 20, 2 ** 20]);
  });
});
