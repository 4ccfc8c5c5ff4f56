import { useState } from "react";
import { useNavigate } from "react-router";

import { useChange, useSnapshot, type DiskRow } from "../../api/queries";
import type { Tag } from "../../api/types";
import { asks } from "../../commands/asked";
import { Dialog } from "../../parts/Dialog";
import { ExpiryField, expiryIsRight, NameField, nameIsTooLong, sentTags, TagsField } from "../../parts/Field";
import { Facts } from "../../parts/Page";
import { SnapshotTag } from "../../parts/StateTag";
import { bytes } from "../../units/bytes";
import { duration } from "../../units/durations";
import { deadlineIn } from "../../units/times";
import { useWords } from "../../words";
import { DiskList } from "../disks/DiskList";
import { Missed } from "./Missed";
import { ProfileNotes } from "../quiesce/Profile";

type Props = { readonly rows: readonly DiskRow[]; readonly onClose: () => void };

/** A name, until when it is kept, tags; then the new snapshot with its progress, in the same place. */
export function CreateSnapshotDialog({ rows, onClose }: Props) {
  const { t } = useWords();
  const [name, setName] = useState("");
  const [expiry, setExpiry] = useState("");
  const [tags, setTags] = useState<readonly Tag[]>([]);
  const create = useChange("cbs", "CreateSnapshot");
  const createGroup = useChange("cbs", "CreateSnapshotGroup");
  const navigate = useNavigate();
  const disk = rows[0]?.disk;
  if (disk === undefined) return null;
  const group = rows.length > 1;
  const kind = group ? "group" : "snapshot";
  const long = nameIsTooLong(name, kind);
  const tagged = sentTags(tags).length === 0 ? {} : { Tags: sentTags(tags) };
  const ofGroup = { DiskIds: rows.map((row) => row.disk.DiskId), ...tagged, ...(name === "" ? {} : { SnapshotGroupName: name }) };
  const ofOne = () => ({
    DiskId: disk.DiskId,
    ...tagged,
    ...(name === "" ? {} : { SnapshotName: name }),
    ...(expiry === "" ? {} : { Deadline: deadlineIn(Number(expiry), new Date()) }),
  });
  const submit = () => {
    if (group) {
      createGroup.mutate(ofGroup, {
        onSuccess: (answer) => {
          onClose();
          void navigate(`/groups/${answer.SnapshotGroupId}`);
        },
      });
      return;
    }
    create.mutate(ofOne());
  };
  if (create.data !== undefined) return <CreatedDialog id={create.data.SnapshotId} onClose={onClose} />;
  return (
    <Dialog
      title={group ? t("newGroup.button") : t("diskAction.createSnapshot")}
      onClose={onClose}
      onSubmit={submit}
      shows={!expiryIsRight(expiry) ? null : group ? asks("cbs", "CreateSnapshotGroup", ofGroup) : asks("cbs", "CreateSnapshot", ofOne())}
      submitText={t("newSnap.submit")}
      ready={!long && expiryIsRight(expiry)}
      busy={create.isPending || createGroup.isPending}
      error={create.error ?? createGroup.error}
    >
      <DiskList rows={rows} />
      <p className="field__hint">{group ? t("newSnap.groupHint") : t("newSnap.hint")}</p>
      <NameField label={t("newSnap.name")} value={name} onChange={setName} kind={kind} optional />
      {!group && <ExpiryField value={expiry} onChange={setExpiry} />}
      <TagsField tags={tags} onChange={setTags} />
      <ProfileNotes disks={rows.map((row) => row.disk)} />
    </Dialog>
  );
}

function CreatedDialog({ id, onClose }: { readonly id: string; readonly onClose: () => void }) {
  const { t } = useWords();
  const navigate = useNavigate();
  const answer = useSnapshot(id);
  const row = answer.data;
  const done = row?.snapshot.SnapshotState === "NORMAL";
  const record = row?.record;
  return (
    <Dialog
      title={row === null ? t("newSnap.failedTitle") : done ? t("newSnap.doneTitle") : t("newSnap.runningTitle")}
      onClose={onClose}
      onSubmit={() => void navigate(row === null ? "/operations?state=FAILED" : `/snapshots/${id}`)}
      shows={null}
      submitText={row === null ? t("newSnap.showOperations") : t("newSnap.show")}
      error={answer.error}
      begun
    >
      {row === null ? (
        <p className="note note--warn">{t("newSnap.failed")}</p>
      ) : (
        <>
          <p>{done ? t("newSnap.done") : t("newSnap.running")}</p>
          <Missed record={record} />
          <Facts
            facts={[
              { name: t("snap.id"), value: <code>{id}</code> },
              { name: t("common.state"), value: row ? <SnapshotTag row={row} /> : "–" },
              { name: t("snap.stored"), value: bytes(record?.StoredBytes) },
              { name: t("snap.freeze"), value: duration(record?.FreezeMs) },
            ]}
          />
        </>
      )}
    </Dialog>
  );
}
