import { useState } from "react";

import { useDisk, useSession, useSnapshotting, type SnapshotRow } from "../../api/queries";
import { NameAndId } from "../../parts/Copyable";
import { Dialog } from "../../parts/Dialog";
import { refusalText } from "../../parts/refusal";
import { detached, snapshotFacts, snapshotRefusal } from "../../rules/rules";
import { useWords } from "../../words";
import { CreateDiskDialog } from "../disks/CreateDiskDialog";
import { RollBackDialog } from "./RollBackDialog";

const WAYS = ["newDisk", "inPlace"] as const;
type Way = (typeof WAYS)[number];

/** Where a snapshot is restored to; then what that way asks for. */
export function RestoreDialog({ row, onClose }: { readonly row: SnapshotRow; readonly onClose: () => void }) {
  const { t } = useWords();
  const { snapshot } = row;
  const [way, setWay] = useState<Way>("newDisk");
  const [chosen, setChosen] = useState(false);
  const disk = useDisk(snapshot.DiskId);
  const admin = useSession().data?.Admin === true;
  const refusal = snapshotRefusal("rollBack", snapshotFacts(row, detached(disk.data), useSnapshotting(), admin));
  const refused = { newDisk: null, inPlace: refusal };
  if (chosen) return way === "newDisk" ? <CreateDiskDialog from={row} onClose={onClose} /> : <RollBackDialog row={row} onClose={onClose} />;
  return (
    <Dialog title={t("restore.title")} onClose={onClose} onSubmit={() => setChosen(true)} shows={null} submitText={t("restore.next")} ready={refused[way] === null}>
      <p>
        <NameAndId name={snapshot.SnapshotName} id={snapshot.SnapshotId} />
      </p>
      <fieldset className="field ways">
        <legend className="field__label">{t("restore.where")}</legend>
        {WAYS.map((one) => {
          const why = refused[one];
          return (
            <label className="way" key={one}>
              <input type="radio" name="way" value={one} checked={way === one} disabled={why !== null} onChange={() => setWay(one)} />
              <span>
                <strong>{t(`restore.${one}`)}</strong>
                <small>{why === null ? t(`restore.${one}Text`) : refusalText(t, why)}</small>
              </span>
            </label>
          );
        })}
      </fieldset>
    </Dialog>
  );
}
