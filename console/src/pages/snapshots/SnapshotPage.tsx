import { useState } from "react";
import { Link, useNavigate, useParams } from "react-router";

import { useAnswer, useDisk, useSnapshot, useSnapshotting, type SnapshotRow } from "../../api/queries";
import { ActionButton } from "../../parts/ActionButton";
import { byKind, useAddressed } from "../../parts/addressed";
import { Ref, tagsText } from "../../parts/Copyable";
import { ErrorNote } from "../../parts/ErrorNote";
import { MoreMenu } from "../../parts/Menu";
import { Card, type Fact, Facts, Gone, Loading, OneHead, Pending } from "../../parts/Page";
import { heldMs } from "../../rules/quiesced";
import { SnapshotTag } from "../../parts/StateTag";
import { Time } from "../../parts/Time";
import { reasonText } from "../../rules/reasons";
import { bytes, gib, number } from "../../units/bytes";
import { duration } from "../../units/durations";
import { named, useWords } from "../../words";
import { useSnapshotEntries } from "./actions";
import { Missed } from "./Missed";
import { Difference } from "./Difference";
import { OpeningCard } from "./OpeningCard";
import { SnapshotDialog, type OpenSnapshotDialog } from "./SnapshotDialogs";

export default function SnapshotPage() {
  const { t } = useWords();
  const id = useParams()["id"] ?? "";
  const answer = useSnapshot(id);
  const back = { to: "/snapshots", text: t("nav.snapshots") };
  if (answer.data === null) return <Gone title={t("snap.gone", { id })} text={t("snap.goneText")} back={back} />;
  if (answer.data === undefined) return <Pending answer={answer} />;
  return (
    <>
      <SnapshotHead row={answer.data} back={back} />
      <ErrorNote error={answer.error} />
      <Missed record={answer.data.record} />
      <div className="columns">
        <About row={answer.data} />
        <HowTaken row={answer.data} />
      </div>
      {answer.data.snapshot.SnapshotState !== "CREATING" && <OpeningCard row={answer.data} />}
      {answer.data.snapshot.SnapshotState !== "CREATING" && <Changed row={answer.data} />}
    </>
  );
}

function SnapshotHead({ row, back }: { readonly row: SnapshotRow; readonly back: { readonly to: string; readonly text: string } }) {
  const { t } = useWords();
  const navigate = useNavigate();
  const { snapshot } = row;
  const disk = useDisk(snapshot.DiskId);
  const snapshotting = useSnapshotting();
  const [dialog, setDialog] = useState<OpenSnapshotDialog | null>(null);
  const entries = useSnapshotEntries(row, disk.data, snapshotting, setDialog);
  useAddressed(disk.data === undefined ? undefined : byKind(entries));
  const [restore, ...more] = entries;
  return (
    <>
      <OneHead
        name={snapshot.SnapshotName}
        id={snapshot.SnapshotId}
        what={t("snap.id")}
        back={back}
        state={<SnapshotTag row={row} />}
        actions={
          <>
            {restore && (
              <ActionButton theme="primary" refusal={restore.refusal ?? null} onClick={restore.onSelect}>
                {restore.text}
              </ActionButton>
            )}
            <MoreMenu id={snapshot.SnapshotId} entries={more} className="icon-button" />
          </>
        }
      />
      <SnapshotDialog open={dialog} onClose={() => setDialog(null)} onRemoved={() => void navigate("/snapshots", { replace: true })} />
    </>
  );
}

