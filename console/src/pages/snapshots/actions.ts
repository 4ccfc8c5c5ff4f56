import { useSession, type DiskRow, type SnapshotRow } from "../../api/queries";
import type { MenuEntry } from "../../parts/Menu";
import { detached, snapshotFacts, snapshotRefusal } from "../../rules/rules";
import { useWords } from "../../words";
import type { OpenSnapshotDialog, SnapshotDialogKind } from "./SnapshotDialogs";

export const SNAPSHOT_KINDS = ["restore", "createDisk", "rollBack", "rename", "keep", "export", "remove"] as const;
const DANGEROUS: ReadonlySet<string> = new Set(["rollBack", "remove"]);

/** Every action on a snapshot, with the reason why it would be refused now. */
export function useSnapshotEntries(
  row: SnapshotRow,
  disk: DiskRow | null | undefined,
  snapshotting: ReadonlySet<string>,
  open: (dialog: OpenSnapshotDialog) => void,
): readonly (MenuEntry & { readonly kind: SnapshotDialogKind })[] {
  const { t } = useWords();
  const admin = useSession().data?.Admin === true;
  // Rolling back detaches the disk itself.
  const facts = snapshotFacts(row, detached(disk), snapshotting, admin);
  return SNAPSHOT_KINDS.map((kind) => ({
    kind,
    text: t(`snapAction.${kind}`),
    // Into a new disk it can be restored whatever its own disk does.
    refusal: snapshotRefusal(kind === "restore" ? "createDisk" : kind, facts),
    danger: DANGEROUS.has(kind),
    onSelect: () => open({ kind, rows: [row] }),
  }));
}
