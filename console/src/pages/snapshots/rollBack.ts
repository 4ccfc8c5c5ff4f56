// Rolling a disk back with a snapshot of its present state before: two actions, in the order that loses nothing.
import { RefusedError, type call as callServer } from "../../api/client";

export type RollBackStep = { readonly name: "asked" | "applying" } | { readonly name: "safety"; readonly percent: number };

const LOOK_MS = 700;
/** The server still tidies up for some moments after a snapshot is NORMAL. */
const APPLY_TRIES_MAX = 20;

type Options = {
  readonly snapshotId: string;
  readonly diskId: string;
  /** Name of the snapshot to be made first; null for none. */
  readonly safetyName: string | null;
  readonly call: typeof callServer;
  readonly pause: (ms: number) => Promise<void>;
  readonly onStep: (step: RollBackStep) => void;
  /** Aborted when the user leaves: nothing is rolled back then. */
  readonly signal: AbortSignal;
};

/** Raises RefusedError; the disk is rolled back only after the safety snapshot, if one is wanted, is NORMAL. */
export async function rollBack({ snapshotId, diskId, safetyName, call, pause, onStep, signal }: Options): Promise<void> {
  if (safetyName !== null) {
    const name = [...safetyName].slice(0, 60).join("");
    const { SnapshotId } = await call("cbs", "CreateSnapshot", { DiskId: diskId, SnapshotName: name });
    for (;;) {
      signal.throwIfAborted();
      const found = (await call("cbs", "DescribeSnapshots", { SnapshotIds: [SnapshotId] })).SnapshotSet[0];
      // The row of a snapshot that fails goes.
      if (found === undefined) throw new RefusedError("Console.SafetySnapshotFailed", "", "");
      if (found.SnapshotState === "NORMAL") break;
      onStep({ name: "safety", percent: found.Percent });
      await pause(LOOK_MS);
    }
  }
  onStep({ name: "applying" });
  for (let tried = 1; ; tried += 1) {
    signal.throwIfAborted();
    try {
      await call("cbs", "ApplySnapshot", { SnapshotId: snapshotId, DiskId: diskId });
      return;
    } catch (error) {
      const tidying = error instanceof RefusedError && error.code === "ResourceUnavailable.SnapshotCreating";
      if (!tidying || safetyName === null || tried === APPLY_TRIES_MAX) throw error;
      await pause(LOOK_MS);
    }
  }
}
