import { useState } from "react";
import { Link, useNavigate, useParams } from "react-router";

import { useGroup, useSnapshots, type GroupRow } from "../../api/queries";
import { ActionButton } from "../../parts/ActionButton";
import { NameAndId, Ref, tagsText } from "../../parts/Copyable";
import { ErrorNote } from "../../parts/ErrorNote";
import { Card, Facts, Gone, Loading, OneHead, Pending } from "../../parts/Page";
import { GroupTag, SnapshotTag } from "../../parts/StateTag";
import { Time } from "../../parts/Time";
import { bytes, gib } from "../../units/bytes";
import { duration } from "../../units/durations";
import { named, useWords } from "../../words";
import { GroupDialog, useGroupEntries, type OpenGroupDialog } from "./GroupDialogs";

export default function GroupPage() {
  const { t } = useWords();
  const navigate = useNavigate();
  const id = useParams()["id"] ?? "";
  const answer = useGroup(id);
  const [dialog, setDialog] = useState<OpenGroupDialog | null>(null);
  const entries = useGroupEntries(setDialog);
  const back = { to: "/groups", text: t("nav.groups") };
  if (answer.data === null) return <Gone title={t("group.gone", { id })} text={t("group.goneText")} back={back} />;
  if (answer.data === undefined) return <Pending answer={answer} />;
  const row = answer.data;
  return (
    <>
      <OneHead
        name={row.group.SnapshotGroupName}
        id={id}
        what={t("group.id")}
        back={back}
        state={<GroupTag row={row} />}
        actions={entries(row).map((entry) => (
          <ActionButton key={entry.text} refusal={entry.refusal ?? null} onClick={entry.onSelect}>
            {entry.text}
          </ActionButton>
        ))}
      />
      <ErrorNote error={answer.error} />
      <About row={row} />
      <Members row={row} />
      <GroupDialog open={dialog} onClose={() => setDialog(null)} onRemoved={() => void navigate("/groups", { replace: true })} />
    </>
  );
}

function About({ row }: { readonly row: GroupRow }) {
  const { t } = useWords();
  const { group, record } = row;
  return (
    <Card title={t("group.about")}>
      <Facts
        facts={[
          { name: t("group.instance"), value: record ? <Ref id={record.InstanceId} /> : "–" },
          { name: t("snap.takenAt"), value: <Time text={record?.TakenAt ?? group.CreateTime} exact /> },
          { name: t("snap.freeze"), hint: t("group.pauseHint"), value: duration(record?.PauseMs) },
          { name: t("group.members"), value: group.SnapshotIdSet.length },
          { name: t("snap.kept"), value: group.IsPermanent ? t("expiry.never") : <Time text={group.DeadlineTime} exact /> },
          { name: t("field.tags"), value: tagsText(record?.Tags ?? []) },
        ]}
      />
    </Card>
  );
}

function Members({ row }: { readonly row: GroupRow }) {
  const { t } = useWords();
  const answer = useSnapshots(row.group.SnapshotIdSet);
  return (
    <Card title={t("group.membersTitle")}>
      <ErrorNote error={answer.error} />
      {answer.data === undefined && answer.error === null && row.group.SnapshotIdSet.length > 0 && <Loading />}
      <ul className="rows">
        {answer.data?.rows.map((member) => {
          const { snapshot, record } = member;
          return (
            <li key={snapshot.SnapshotId}>
              <Link className="row-link" to={`/snapshots/${snapshot.SnapshotId}`}>
                <NameAndId name={snapshot.SnapshotName} id={snapshot.SnapshotId} />
              </Link>
              <span className="stacked">
                <Ref id={snapshot.DiskId} />
                <small>{gib(snapshot.DiskSize)}</small>
              </span>
              <SnapshotTag row={member} />
              <span className="stacked">
                <span className="number">{bytes(record?.StoredBytes)}</span>
                <small>{record?.Consistency ? named(t, "consistency", record.Consistency) : ""}</small>
              </span>
            </li>
          );
        })}
      </ul>
    </Card>
  );
}
