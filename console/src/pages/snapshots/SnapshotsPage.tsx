import { useCallback, useMemo, useState } from "react";
import { Link } from "react-router";
import { Button } from "tdesign-react/es/button";

import { fetchSnapshots, snapshotIsBusy, useAnswer, useDisk, useLongList, useSnapshotting, useTicked, type SnapshotRow } from "../../api/queries";
import { ActionButton } from "../../parts/ActionButton";
import { useChosen } from "../../parts/chosen";
import { NameAndId } from "../../parts/Copyable";
import { useColumns, type Column } from "../../parts/DataTable";
import { Choice } from "../../parts/Field";
import { CameraIcon, EllipsisIcon } from "../../parts/icons";
import { LongList } from "../../parts/LongList";
import { Menu } from "../../parts/Menu";
import { PageHead } from "../../parts/Page";
import { SearchBox } from "../../parts/SearchBox";
import { SelectedCount } from "../../parts/SelectedCount";
import { FindingTag, SnapshotTag } from "../../parts/StateTag";
import { Time } from "../../parts/Time";
import { DELETE_SNAPSHOTS_MAX, snapshotFacts, snapshotRefusal, type Refusal } from "../../rules/rules";
import { bytes, gib } from "../../units/bytes";
import { named, useWords } from "../../words";
import { searchFilters } from "../disks/search";
import { useSnapshotEntries } from "./actions";
import { SnapshotDialog, type OpenSnapshotDialog } from "./SnapshotDialogs";

const STATES = ["NORMAL", "CREATING", "ROLLBACKING"] as const;

export default function SnapshotsPage() {
  const { t } = useWords();
  const { chosen, choose } = useChosen({ replace: true });
  const [seen, setSeen] = useState<readonly [number, number]>([0, 20]);
  const [selected, setSelected] = useState<ReadonlyMap<string, SnapshotRow>>(new Map());
  const [dialog, setDialog] = useState<OpenSnapshotDialog | null>(null);
  const text = chosen("q");
  const state = chosen("state");
  const where = useMemo(
    () => ({ filters: [...searchFilters("snapshot", text), ...(state === "" ? [] : [{ Name: "snapshot-state", Values: [state] }])] }),
    [text, state],
  );
  const list = useLongList("snapshots", where, seen, fetchSnapshots, snapshotIsBusy);
  const open = useCallback((next: OpenSnapshotDialog) => setDialog(next), []);
  const spaces = useSpaces(list.rowAt, seen, list.total ?? 0);
  const [columns, columnsMenu] = useColumns("snapshots", useSnapshotColumns(open, spaces.of));
  const onSeen = useCallback((rows: readonly [number, number]) => setSeen(rows), []);
  const rows = useTicked("snapshots", selected, fetchSnapshots, snapshotIsBusy, idOf);
  const removal = manyRefusal(rows);
  const filtered = text !== "" || state !== "";
  const pair = rows.length === 2 && rows[0]?.snapshot.DiskId === rows[1]?.snapshot.DiskId ? rows : null;

  return (
    <div className="list-page">
      <PageHead title={t("nav.snapshots")} lead={t("snaps.lead")} />
      <div className="tools">
        <ActionButton refusal={removal} onClick={() => setDialog({ kind: "remove", rows })}>
          {t("remove.button")}
        </ActionButton>
        {pair && (
          <Button variant="outline" theme="default" onClick={() => setDialog({ kind: "compare", rows: pair })}>
            {t("diff.button")}
          </Button>
        )}
        <SelectedCount count={selected.size} onClear={() => setSelected(new Map())} />
        <span className="tools__space" />
        {list.total !== undefined && <span className="tools__count">{t("table.count", { count: list.total })}</span>}
        <SearchBox value={text} onChange={(value) => choose("q", value)} hint={t("search.hint")} />
        <Choice
          label={t("snap.filterState")}
          value={state}
          onChange={(value) => choose("state", value)}
          options={[{ value: "", text: t("snap.anyState") }, ...STATES.map((one) => ({ value: one, text: t(`snap.state.${one}`) }))]}
        />
        {columnsMenu}
      </div>
      <LongList
        list={list}
        label={t("nav.snapshots")}
        columns={columns}
        idOf={idOf}
        onSeen={onSeen}
        selected={selected}
        onSelect={setSelected}
        filtered={filtered}
        empty={{ icon: <CameraIcon />, title: t("snaps.none"), text: t("snaps.noneText"), action: <Link to="/disks">{t("snaps.toDisks")}</Link> }}
      />
      <SnapshotDialog
        open={dialog}
        onClose={() => {
          setDialog(null);
          setSelected(new Map());
        }}
      />
    </div>
  );
}

