// What was held still for a snapshot, out of the lines that its record keeps (service/calls/quiescing.py writes them).
import type { SnapshotRecord } from "../api/types";

type Taken = Pick<SnapshotRecord, "Transcript" | "QuiesceMs">;

const FAILED = /^freeze .* failed, |^nothing was held: |^not held until the instant/;

/** What the profile asks for and did not get, a line each; empty where nothing was asked, or all of it was held. */
export const missed = (record: Taken | undefined): readonly string[] => record?.Transcript.filter((line) => FAILED.test(line)) ?? [];

/** How long applications and file systems were held, ms; null where nothing was held at the instant. */
export function heldMs(record: Taken | undefined): number | null {
  const held = record?.Transcript.some((line) => /^freeze .* ok, /.test(line)) && record.Transcript.some((line) => line.startsWith("held for "));
  return held ? (record?.QuiesceMs ?? null) : null;
}
