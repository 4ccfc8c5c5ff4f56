// Rolling disks back with snapshots of their present state before: actions in the order that loses nothing.
import { RefusedError, type call as callServer } from "../../api/client";
import type { Disk } from "../../api/types";

export type RollBackStep = { readonly name: "asked" | "detaching" | "applying" | "attaching" } | { readonly name: "safety"; readonly percent: number };

const LOOK_MS = 700;
/** The server still tidies up for some moments after a snapshot is NORMAL. */
const APPLY_TRIES_MAX = 20;
/** How ApplySnapshot and ApplySnapshotGroup say so. */
const TIDYING: ReadonlySet<string> = new Set(["ResourceUnavailable.SnapshotCreating", "UnsupportedOperation.StateError"]);

/** `detach`: whether it is attached still, and not detached by an earlier try; `attachAgain`: whether the instance gets it back. */
export type Around = { readonly diskId: string; readonly instanceId: string; readonly detach: boolean; readonly attachAgain: boolean };

type Options = {
  readonly diskIds: readonly string[];
  /** Name of the snapshots to be made first, one of each disk; null for none. */
  readonly safetyName: string | null;
  /** Begins the rollback of all of the disks. */
  readonly apply: () => Promise<unknown>;
  /** A disk that is detached before, and attached again to its instance after; null for none. */
  readonly around?: Around | null;
  readonly call: typeof callServer;
  readonly pause: (ms: number) => Promise<void>;
  readonly onStep: (step: RollBackStep) => void;
  /** Aborted when the user leaves: nothing is rolled back then. */
  readonly signal: AbortSignal;
};

/** Waits until a disk is in another state than these, and returns it. */
async function leaves(diskId: string, states: readonly string[], { call, pause, signal }: Pick<Options, "call" | "pause" | "signal">): Promise<Disk> {
  for (;;) {
    signal.throwIfAborted();
    const disk = (await call("cbs", "DescribeDisks", { DiskIds: [diskId], Limit: 1 })).DiskSet[0];
    if (disk === undefined) throw new RefusedError("InvalidDiskId.NotFound", "", "");
    if (!states.includes(disk.DiskState)) return disk;
    await pause(LOOK_MS);
  }
}

/** Raises RefusedError; the disks are rolled back only after the safety snapshots, if any are wanted, are NORMAL. */
export async function rollBack({ diskIds, safetyName, apply, around = null, call, pause, onStep, signal }: Options): Promise<void> {
  if (safetyName !== null) {
    const name = [...safetyName].slice(0, 60).join("");
    const ids: string[] = [];
    for (const DiskId of diskIds) {
      signal.throwIfAborted();
      ids.push((await call("cbs", "CreateSnapshot", { DiskId, SnapshotName: name })).SnapshotId);
    }
    for (;;) {
      signal.throwIfAborted();
      const found = (await call("cbs", "DescribeSnapshots", { SnapshotIds: ids, Limit: ids.length })).SnapshotSet;
      // The row of a snapshot that fails goes.
      if (found.length < ids.length) throw new RefusedError("Console.SafetySnapshotFailed", "", "");
      if (found.every((one) => one.SnapshotState === "NORMAL")) break;
      onStep({ name: "safety", percent: Math.floor(found.reduce((sum, one) => sum + one.Percent, 0) / found.length) });
      await pause(LOOK_MS);
    }
  }
  if (around?.detach === true) {
    signal.throwIfAborted();
    onStep({ name: "detaching" });
    await call("cbs", "DetachDisks", { DiskIds: [around.diskId] });
    const disk = await leaves(around.diskId, ["DETACHING"], { call, pause, signal });
    // One that cannot be detached stays attached, and says why.
    if (disk.DiskState !== "UNATTACHED") throw new RefusedError("Console.NotDetached", disk.ErrorPrompt, "");
  }
  onStep({ name: "applying" });
  for (let tried = 1; ; tried += 1) {
    signal.throwIfAborted();
    try {
      await apply();
      break;
    } catch (error) {
      const tidying = error instanceof RefusedError && TIDYING.has(error.code);
      if (!tidying || safetyName === null || tried === APPLY_TRIES_MAX) throw error;
      await pause(LOOK_MS);
    }
  }
  if (around?.attachAgain !== true) return;
  const disk = await leaves(around.diskId, ["ROLLBACKING"], { call, pause, signal });
  // A disk that could not be rolled back stays detached: its owner decides.
  if (disk.ErrorPrompt !== "") throw new RefusedError("Console.RollbackFailed", disk.ErrorPrompt, "");
  onStep({ name: "attaching" });
  await call("cbs", "AttachDisks", { InstanceId: around.instanceId, DiskIds: [around.diskId] });
}