const idOf = (row: SnapshotRow): string => row.snapshot.SnapshotId;

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
  const of = useCallback((id: string) => spaces?.find((space) => space.SnapshotId === id)?.UniqueBytes ?? null, [spaces]);
  return { of };
}

function useSnapshotColumns(open: (dialog: OpenSnapshotDialog) => void, aloneOf: (id: string) => number | null): readonly Column<SnapshotRow>[] {
  const { t } = useWords();
  return useMemo(
    () => [
      {
        id: "name",
        title: t("snap.nameAndId"),
        width: "minmax(150px, 1.6fr)",
        fixed: true,
        cell: ({ snapshot }) => (
          <Link className="row-link" to={`/snapshots/${snapshot.SnapshotId}`}>
            <NameAndId name={snapshot.SnapshotName} id={snapshot.SnapshotId} />
          </Link>
        ),
      },
      { id: "state", title: t("snap.stateTitle"), width: "minmax(150px, 1.2fr)", cell: (row) => <SnapshotTag row={row} /> },
      {
        id: "disk",
        title: t("snap.disk"),
        width: "minmax(120px, 1fr)",
        cell: ({ snapshot }) => (
          <span className="stacked">
            <Link to={`/disks/${snapshot.DiskId}`}>{snapshot.DiskId}</Link>
            <small>{gib(snapshot.DiskSize)}</small>
          </span>
        ),
      },
      {
        id: "stored",
        title: t("snap.stored"),
        width: "minmax(110px, .9fr)",
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
        width: "minmax(100px, .8fr)",
        cell: ({ snapshot }) => <span className="number">{bytes(aloneOf(snapshot.SnapshotId))}</span>,
      },
      {
        id: "kept",
        title: t("snap.kept"),
        width: "minmax(110px, .9fr)",
        cell: ({ snapshot }) => (snapshot.IsPermanent ? t("snap.forEver") : <Time text={snapshot.DeadlineTime} />),
      },
      {
        id: "created",
        title: t("common.created"),
        width: "minmax(110px, .9fr)",
        cell: ({ snapshot, record }) => <Time text={record?.TakenAt ?? snapshot.CreateTime} />,
      },
      {
        id: "usage",
        title: t("disk.usage"),
        width: "minmax(100px, .7fr)",
        optional: true,
        cell: ({ snapshot }) => named(t, "disk.usage", snapshot.DiskUsage),
      },
      {
        id: "consistency",
        title: t("snap.consistency"),
        width: "minmax(110px, .8fr)",
        optional: true,
        cell: ({ record }) => (record?.Consistency ? named(t, "consistency", record.Consistency) : "–"),
      },
      {
        id: "opening",
        title: t("opening.short"),
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
      {
        id: "tags",
        title: t("field.tags"),
        width: "minmax(110px, 1fr)",
        optional: true,
        cell: ({ snapshot }) => snapshot.Tags.map((tag) => `${tag.Key}=${tag.Value}`).join(", ") || "–",
      },
      {
        id: "actions",
        title: t("table.actions"),
        width: "72px",
        fixed: true,
        cell: (row) => <RowActions row={row} open={open} />,
      },
    ],
    [t, open, aloneOf],
  );
}

function RowActions({ row, open }: { readonly row: SnapshotRow; readonly open: (dialog: OpenSnapshotDialog) => void }) {
  const { t } = useWords();
  const [wanted, setWanted] = useState(false);
  // Whether it can be rolled back is said by its disk, which is asked for when the pointer or the focus comes near.
  const disk = useDisk(wanted ? row.snapshot.DiskId : "");
  const snapshotting = useSnapshotting();
  const entries = useSnapshotEntries(row, disk.data, snapshotting, open);
  return (
    <span className="row-actions" onPointerEnter={() => setWanted(true)} onFocus={() => setWanted(true)}>
      <Menu label={t("table.more", { id: row.snapshot.SnapshotId })} entries={entries}>
        <EllipsisIcon />
      </Menu>
    </span>
  );
}
