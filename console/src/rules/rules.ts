// Which action is allowed when: the server's own rules (docs/states.md), as data. The server decides all the same;
// this only keeps the console from offering what would be refused, and says why.
import type { DiskState, SnapshotState } from "../api/answers";
import type { DiskRow, SnapshotRow } from "../api/queries";

/** Why not: a key of words, and what to fill in. */
export type Refusal = { readonly key: RefusalKey; readonly state?: string };

type RefusalKey =
  | "why.state" | "why.attached" | "why.notAttached" | "why.snapshotting" | "why.hydrating" | "why.notPortable" | "why.notOutdated"
  | "why.recycled" | "why.creating" | "why.rollingBack" | "why.diskGone" | "why.sizeDiffers" | "why.systemDisk"
  | "why.nothingSelected" | "why.notOneInstance" | "why.tooMany" | "why.notAdmin" | "why.proofsOff" | "why.proving";

/** What of a disk matters beside its state. */
export type DiskFacts = {
  readonly state: DiskState;
  readonly snapshotting: boolean;
  readonly hydrating: boolean;
  readonly portable: boolean;
  /** Its image is in the form of an earlier version. */
  readonly outdated: boolean;
};

export type DiskAction =
  | "createSnapshot" | "createGroup" | "audit" | "attach" | "detach" | "resize" | "rename" | "initialize"
  | "rewrite" | "terminate" | "rollBack";

type Condition = "notSnapshotting" | "notHydrating" | "portable" | "outdated";

type DiskRule = { readonly states: readonly DiskState[]; readonly conditions: readonly Condition[] };

const ANY: readonly DiskState[] = [
  "UNATTACHED", "ATTACHING", "ATTACHED", "DETACHING", "EXPANDING", "ROLLBACKING", "TORECYCLE", "DUMPING",
];

export const DISK_RULES: Readonly<Record<DiskAction, DiskRule>> = {
  createSnapshot: { states: ["UNATTACHED", "ATTACHED"], conditions: ["notSnapshotting"] },
  createGroup: { states: ["ATTACHED"], conditions: ["notSnapshotting", "notHydrating"] },
  audit: { states: ["UNATTACHED", "ATTACHED"], conditions: ["notSnapshotting"] },
  attach: { states: ["UNATTACHED"], conditions: ["portable"] },
  detach: { states: ["ATTACHED"], conditions: [] },
  resize: { states: ["UNATTACHED", "ATTACHED"], conditions: ["notSnapshotting"] },
  rename: { states: ANY, conditions: [] },
  initialize: { states: ["UNATTACHED"], conditions: ["notSnapshotting", "notHydrating"] },
  rewrite: { states: ["UNATTACHED"], conditions: ["outdated", "notSnapshotting", "notHydrating"] },
  terminate: { states: ["UNATTACHED", "TORECYCLE"], conditions: ["notSnapshotting"] },
  rollBack: { states: ["UNATTACHED"], conditions: ["notSnapshotting", "notHydrating"] },
};

const CONDITIONS: Readonly<Record<Condition, { readonly met: (disk: DiskFacts) => boolean; readonly why: RefusalKey }>> = {
  notSnapshotting: { met: (disk) => !disk.snapshotting, why: "why.snapshotting" },
  notHydrating: { met: (disk) => !disk.hydrating, why: "why.hydrating" },
  outdated: { met: (disk) => disk.outdated, why: "why.notOutdated" },
  portable: { met: (disk) => disk.portable, why: "why.notPortable" },
};

/** Returns why an action on a disk would be refused; null if it would not. */
export function diskRefusal(action: DiskAction, disk: DiskFacts): Refusal | null {
  const rule = DISK_RULES[action];
  if (!rule.states.includes(disk.state)) {
    if (disk.state === "ATTACHED") return { key: "why.attached" };
    if (disk.state === "UNATTACHED") return { key: "why.notAttached" };
    if (disk.state === "TORECYCLE") return { key: "why.recycled" };
    return { key: "why.state", state: disk.state };
  }
  const broken = rule.conditions.map((name) => CONDITIONS[name]).find((condition) => !condition.met(disk));
  return broken ? { key: broken.why } : null;
}

export const diskFacts = (row: DiskRow, snapshotting: ReadonlySet<string>): DiskFacts => ({
  state: row.disk.DiskState,
  snapshotting: snapshotting.has(row.disk.DiskId),
  hydrating: row.detail?.Hydrating === true,
  portable: row.disk.Portable,
  outdated: row.detail?.NeedsRewrite === true,
});

