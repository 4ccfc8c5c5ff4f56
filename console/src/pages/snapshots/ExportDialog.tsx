import { useState } from "react";

import { type SnapshotRow } from "../../api/queries";
import { asks } from "../../commands/asked";
import { useAsked } from "../../parts/asked";
import { NameAndId } from "../../parts/Copyable";
import { Dialog } from "../../parts/Dialog";
import { ChoiceField, TextField } from "../../parts/Field";
import { useWords } from "../../words";

/** Writes what a snapshot holds into a new file of the server's host. */
export function ExportDialog({ row, onClose }: { readonly row: SnapshotRow; readonly onClose: () => void }) {
  const { t } = useWords();
  const { SnapshotId, SnapshotName } = row.snapshot;
  const [path, setPath] = useState("");
  const [format, setFormat] = useState("qcow2");
  const begin = useAsked("drystone", "ExportSnapshot", onClose, t("export.begun"));
  const parameters = { SnapshotId, Path: path.trim(), Format: format };
  return (
    <Dialog {...begin.dialog} title={t("export.title")} onSubmit={() => begin.send(parameters)} shows={asks("drystone", "ExportSnapshot", parameters)} submitText={t("snapAction.export")} ready={path.trim() !== ""}>
      <p>
        <NameAndId name={SnapshotName} id={SnapshotId} />
      </p>
      <TextField label={t("export.path")} value={path} onChange={setPath} placeholder={`/srv/${SnapshotId}.${format}`} hint={t("export.hint")} />
      <ChoiceField label={t("export.format")} value={format} onChange={setFormat} options={["qcow2", "raw"].map((one) => ({ value: one, text: one }))} />
    </Dialog>
  );
}
