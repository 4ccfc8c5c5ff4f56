import type { ParametersOf } from "../../api/answers";
import type { DiskRow } from "../../api/queries";

/**
 * What is sent to delete disks: their snapshots go with them, stay, or, where nothing is said, do as was chosen for each
 * disk when it was created.
 *
 * @param ticked what the user said here; null: nothing. Then the disks' own choice counts, and where they differ it is left unsaid.
 */
export function terminateParameters(rows: readonly DiskRow[], ticked: boolean | null): ParametersOf<"cbs", "TerminateDisks"> {
  const own = new Set(rows.map((row) => row.disk.DeleteSnapshot === 1));
  const [first] = own;
  const wanted = ticked ?? (own.size === 1 ? first : undefined);
  return { DiskIds: rows.map((row) => row.disk.DiskId), ...(wanted === undefined ? {} : { DeleteSnapshot: wanted ? 1 : 0 }) };
}
