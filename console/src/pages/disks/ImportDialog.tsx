import { useState } from "react";

import { asks } from "../../commands/asked";
import { useAsked } from "../../parts/asked";
import { Dialog } from "../../parts/Dialog";
import { ChoiceField, NameField, nameIsTooLong, TextField } from "../../parts/Field";
import { useWords } from "../../words";

const FORMATS = ["", "qcow2", "raw", "vmdk", "vhdx", "vhd", "vdi", "qed", "parallels"] as const;

/** Makes a disk of an image file of the server's host. */
export function ImportDialog({ onClose }: { readonly onClose: () => void }) {
  const { t } = useWords();
  const [path, setPath] = useState("");
  const [format, setFormat] = useState("");
  const [name, setName] = useState("");
  const [size, setSize] = useState("");
  const begin = useAsked("drystone", "ImportDisk", onClose, ({ DiskId }) => t("import.begun", { id: DiskId }));
  const long = nameIsTooLong(name, "disk");
  const sizeIsRight = size === "" || (Number.isInteger(Number(size)) && Number(size) >= 1);
  const parameters = {
    Path: path.trim(),
    ...(format === "" ? {} : { Format: format }),
    ...(name === "" ? {} : { DiskName: name }),
    ...(size === "" ? {} : { DiskSize: Number(size) }),
  };
  return (
    <Dialog {...begin.dialog} title={t("import.title")} onSubmit={() => begin.send(parameters)} shows={asks("drystone", "ImportDisk", parameters)} submitText={t("import.button")} ready={path.trim() !== "" && !long && sizeIsRight}>
      <TextField label={t("export.path")} value={path} onChange={setPath} placeholder="/srv/image.qcow2" hint={t("import.hint")} />
      <ChoiceField label={t("export.format")} value={format} onChange={setFormat} options={FORMATS.map((one) => ({ value: one, text: one === "" ? t("import.anyFormat") : one }))} />
      <div className="pair">
        <NameField value={name} onChange={setName} kind="disk" optional />
        <TextField label={t("disk.size")} type="number" value={size} onChange={setSize} suffix="GiB" placeholder={t("import.anySize")} />
      </div>
    </Dialog>
  );
}
