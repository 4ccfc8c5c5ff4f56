import { useState } from "react";

import { useChange } from "../../api/queries";
import { Dialog } from "../../parts/Dialog";
import { ChoiceField, nameIsTooLong, TextField } from "../../parts/Field";
import { useNotices } from "../../parts/Notices";
import { useWords } from "../../words";

const FORMATS = ["", "qcow2", "raw", "vmdk", "vhdx", "vhd", "vdi", "qed", "parallels"] as const;

/** Makes a disk of an image file of the server's host. */
export function ImportDialog({ onClose }: { readonly onClose: () => void }) {
  const { t } = useWords();
  const notices = useNotices();
  const [path, setPath] = useState("");
  const [format, setFormat] = useState("");
  const [name, setName] = useState("");
  const [size, setSize] = useState("");
  const begin = useChange("drystone", "ImportDisk");
  const long = nameIsTooLong(name, "bytes");
  const sizeIsRight = size === "" || (Number.isInteger(Number(size)) && Number(size) >= 1);
  const submit = () =>
    begin.mutate(
      {
        Path: path.trim(),
        ...(format === "" ? {} : { Format: format }),
        ...(name === "" ? {} : { DiskName: name }),
        ...(size === "" ? {} : { DiskSize: Number(size) }),
      },
      {
        onSuccess: ({ DiskId }) => {
          notices.show({ tone: "success", title: t("import.begun", { id: DiskId }) });
          onClose();
        },
      },
    );
  return (
    <Dialog
      title={t("import.title")}
      onClose={onClose}
      onSubmit={submit}
      submitText={t("import.button")}
      ready={path.trim() !== "" && !long && sizeIsRight}
      busy={begin.isPending}
      error={begin.error}
    >
      <TextField label={t("export.path")} value={path} onChange={setPath} placeholder="/srv/image.qcow2" hint={t("import.hint")} autofocus />
      <ChoiceField label={t("export.format")} value={format} onChange={setFormat} options={FORMATS.map((one) => ({ value: one, text: one === "" ? t("import.anyFormat") : one }))} />
      <div className="pair">
        <TextField label={t("field.name")} value={name} onChange={setName} placeholder={t("field.optional")} error={long ? t("field.nameLong") : null} />
        <TextField label={t("disk.size")} type="number" value={size} onChange={setSize} suffix="GiB" placeholder={t("import.anySize")} />
      </div>
    </Dialog>
  );
}
