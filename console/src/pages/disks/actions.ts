import type { DiskRow } from "../../api/queries";
import type { MenuEntry } from "../../parts/Menu";
import { diskFacts, diskRefusal } from "../../rules/rules";
import { useWords } from "../../words";
import type { DiskDialogKind, OpenDiskDialog } from "./DiskDialogs";

export const DISK_KINDS = ["createSnapshot", "audit", "attach", "detach", "resize", "rename", "rewrite", "initialize", "terminate"] as const satisfies readonly DiskDialogKind[];
const DANGEROUS: ReadonlySet<string> = new Set(["initialize", "terminate"]);

/** Every action on a disk, with the reason why it would be refused now; the first is to create a snapshot. */
export function useDiskEntries(snapshotting: ReadonlySet<string>, open: (dialog: OpenDiskDialog) => void): (row: DiskRow) => readonly (MenuEntry & { readonly kind: DiskDialogKind })[] {
  const { t } = useWords();
  return (row) =>
    DISK_KINDS.map((kind) => ({
      kind,
      text: t(`diskAction.${kind}`),
      refusal: diskRefusal(kind, diskFacts(row, snapshotting)),
      danger: DANGEROUS.has(kind),
      onSelect: () => open({ kind, rows: [row] }),
    }));
}
