import { describe, expect, it } from "vitest";

import type { DiskState } from "../api/answers";
import { limitsOf } from "./limits";
import {
  DISK_RULES, diskRefusal, disksRefusal, groupRefusal, proofRefusal, snapshotRefusal, type DiskAction, type DiskFacts, type SnapshotFacts,
} from "./rules";

const STATES: readonly DiskState[] = [
  "UNATTACHED", "ATTACHING", "ATTACHED", "DETACHING", "EXPANDING", "ROLLBACKING", "TORECYCLE", "DUMPING",
];
const resting: DiskFacts = { state: "UNATTACHED", snapshotting: false, hydrating: false, portable: true, outdated: true };

// What the server refuses: disk_lifecycle.py, snapshot_lifecycle.py and snapshot_begin.py, state by state.
const ALLOWED: Readonly<Record<DiskAction, readonly DiskState[]>> = {
  createSnapshot: ["UNATTACHED", "ATTACHED"],
  createGroup: ["ATTACHED"],
  audit: ["UNATTACHED", "ATTACHED"],
  attach: ["UNATTACHED"],
  detach: ["ATTACHED"],
  resize: ["UNATTACHED", "ATTACHED"],
  rename: STATES,
  initialize: ["UNATTACHED"],
  rewrite: ["UNATTACHED"],
  terminate: ["UNATTACHED", "TORECYCLE"],
  rollBack: ["UNATTACHED"],
};
const WHILE_SNAPSHOTTING: readonly DiskAction[] = ["attach", "detach", "rename"];
const WHILE_HYDRATING: readonly DiskAction[] = ["createSnapshot", "audit", "attach", "detach", "resize", "rename", "terminate"];

describe.each(Object.keys(DISK_RULES) as DiskAction[])("%s", (action) => {
  it.each(STATES)("in %s", (state) => {
    expect(diskRefusal(action, { ...resting, state }) === null).toBe(ALLOWED[action].includes(state));
  });
  const state = ALLOWED[action][0] ?? "UNATTACHED";
  it("while a snapshot is created", () => {
    expect(diskRefusal(action, { ...resting, state, snapshotting: true }) === null).toBe(WHILE_SNAPSHOTTING.includes(action));
  });
  it("while the disk is filled", () => {
    expect(diskRefusal(action, { ...resting, state, hydrating: true }) === null).toBe(WHILE_HYDRATING.includes(action));
  });
});

describe("why", () => {
  it("names what the user can do", () => {
    expect(diskRefusal("terminate", { ...resting, state: "ATTACHED" })).toEqual({ key: "why.attached" });
    expect(diskRefusal("detach", resting)).toEqual({ key: "why.notAttached" });
    expect(diskRefusal("attach", { ...resting, portable: false })).toEqual({ key: "why.notPortable" });
    expect(diskRefusal("rewrite", { ...resting, outdated: false })).toEqual({ key: "why.notOutdated" });
    expect(diskRefusal("attach", { ...resting, state: "EXPANDING" })).toEqual({ key: "why.state", state: "EXPANDING" });
  });
  it("holds for all of several disks", () => {
    expect(disksRefusal("attach", [], 10)).toEqual({ key: "why.nothingSelected" });
    expect(disksRefusal("attach", [resting, { ...resting, state: "ATTACHED" }], 10)).toEqual({ key: "why.attached" });
    expect(disksRefusal("attach", [resting, resting], 1)).toEqual({ key: "why.tooMany" });
    expect(disksRefusal("attach", [resting, resting], 2)).toBeNull();
  });
});

describe("limits of a disk", () => {
  it("grow with its size to those of its type", () => {
    expect(limitsOf("CLOUD_PREMIUM", 20)).toEqual({ iops: 1_960, mibPerS: 103 });
    expect(limitsOf("CLOUD_PREMIUM", 32_000)).toEqual({ iops: 6_000, mibPerS: 150 });
    expect(limitsOf("CLOUD_TSSD", 100)).toEqual({ iops: 14_000, mibPerS: 170 });
    expect([limitsOf("CLOUD_FUTURE", 20), limitsOf("CLOUD_SSD", Number.NaN)]).toEqual([null, null]);
  });
});

describe("groups", () => {
  it("are rolled back to and deleted only at rest", () => {
    expect([groupRefusal("NORMAL"), groupRefusal("CREATING"), groupRefusal("ROLLBACKING")]).toEqual([
      null, { key: "why.creating" }, { key: "why.rollingBack" },
    ]);
  });
});

describe("proofs", () => {
  it("are for administrators, of whole snapshots, one at a time", () => {
    expect(proofRefusal({ state: "NORMAL", proving: false }, true, true)).toBeNull();
    expect(proofRefusal({ state: "NORMAL", proving: false }, false, true)).toEqual({ key: "why.notAdmin" });
    expect(proofRefusal({ state: "NORMAL", proving: false }, true, false)).toEqual({ key: "why.proofsOff" });
    expect(proofRefusal({ state: "CREATING", proving: false }, true, true)).toEqual({ key: "why.creating" });
    expect(proofRefusal({ state: "NORMAL", proving: true }, true, true)).toEqual({ key: "why.proving" });
  });
});

describe("snapshots", () => {
  const ready: SnapshotFacts = { state: "NORMAL", systemDisk: false, admin: true, size: 20, disk: { ...resting, size: 20 } };
  it("can be used when ready", () => {
    for (const action of ["createDisk", "rollBack", "rename", "keep", "export", "remove"] as const) {
      expect(snapshotRefusal(action, ready)).toBeNull();
    }
    expect(snapshotRefusal("export", { ...ready, admin: false })).toEqual({ key: "why.notAdmin" });
  });
  it("cannot be used or deleted while they are created", () => {
    const creating = { ...ready, state: "CREATING" } as const;
    for (const action of ["createDisk", "rollBack", "export", "remove"] as const) {
      expect(snapshotRefusal(action, creating)).toEqual({ key: "why.creating" });
    }
    expect(snapshotRefusal("rename", creating)).toBeNull();
  });
  it("are not deleted while a disk is rolled back to them, but disks are made from them", () => {
    const used = { ...ready, state: "ROLLBACKING" } as const;
    expect(snapshotRefusal("remove", used)).toEqual({ key: "why.rollingBack" });
    expect(snapshotRefusal("createDisk", used)).toBeNull();
  });
  it("are rolled back to only on their own disk, detached, of the same size", () => {
    expect(snapshotRefusal("rollBack", { ...ready, disk: null })).toEqual({ key: "why.diskGone" });
    expect(snapshotRefusal("rollBack", { ...ready, disk: undefined })).toBeNull();
    expect(snapshotRefusal("rollBack", { ...ready, disk: { ...resting, size: 30 } })).toEqual({ key: "why.sizeDiffers" });
    expect(snapshotRefusal("rollBack", { ...ready, disk: { ...resting, state: "ATTACHED", size: 20 } })).toEqual({ key: "why.attached" });
    expect(snapshotRefusal("rollBack", { ...ready, disk: { ...resting, hydrating: true, size: 20 } })).toEqual({ key: "why.hydrating" });
  });
  it("of system disks make no disks", () => {
    expect(snapshotRefusal("createDisk", { ...ready, systemDisk: true })).toEqual({ key: "why.systemDisk" });
  });
});
