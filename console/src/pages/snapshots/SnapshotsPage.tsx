import { useState } from "react";
import { Link } from "react-router";
import { Button } from "tdesign-react/es/button";

import { fetchSnapshots, snapshotIsBusy, useAnswer, useDisk, useSnapshotting, type SnapshotRow } from "../../api/queries";
import { ActionButton } from "../../parts/ActionButton";
import { NameAndId, Ref, shownName, tagsText, tagTexts } from "../../parts/Copyable";
import type { Column } from "../../parts/DataTable";
import { CameraIcon } from "../../parts/icons";
import { ListPage, useListPage, type ListOf } from "../../parts/ListPage";
import { MoreMenu } from "../../parts/Menu";
import { FindingTag, SnapshotTag } from "../../parts/StateTag";
import { Time } from "../../parts/Time";
import { DELETE_SNAPSHOTS_MAX, snapshotFacts, snapshotRefusal, type Refusal } from "../../rules/rules";
import { bytes } from "../../units/bytes";
import { parseTime } from "../../units/times";
import { named, useWords } from "../../words";
import { exactFilters } from "../disks/search";
import { useSnapshotEntries } from "./actions";
import { SnapshotDialog, type OpenSnapshotDialog } from "./SnapshotDialogs";

const STATES = ["NORMAL", "CREATING", "ROLLBACKING"] as const;
const SNAPSHOTS: ListOf<SnapshotRow> = {
  name: "snapshots",
  fetchPage: fetchSnapshots,
  busy: snapshotIsBusy,
  idOf: (row) => row.snapshot.SnapshotId,
  exact: (text) => exactFilters("snapshot", text),
  texts: ({ snapshot }, nameOf) => [snapshot.SnapshotName, snapshot.SnapshotId, snapshot.DiskId, nameOf(snapshot.DiskId), ...tagTexts(snapshot.Tags)],
  filters: { state: "snapshot-state" },
  values: {
    name: ({ snapshot }) => shownName(snapshot.SnapshotName, ""),
    state: ({ snapshot }) => snapshot.SnapshotState,
    disk: ({ snapshot }, nameOf) => `${shownName(nameOf(snapshot.DiskId), "")} ${snapshot.DiskId}`.trim(),
    stored: ({ record }) => record?.StoredBytes ?? null,
    kept: ({ snapshot }) => (snapshot.IsPermanent ? null : parseTime(snapshot.DeadlineTime)),
    created: ({ snapshot, record }) => parseTime(record?.TakenAt ?? snapshot.CreateTime),
    usage: ({ snapshot }) => snapshot.DiskUsage,
    consistency: ({ record }) => record?.Consistency ?? null,
    opening: ({ record }) => record?.Opening?.Finding ?? null,
    group: ({ record }) => record?.SnapshotGroupId ?? null,
    tags: ({ snapshot }) => tagTexts(snapshot.Tags).join(", "),
  },
  onServer: { name: "NAME", state: "STATE", disk: "DISK_ID", stored: "STORED_BYTES", kept: "DEADLINE", created: "CREATE_TIME" },
  units: { stored: "B" },
};

export default function SnapshotsPage() {
  const { t } = useWords();
  const page = useListPage(SNAPSHOTS);
  const { rows, list } = page;
  const [dialog, setDialog] = useState<OpenSnapshotDialog | null>(null);
  const columns = useSnapshotColumns(setDialog, useSpaces(list.rowAt, page.seen, list.total ?? 0));
  const pair = rows.length === 2 && rows[0]?.snapshot.DiskId === rows[1]?.snapshot.DiskId ? rows : null;
  return (
    <ListPage
      page={page}
      title={t("nav.snapshots")}
      lead={t("snaps.lead")}
      columns={columns}
      choices={[{ name: "state", label: t("common.filterState"), any: t("common.anyState"), options: STATES.map((value) => ({ value, text: t(`snap.state.${value}`) })) }]}
      tools={
        <>
          <ActionButton refusal={manyRefusal(rows)} onClick={() => setDialog({ kind: "remove", rows })}>
            {t("snapAction.remove")}
          </ActionButton>
          {pair && (
            <Button variant="outline" theme="default" onClick={() => setDialog({ kind: "compare", rows: pair })}>
              {t("diff.button")}
            </Button>
          )}
        </>
      }
      empty={{ icon: <CameraIcon />, title: t("snaps.none"), text: t("snaps.noneText"), action: <Link to="/disks">{t("snaps.toDisks")}</Link> }}
    >
      <SnapshotDialog
        open={dialog}
        onClose={() => {
          setDialog(null);
          page.clear();
        }}
      />
    </ListPage>
  );
}

function manyRefusal(rows: readonly SnapshotRow[]): Refusal | null {
  if (rows.length === 0) return { key: "why.nothingSelected" };
  if (rows.length > DELETE_SNAPSHOTS_MAX) return { key: "why.tooMany" };
  return (
    rows.map((row) => snapshotRefusal("remove", snapshotFacts(row, undefined, NOBODY))).find((refusal) => refusal !== null) ?? null
  );
}
const NOBODY: ReadonlySet<string> = new Set();
const SPACES_MAX = 50;

