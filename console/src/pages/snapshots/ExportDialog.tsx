import { useState } from "react";

import { useChange, type SnapshotRow } from "../../api/queries";
import { NameAndId } from "../../parts/Copyable";
import { Dialog } from "../../parts/Dialog";
import { ChoiceField, TextField } from "../../parts/Field";
import { useNotices } from "../../parts/Notices";
import { useWords } from "../../words";

/** Writes what a snapshot holds into a new file of the server's host. */
export function ExportDialog({ row, onClose }: { readonly row: SnapshotRow; readonly onClose: () => void }) {
  const { t } = useWords();
  const notices = useNotices();
  const { SnapshotId, SnapshotName } = row.snapshot;
  const [path, setPath] = useState("");
  const [format, setFormat] = useState("qcow2");
  const begin = useChange("drystone", "ExportSnapshot");
  const submit = () =>
    begin.mutate(
      { SnapshotId, Path: path.trim(), Format: format },
      {
        onSuccess: () => {
          notices.show({ tone: "success", title: t("export.begun") });
          onClose();
        },
      },
    );
  return (
    <Dialog title={t("export.title")} onClose={onClose} onSubmit={submit} submitText={t("snapAction.export")} ready={path.trim() !== ""} busy={begin.isPending} error={begin.error}>
      <p>
        <NameAndId name={SnapshotName} id={SnapshotId} />
      </p>
      <TextField label={t("export.path")} value={path} onChange={setPath} placeholder={`/srv/${SnapshotId}.${format}`} hint={t("export.hint")} autofocus />
      <ChoiceField label={t("export.format")} value={format} onChange={setFormat} options={["qcow2", "raw"].map((one) => ({ value: one, text: one }))} />
    </Dialog>
  );
}
