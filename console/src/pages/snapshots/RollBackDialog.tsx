
import { call } from "../../api/client";
import { useDisk, useSnapshotsOfDisk, useSnapshotting, type SnapshotRow } from "../../api/queries";
import { rollBackShown } from "../../commands/cli";
import { confirmedBy } from "../../parts/Confirm";
import { NameAndId, shownName } from "../../parts/Copyable";
import { refusalText } from "../../parts/refusal";
import { detached, snapshotFacts, snapshotRefusal } from "../../rules/rules";
import { parseTime } from "../../units/times";
import { useWords } from "../../words";
import { RollBackForm } from "./RollBackForm";
import { useRollBack } from "./useRollBack";

/** Before a disk is rolled back to a snapshot. */
export function RollBackDialog({ row, onClose }: { readonly row: SnapshotRow; readonly onClose: () => void }) {
  const { t } = useWords();
  const { snapshot, record } = row;
  const disk = useDisk(snapshot.DiskId);
  const siblings = useSnapshotsOfDisk(snapshot.DiskId);
  const snapshotting = useSnapshotting();
  const rolling = useRollBack(onClose);
  const since = record?.TakenAt ?? snapshot.CreateTime;
  const taken = parseTime(since)?.getTime() ?? 0;
  const newer = siblings.data?.rows.filter((one) => (parseTime(one.record?.TakenAt ?? one.snapshot.CreateTime)?.getTime() ?? 0) > taken);
  const refusal = snapshotRefusal("rollBack", snapshotFacts(row, detached(disk.data), snapshotting));
  return (
    <RollBackForm
      title={t("rollback.title")}
      onClose={onClose}
      rolling={rolling}
      diskIds={[snapshot.DiskId]}
      apply={() => call("cbs", "ApplySnapshot", { SnapshotId: snapshot.SnapshotId, DiskId: snapshot.DiskId })}
      showsOf={(how) => rollBackShown({ diskId: snapshot.DiskId, snapshotId: snapshot.SnapshotId, ...how })}
      to={shownName(snapshot.SnapshotName, snapshot.SnapshotId)}
      safetyText={t("rollback.safety")}
      expected={disk.data ? confirmedBy(disk.data.disk) : null}
      ready
      refusal={refusal && refusalText(t, refusal)}
      error={disk.error}
      attached={disk.data?.disk.DiskState === "ATTACHED" ? { diskId: snapshot.DiskId, instanceId: disk.data.disk.InstanceId } : null}
      lostText={t("rollback.lostText")}
      since={since}
      lostMore={newer && (newer.length === 0 ? t("rollback.noneNewer") : t("rollback.newer", { count: newer.length }))}
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
    </RollBackForm>
  );
}