/** What the snapshots on the screen hold alone; asked for rarely, because the server reads maps for it. */
function useSpaces(rowAt: (index: number) => SnapshotRow | undefined, seen: readonly [number, number], total: number) {
  const from = Math.floor(seen[0] / 25) * 25;
  const ids: string[] = [];
  for (let index = from; index < Math.min(total, from + SPACES_MAX); index += 1) {
    const row = rowAt(index);
    if (row?.snapshot.SnapshotState === "NORMAL") ids.push(row.snapshot.SnapshotId);
  }
  const answer = useAnswer(
    "drystone",
    "DescribeSnapshotSpace",
    { SnapshotIds: ids },
    { everyMs: false, staleMs: 60_000, enabled: ids.length > 0 },
  );
  const spaces = answer.data?.SnapshotSpaceSet;
  return (id: string) => spaces?.find((space) => space.SnapshotId === id)?.UniqueBytes ?? null;
}

function useSnapshotColumns(open: (dialog: OpenSnapshotDialog) => void, aloneOf: (id: string) => number | null): readonly Column<SnapshotRow>[] {
  const { t } = useWords();
  const snapshotting = useSnapshotting();
  return [
    {
      id: "name",
      title: t("common.nameAndId"),
      width: "minmax(150px, 1.6fr)",
      fixed: true,
      cell: ({ snapshot }) => <NameAndId name={snapshot.SnapshotName} id={snapshot.SnapshotId} to={`/snapshots/${snapshot.SnapshotId}`} />,
    },
    { id: "state", title: t("common.state"), width: "minmax(130px, 1.2fr)", cell: (row) => <SnapshotTag row={row} /> },
    {
      id: "disk",
      title: t("snap.disk"),
      width: "minmax(120px, 1fr)",
      cell: ({ snapshot }) => <Ref id={snapshot.DiskId} />,
    },
    {
      id: "stored",
      title: t("snap.stored"),
      width: "minmax(160px, .9fr)",
      cell: ({ record }) => (
        <span className="stacked">
          <span className="number">{bytes(record?.StoredBytes)}</span>
          <small>{record?.Tracking ? named(t, "record.tracking", record.Tracking) : ""}</small>
        </span>
      ),
    },
    {
      id: "alone",
      title: t("snap.alone"),
      width: "minmax(84px, .7fr)",
      cell: ({ snapshot }) => <span className="number">{bytes(aloneOf(snapshot.SnapshotId))}</span>,
    },
    {
      id: "kept",
      title: t("snap.kept"),
      width: "minmax(100px, .8fr)",
      cell: ({ snapshot }) => (snapshot.IsPermanent ? t("expiry.never") : <Time text={snapshot.DeadlineTime} />),
    },
    {
      id: "created",
      title: t("common.created"),
      width: "minmax(110px, .9fr)",
      cell: ({ snapshot, record }) => <Time text={record?.TakenAt ?? snapshot.CreateTime} />,
    },
    { id: "usage", title: t("disk.usage"), width: "minmax(100px, .7fr)", optional: true, cell: ({ snapshot }) => named(t, "disk.usage", snapshot.DiskUsage) },
    {
      id: "consistency",
      title: t("snap.consistency"),
      width: "minmax(110px, .8fr)",
      optional: true,
      cell: ({ record }) => (record?.Consistency ? named(t, "consistency", record.Consistency) : "–"),
    },
    {
      id: "opening",
      title: t("opening.title"),
      width: "minmax(110px, .8fr)",
      optional: true,
      cell: ({ record }) => (record?.Opening ? <FindingTag finding={record.Opening.Finding} /> : "–"),
    },
    {
      id: "group",
      title: t("snap.group"),
      width: "minmax(120px, .9fr)",
      optional: true,
      cell: ({ record }) => (record?.SnapshotGroupId ? <Link to={`/groups/${record.SnapshotGroupId}`}>{record.SnapshotGroupId}</Link> : "–"),
    },
    { id: "tags", title: t("field.tags"), width: "minmax(110px, 1fr)", optional: true, cell: ({ snapshot }) => tagsText(snapshot.Tags) },
    { id: "actions", title: t("table.actions"), width: "60px", fixed: true, cell: (row) => <RowActions row={row} snapshotting={snapshotting} open={open} /> },
  ];
}

function RowActions({ row, snapshotting, open }: { readonly row: SnapshotRow; readonly snapshotting: ReadonlySet<string>; readonly open: (dialog: OpenSnapshotDialog) => void }) {
  const [wanted, setWanted] = useState(false);
  // Whether it can be rolled back is said by its disk, which is asked for when the pointer or the focus comes near.
  const disk = useDisk(wanted ? row.snapshot.DiskId : "");
  const entries = useSnapshotEntries(row, disk.data, snapshotting, open);
  return (
    <span className="row-actions" onPointerEnter={() => setWanted(true)} onFocus={() => setWanted(true)}>
      <MoreMenu id={row.snapshot.SnapshotId} entries={entries} />
    </span>
  );
}
