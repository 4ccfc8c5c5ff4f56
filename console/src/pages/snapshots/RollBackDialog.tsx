import { useState } from "react";

import { call } from "../../api/client";
import { useDisk, useSnapshotsOfDisk, useSnapshotting, type SnapshotRow } from "../../api/queries";
import { confirmedBy, TypedName } from "../../parts/Confirm";
import { NameAndId, shownName } from "../../parts/Copyable";
import { Dialog } from "../../parts/Dialog";
import { CheckField } from "../../parts/Field";
import { Time } from "../../parts/Time";
import { refusalText } from "../../parts/refusal";
import { snapshotFacts, snapshotRefusal } from "../../rules/rules";
import { parseTime } from "../../units/times";
import { useWords } from "../../words";
import { useRollBack } from "./useRollBack";

/** Before a disk is made what it was: what will be lost, a way back, and the disk's name to be typed. */
export function RollBackDialog({ row, onClose }: { readonly row: SnapshotRow; readonly onClose: () => void }) {
  const { t } = useWords();
  const { snapshot, record } = row;
  const disk = useDisk(snapshot.DiskId);
  const siblings = useSnapshotsOfDisk(snapshot.DiskId);
  const snapshotting = useSnapshotting();
  const [typed, setTyped] = useState("");
  const [safety, setSafety] = useState(true);
  const { act, step } = useRollBack(onClose);
  const taken = parseTime(record?.TakenAt ?? snapshot.CreateTime)?.getTime() ?? 0;
  const newer = siblings.data?.rows.filter((one) => (parseTime(one.record?.TakenAt ?? one.snapshot.CreateTime)?.getTime() ?? 0) > taken);
  const submit = () =>
    act.mutate({
      diskIds: [snapshot.DiskId],
      safetyName: safety ? t("rollback.safetyName", { name: shownName(snapshot.SnapshotName, snapshot.SnapshotId) }) : null,
      apply: () => call("cbs", "ApplySnapshot", { SnapshotId: snapshot.SnapshotId, DiskId: snapshot.DiskId }),
    });
  const refusal = act.isPending ? null : snapshotRefusal("rollBack", snapshotFacts(row, disk.data, snapshotting));
  const expected = disk.data ? confirmedBy(disk.data.disk) : null;
  return (
    <Dialog
      title={t("rollback.title")}
      onClose={onClose}
      onSubmit={submit}
      submitText={t("rollback.submit")}
      danger
      ready={refusal === null && expected !== null && typed === expected}
      busy={act.isPending}
      error={act.error ?? disk.error}
    >
      <div className="pair">
        <p>
          <small>{t("rollback.disk")}</small>
          <NameAndId name={disk.data?.disk.DiskName ?? ""} id={snapshot.DiskId} />
        </p>
        <p>
          <small>{t("rollback.to")}</small>
          <NameAndId name={snapshot.SnapshotName} id={snapshot.SnapshotId} />
        </p>
      </div>
      <div className="note note--warn">
        <strong>{t("rollback.lost")}</strong>
        <p>
          {t("rollback.lostText")} <Time text={record?.TakenAt ?? snapshot.CreateTime} exact />.{" "}
          {newer !== undefined && (newer.length === 0 ? t("rollback.noneNewer") : t("rollback.newer", { count: newer.length }))}
        </p>
      </div>
      {refusal !== null && <p className="field__error">{refusalText(t, refusal)}</p>}
      <CheckField checked={safety} onChange={setSafety}>
        {t("rollback.safety")}
      </CheckField>
      {expected !== null && <TypedName expected={expected} typed={typed} onChange={setTyped} />}
      {step.name === "safety" && <p role="status">{t("rollback.safetyRuns", { percent: step.percent })}</p>}
    </Dialog>
  );
}