/** Returns why an action on several disks would be refused: the server does all of them or none. */
export function disksRefusal(action: DiskAction, disks: readonly DiskFacts[], most: number): Refusal | null {
  if (disks.length === 0) return { key: "why.nothingSelected" };
  if (disks.length > most) return { key: "why.tooMany" };
  return disks.map((disk) => diskRefusal(action, disk)).find((refusal) => refusal !== null) ?? null;
}

type SnapshotAction = "createDisk" | "rollBack" | "rename" | "keep" | "export" | "remove";

/** What of a snapshot and its disk matters. */
export type SnapshotFacts = {
  readonly state: SnapshotState;
  readonly systemDisk: boolean;
  /** Whether who looks is an administrator. */
  readonly admin: boolean;
  /** GiB. */
  readonly size: number;
  /** Null: the disk is gone. Undefined: not known (yet). */
  readonly disk: (DiskFacts & { readonly size: number }) | null | undefined;
};

type SnapshotRule = { readonly states: readonly SnapshotState[]; readonly dataDisk: boolean; readonly toItsDisk: boolean; readonly admin?: boolean };

const SNAPSHOT_RULES: Readonly<Record<SnapshotAction, SnapshotRule>> = {
  createDisk: { states: ["NORMAL", "ROLLBACKING"], dataDisk: true, toItsDisk: false },
  rollBack: { states: ["NORMAL", "ROLLBACKING"], dataDisk: false, toItsDisk: true },
  rename: { states: ["CREATING", "NORMAL", "ROLLBACKING"], dataDisk: false, toItsDisk: false },
  keep: { states: ["CREATING", "NORMAL", "ROLLBACKING"], dataDisk: false, toItsDisk: false },
  export: { states: ["NORMAL", "ROLLBACKING"], dataDisk: false, toItsDisk: false, admin: true },
  remove: { states: ["NORMAL"], dataDisk: false, toItsDisk: false },
};

/** Returns why an action on a snapshot would be refused; null if it would not, as far as is known. */
export function snapshotRefusal(action: SnapshotAction, snapshot: SnapshotFacts): Refusal | null {
  const rule = SNAPSHOT_RULES[action];
  if (rule.admin === true && !snapshot.admin) return { key: "why.notAdmin" };
  if (!rule.states.includes(snapshot.state)) {
    return { key: snapshot.state === "CREATING" ? "why.creating" : "why.rollingBack" };
  }
  if (rule.dataDisk && snapshot.systemDisk) return { key: "why.systemDisk" };
  if (!rule.toItsDisk || snapshot.disk === undefined) return null;
  if (snapshot.disk === null) return { key: "why.diskGone" };
  const refusal = diskRefusal("rollBack", snapshot.disk);
  if (refusal !== null) return refusal;
  return snapshot.disk.size === snapshot.size ? null : { key: "why.sizeDiffers" };
}

/** A disk as it is once it has been detached, which is done on the way. */
export const detached = (row: DiskRow | null | undefined): DiskRow | null | undefined =>
  row?.disk.DiskState === "ATTACHED" ? { ...row, disk: { ...row.disk, DiskState: "UNATTACHED" } } : row;

export const snapshotFacts = (
  row: SnapshotRow,
  disk: DiskRow | null | undefined,
  snapshotting: ReadonlySet<string>,
  admin = false,
): SnapshotFacts => ({
  admin,
  state: row.snapshot.SnapshotState,
  systemDisk: row.snapshot.DiskUsage === "SYSTEM_DISK",
  size: row.snapshot.DiskSize,
  disk: disk ? { ...diskFacts(disk, snapshotting), size: disk.disk.DiskSize } : disk,
});

/** Returns why an action on a group would be refused; which of its disks can be rolled back is a question of each. */
export function groupRefusal(state: SnapshotState): Refusal | null {
  if (state === "NORMAL") return null;
  return { key: state === "CREATING" ? "why.creating" : "why.rollingBack" };
}

/** Returns why a proof that a snapshot opens would be refused or makes no sense now. */
export function proofRefusal(snapshot: { readonly state: SnapshotState; readonly proving: boolean }, admin: boolean, allowed: boolean): Refusal | null {
  if (!admin) return { key: "why.notAdmin" };
  if (!allowed) return { key: "why.proofsOff" };
  if (snapshot.state === "CREATING") return { key: "why.creating" };
  return snapshot.proving ? { key: "why.proving" } : null;
}

/** What one call takes (CBS). */
export const ATTACH_MAX = 10;
export const TERMINATE_MAX = 100;
export const DELETE_SNAPSHOTS_MAX = 100;