function About({ row }: { readonly row: SnapshotRow }) {
  const { t } = useWords();
  const { snapshot, record } = row;
  const space = useAnswer(
    "drystone",
    "DescribeSnapshotSpace",
    { SnapshotIds: [snapshot.SnapshotId] },
    { everyMs: false, staleMs: 30_000, enabled: snapshot.SnapshotState !== "CREATING" },
  );
  const alone = space.data?.SnapshotSpaceSet[0];
  return (
    <Card title={t("snap.about")}>
      <Facts
        facts={[
          { name: t("snap.disk"), value: <Ref id={snapshot.DiskId} /> },
          { name: t("snap.size"), value: gib(snapshot.DiskSize) },
          { name: t("snap.stored"), hint: t("snap.storedHint"), value: bytes(record?.StoredBytes) },
          { name: t("snap.alone"), hint: t("snap.aloneHint"), value: bytes(alone?.UniqueBytes) },
          { name: t("snap.shared"), value: bytes(alone?.SharedBytes) },
          { name: t("snap.kept"), value: snapshot.IsPermanent ? t("expiry.never") : <Time text={snapshot.DeadlineTime} exact /> },
          { name: t("snap.takenAt"), value: <Time text={record?.TakenAt ?? snapshot.CreateTime} exact /> },
          ...(record?.SnapshotGroupId ? [{ name: t("snap.group"), value: <Link to={`/groups/${record.SnapshotGroupId}`}>{record.SnapshotGroupId}</Link> }] : []),
          { name: t("field.tags"), value: tagsText(snapshot.Tags) },
        ]}
      />
    </Card>
  );
}

function HowTaken({ row }: { readonly row: SnapshotRow }) {
  const { t, locale } = useWords();
  const { record } = row;
  const parent = record?.ParentSnapshotId ?? null;
  const held = heldMs(record);
  const count = (value: number | null | undefined) => (value === null || value === undefined ? "–" : number(value, locale));
  const facts: readonly Fact[] = [
    {
      name: t("record.how"),
      value: record?.Tracking ? (
        <>
          {named(t, "record.tracking", record.Tracking)} <small>{reasonText(t, record.TrackingReason ?? "")}</small>
        </>
      ) : (
        "–"
      ),
    },
    { name: t("record.parent"), value: parent === null ? t("record.noParent") : <Link to={`/snapshots/${parent}`}>{parent}</Link> },
    { name: t("record.read"), value: bytes(record?.ReadBytes) },
    { name: t("record.changed"), value: bytes(record?.ChangedBytes) },
    { name: t("record.requests"), value: count(record?.Requests) },
    { name: t("snap.freeze"), hint: t("snap.freezeHint"), value: duration(record?.FreezeMs) },
    { name: t("record.duration"), value: duration(record?.DurationMs) },
    { name: t("snap.consistency"), value: record?.Consistency ? named(t, "consistency", record.Consistency) : "–" },
    ...(held === null ? [] : [{ name: t("record.quiesce"), value: duration(held) }]),
    {
      name: t("record.audit"),
      hint: t("record.auditHint"),
      value: record?.AuditedBlocks
        ? t(record.AuditLies ? "record.auditLies" : "record.auditGood", { blocks: count(record.AuditedBlocks), lies: record.AuditLies ?? 0 })
        : "–",
    },
  ];
  return (
    <Card title={t("record.title")}>
      <Facts facts={facts} />
      {record !== undefined && record.Transcript.length > 0 && (
        <details>
          <summary>{t("record.transcript")}</summary>
          <pre className="transcript" tabIndex={0}>
            {record.Transcript.join("\n")}
          </pre>
        </details>
      )}
    </Card>
  );
}

function Changed({ row }: { readonly row: SnapshotRow }) {
  const { t } = useWords();
  const parent = row.record?.ParentSnapshotId ?? null;
  // A parent that was deleted cannot be compared with any more.
  const held = useSnapshot(parent ?? "");
  const [whole, setWhole] = useState(false);
  if (parent !== null && held.data === undefined) return <Loading />;
  const compared = parent !== null && held.data !== null && !whole;
  return (
    <Card
      title={compared ? t("diff.sinceParent") : t("diff.content")}
      aside={
        parent !== null && held.data !== null ? (
          <button type="button" className="link" onClick={() => setWhole(!whole)}>
            {whole ? t("diff.showChanged") : t("diff.showAll")}
          </button>
        ) : undefined
      }
    >
      <Difference from={compared ? parent : null} to={row.snapshot.SnapshotId} />
    </Card>
  );
}
