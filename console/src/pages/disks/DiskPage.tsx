import { useState } from "react";
import { Link, useParams } from "react-router";

import { useDisk, useOperationsOf, useSnapshotsOfDisk, useSnapshotting, type DiskRow } from "../../api/queries";
import { ActionButton } from "../../parts/ActionButton";
import { Command, Ref, tagsText } from "../../parts/Copyable";
import { ErrorNote } from "../../parts/ErrorNote";
import { byKind, useAddressed } from "../../parts/addressed";
import { CameraIcon } from "../../parts/icons";
import { MoreMenu } from "../../parts/Menu";
import { Card, Facts, Gone, Loading, OneHead, Pending } from "../../parts/Page";
import { DiskTag, OperationTag } from "../../parts/StateTag";
import { Time } from "../../parts/Time";
import { reasonText } from "../../rules/reasons";
import { bytes, gib } from "../../units/bytes";
import { named, useWords } from "../../words";
import { Took, Trouble } from "../operations/columns";
import { DiskProfile } from "../quiesce/Profile";
import { useDiskEntries } from "./actions";
import { linuxCommands } from "./commands";
import { DiskDialog, type OpenDiskDialog } from "./DiskDialogs";
import { StoredChart } from "./StoredChart";
import { storedOf, Timeline } from "./Timeline";

const OPERATIONS_SHOWN = 12;

export default function DiskPage() {
  const { t } = useWords();
  const id = useParams()["id"] ?? "";
  const answer = useDisk(id);
  const snapshotting = useSnapshotting();
  const [dialog, setDialog] = useState<OpenDiskDialog | null>(null);
  const entries = useDiskEntries(snapshotting, setDialog);
  useAddressed(answer.data ? byKind(entries(answer.data)) : undefined);
  const back = { to: "/disks", text: t("nav.disks") };
  if (answer.data === null) return <Gone title={t("disk.gone", { id })} text={t("disk.goneText")} back={back} />;
  if (answer.data === undefined) return <Pending answer={answer} />;
  const row = answer.data;
  const [snapshot, ...more] = entries(row);
  return (
    <>
      <OneHead
        name={row.disk.DiskName}
        id={id}
        what={t("disk.id")}
        back={back}
        state={<DiskTag row={row} snapshotting={snapshotting.has(id)} />}
        actions={
          <>
            {snapshot && (
              <ActionButton theme="primary" refusal={snapshot.refusal ?? null} icon={<CameraIcon />} onClick={snapshot.onSelect}>
                {t("diskAction.createSnapshot")}
              </ActionButton>
            )}
            <MoreMenu id={id} entries={more} className="icon-button" />
          </>
        }
      />
      <ErrorNote error={answer.error} />
      {row.disk.ErrorPrompt !== "" && (
        <div className="note note--warn" role="status">
          <strong>{t("disk.lastError")}</strong> {row.disk.ErrorPrompt}
        </div>
      )}
      <div className="columns">
        <DiskFacts row={row} />
        <Use row={row} onAttach={() => setDialog({ kind: "attach", rows: [row] })} />
      </div>
      <Snapshots row={row} />
      <StoredChart diskId={id} />
      <DiskProfile row={row} />
      <Operations id={id} />
      <DiskDialog open={dialog} onClose={() => setDialog(null)} />
    </>
  );
}

function DiskFacts({ row }: { readonly row: DiskRow }) {
  const { t } = useWords();
  const { disk, detail } = row;
  const source = detail?.SourceSnapshotId ?? null;
  return (
    <Card title={t("disk.about")}>
      <Facts
        facts={[
          { name: t("disk.size"), value: gib(disk.DiskSize) },
          { name: t("disk.type"), value: named(t, "disk.type", disk.DiskType) },
          { name: t("disk.usage"), value: named(t, "disk.usage", disk.DiskUsage) },
          {
            name: t("disk.instance"),
            value: disk.InstanceId === "" ? t("disk.notAttached") : <Ref id={disk.InstanceId} />,
          },
          { name: t("disk.zone"), value: disk.Placement.Zone },
          { name: t("common.created"), value: <Time text={disk.CreateTime} exact /> },
          ...(source === null ? [] : [{ name: t("disk.source"), value: <Link to={`/snapshots/${source}`}>{source}</Link> }]),
          {
            name: t("disk.tracking"),
            hint: t("disk.trackingHint"),
            value: detail ? `${named(t, "tracking", detail.Tracking)}${detail.TrackingReason ? ` (${reasonText(t, detail.TrackingReason)})` : ""}` : "–",
          },
          { name: t("disk.onDelete"), value: disk.DeleteSnapshot === 1 ? t("disk.onDeleteWith") : t("disk.onDeleteStay") },
          { name: t("field.tags"), value: tagsText(disk.Tags) },
        ]}
      />
    </Card>
  );
}

function Use({ row, onAttach }: { readonly row: DiskRow; readonly onAttach: () => void }) {
  const { t } = useWords();
  const commands = linuxCommands(row);
  return (
    <Card title={t("use.title")}>
      {commands.length === 0 ? (
        <div className="empty empty--small">
          <p>{row.disk.DiskState === "UNATTACHED" ? t("use.attachFirst") : t("use.wait")}</p>
          {row.disk.DiskState === "UNATTACHED" && <ActionButton onClick={onAttach}>{t("diskAction.attach")}</ActionButton>}
        </div>
      ) : (
        commands.map((command) => (
          <div className="use" key={command.text}>
            <p>{t(command.key)}</p>
            <Command text={command.text} />
          </div>
        ))
      )}
    </Card>
  );
}

function Snapshots({ row }: { readonly row: DiskRow }) {
  const { t } = useWords();
  const { disk } = row;
  const answer = useSnapshotsOfDisk(disk.DiskId);
  return (
    <Card
      title={t("timeline.title")}
      aside={
        <span className="card__aside">
          {t("timeline.sum", { count: disk.SnapshotCount, size: bytes(storedOf(disk, answer.data)) })}{" "}
          <Link to={`/snapshots?q=${disk.DiskId}`}>{t("timeline.all")}</Link>
        </span>
      }
    >
      <ErrorNote error={answer.error} />
      {answer.data === undefined ? <Loading /> : <Timeline rows={answer.data.rows} base={row.detail?.BaseSnapshotId ?? null} />}
    </Card>
  );
}

function Operations({ id }: { readonly id: string }) {
  const { t } = useWords();
  const answer = useOperationsOf(id);
  const rows = answer.data?.rows.slice(0, OPERATIONS_SHOWN) ?? [];
  return (
    <Card title={t("nav.operations")}>
      <ErrorNote error={answer.error} />
      {answer.data !== undefined && rows.length === 0 && <p className="quiet">{t("op.none")}</p>}
      <ul className="op-list">
        {rows.map((operation) => (
          <li key={operation.OperationId}>
            <Link to={`/operations/${operation.OperationId}`}>{named(t, "op.kind", operation.Kind)}</Link>
            <OperationTag operation={operation} />
            <Took operation={operation} />
            <Time text={operation.CreateTime} />
            {operation.ErrorMessage !== "" && <Trouble operation={operation} />}
          </li>
        ))}
      </ul>
    </Card>
  );
}
