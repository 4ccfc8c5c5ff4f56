// Rolling disks back with snapshots of their present state before: actions in the order that loses nothing.
import { RefusedError, type call as callServer } from "../../api/client";

export type RollBackStep = { readonly name: "asked" | "applying" } | { readonly name: "safety"; readonly percent: number };

const LOOK_MS = 700;
/** The server still tidies up for some moments after a snapshot is NORMAL. */
const APPLY_TRIES_MAX = 20;
/** How ApplySnapshot and ApplySnapshotGroup say so. */
const TIDYING: ReadonlySet<string> = new Set(["ResourceUnavailable.SnapshotCreating", "UnsupportedOperation.StateError"]);

type Options = {
  readonly diskIds: readonly string[];
  /** Name of the snapshots to be made first, one of each disk; null for none. */
  readonly safetyName: string | null;
  /** Begins the rollback of all of the disks. */
  readonly apply: () => Promise<unknown>;
  readonly call: typeof callServer;
  readonly pause: (ms: number) => Promise<void>;
  readonly onStep: (step: RollBackStep) => void;
  /** Aborted when the user leaves: nothing is rolled back then. */
  readonly signal: AbortSignal;
};

/** Raises RefusedError; the disks are rolled back only after the safety snapshots, if any are wanted, are NORMAL. */
export async function rollBack({ diskIds, safetyName, apply, call, pause, onStep, signal }: Options): Promise<void> {
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
  onStep({ name: "applying" });
  for (let tried = 1; ; tried += 1) {
    signal.throwIfAborted();
    try {
      await apply();
      return;
    } catch (error) {
      const tidying = error instanceof RefusedError && TIDYING.has(error.code);
      if (!tidying || safetyName === null || tried === APPLY_TRIES_MAX) throw error;
      await pause(LOOK_MS);
    }
  }
}
