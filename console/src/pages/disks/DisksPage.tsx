import { useCallback, useMemo, useState } from "react";
import { Link } from "react-router";
import { Button } from "tdesign-react/es/button";

import { diskIsBusy, fetchDisks, useInstances, useLongList, useSession, useSnapshotting, useTicked, type DiskRow } from "../../api/queries";
import { ActionButton } from "../../parts/ActionButton";
import { useChosen } from "../../parts/chosen";
import { NameAndId } from "../../parts/Copyable";
import { useColumns, type Column } from "../../parts/DataTable";
import { Choice } from "../../parts/Field";
import { AddIcon, EllipsisIcon, ServerIcon } from "../../parts/icons";
import { LongList } from "../../parts/LongList";
import { Menu } from "../../parts/Menu";
import { PageHead } from "../../parts/Page";
import { SearchBox } from "../../parts/SearchBox";
import { SelectedCount } from "../../parts/SelectedCount";
import { DiskTag } from "../../parts/StateTag";
import { Time } from "../../parts/Time";
import { ATTACH_MAX, diskFacts, disksRefusal, TERMINATE_MAX, type DiskAction, type Refusal } from "../../rules/rules";
import { gib, bytes, MIB } from "../../units/bytes";
import { named, useWords } from "../../words";
import { CreateDiskDialog } from "./CreateDiskDialog";
import { useDiskEntries } from "./actions";
import { DiskDialog, type OpenDiskDialog } from "./DiskDialogs";
import { ImportDialog } from "./ImportDialog";
import { searchFilters } from "./search";

const STATES = ["UNATTACHED", "ATTACHED", "ROLLBACKING", "EXPANDING", "TORECYCLE"] as const;

export default function DisksPage() {
  const { t } = useWords();
  const { chosen, choose } = useChosen({ replace: true });
  const [seen, setSeen] = useState<readonly [number, number]>([0, 20]);
  const [selected, setSelected] = useState<ReadonlyMap<string, DiskRow>>(new Map());
  const [dialog, setDialog] = useState<OpenDiskDialog | null>(null);
  const [creating, setCreating] = useState(chosen("new") === "1");
  const [importing, setImporting] = useState(false);
  const admin = useSession().data?.Admin === true;
  const text = chosen("q");
  const state = chosen("state");
  const where = useMemo(
    () => ({ filters: [...searchFilters("disk", text), ...(state === "" ? [] : [{ Name: "disk-state", Values: [state] }])] }),
    [text, state],
  );
  const list = useLongList("disks", where, seen, fetchDisks, diskIsBusy);
  const snapshotting = useSnapshotting();
  const open = useCallback((next: OpenDiskDialog) => setDialog(next), []);
  const [columns, columnsMenu] = useColumns("disks", useDiskColumns(snapshotting, open));
  const onSeen = useCallback((rows: readonly [number, number]) => setSeen(rows), []);

  const rows = useTicked("disks", selected, fetchDisks, diskIsBusy, idOf);
  const refusal = (action: DiskAction, most: number): Refusal | null =>
    disksRefusal(action, rows.map((row) => diskFacts(row, snapshotting)), most);
  const together = rows.length > 1 && new Set(rows.map((row) => row.disk.InstanceId || row.disk.DiskId)).size > 1;
  const snapshotRefusal: Refusal | null = together
    ? { key: "why.notOneInstance" }
    : refusal(rows.length > 1 ? "createGroup" : "createSnapshot", TERMINATE_MAX);
  const filtered = text !== "" || state !== "";
  const create = (
    <Button theme="primary" icon={<AddIcon />} onClick={() => setCreating(true)}>
      {t("newDisk.button")}
    </Button>
  );

  return (
    <div className="list-page">
      <PageHead
        title={t("nav.disks")}
        lead={t("disks.lead")}
        actions={
          <>
            {admin && (
              <Button theme="default" variant="outline" onClick={() => setImporting(true)}>
                {t("import.button")}
              </Button>
            )}
            {create}
          </>
        }
      />
      <div className="tools">
        <ActionButton refusal={snapshotRefusal} onClick={() => setDialog({ kind: "createSnapshot", rows })}>
          {t("newSnap.button")}
        </ActionButton>
        <ActionButton refusal={refusal("attach", ATTACH_MAX)} onClick={() => setDialog({ kind: "attach", rows })}>
          {t("attach.button")}
        </ActionButton>
        <ActionButton refusal={refusal("detach", ATTACH_MAX)} onClick={() => setDialog({ kind: "detach", rows })}>
          {t("detach.button")}
        </ActionButton>
        <ActionButton refusal={refusal("terminate", TERMINATE_MAX)} onClick={() => setDialog({ kind: "terminate", rows })}>
          {t("terminate.button")}
        </ActionButton>
        <SelectedCount count={selected.size} onClear={() => setSelected(new Map())} />
        <span className="tools__space" />
        <SearchBox value={text} onChange={(value) => choose("q", value)} hint={t("search.hint")} />
        <Choice
          label={t("disk.filterState")}
          value={state}
          onChange={(value) => choose("state", value)}
          options={[{ value: "", text: t("disk.anyState") }, ...STATES.map((one) => ({ value: one, text: t(`disk.state.${one}`) }))]}
        />
        {columnsMenu}
      </div>
      <LongList
        list={list}
        label={t("nav.disks")}
        columns={columns}
        idOf={idOf}
        onSeen={onSeen}
        selected={selected}
        onSelect={setSelected}
        filtered={filtered}
        empty={{ icon: <ServerIcon />, title: t("disks.none"), text: t("disks.noneText"), action: create }}
      />
      {importing && <ImportDialog onClose={() => setImporting(false)} />}
      {creating && <CreateDiskDialog onClose={() => setCreating(false)} />}
      <DiskDialog
        open={dialog}
        onClose={() => {
          setDialog(null);
          setSelected(new Map());
        }}
      />
    </div>
  );
}

const idOf = (row: DiskRow): string => row.disk.DiskId;

function useDiskColumns(snapshotting: ReadonlySet<string>, open: (dialog: OpenDiskDialog) => void): readonly Column<DiskRow>[] {
  const { t } = useWords();
  const entries = useDiskEntries(snapshotting, open);
  const instances = useInstances();
  const names = useMemo(
    () => new Map((instances.data?.InstanceSet ?? []).map((one) => [one.InstanceId, one.InstanceName])),
    [instances.data],
  );
  return useMemo(
    () => [
      {
        id: "name",
        title: t("disk.nameAndId"),
        width: "minmax(150px, 1.6fr)",
        fixed: true,
        cell: ({ disk }) => (
          <Link className="row-link" to={`/disks/${disk.DiskId}`}>
            <NameAndId name={disk.DiskName} id={disk.DiskId} />
          </Link>
        ),
      },
      {
        id: "state",
        title: t("disk.stateTitle"),
        width: "minmax(150px, 1.2fr)",
        cell: (row) => <DiskTag row={row} snapshotting={snapshotting.has(row.disk.DiskId)} />,
      },
      { id: "type", title: t("disk.type"), width: "minmax(110px, 1fr)", cell: ({ disk }) => named(t, "disk.type", disk.DiskType) },
      { id: "size", title: t("disk.size"), width: "minmax(76px, .6fr)", cell: ({ disk }) => <span className="number">{gib(disk.DiskSize)}</span> },
      {
        id: "instance",
        title: t("disk.instance"),
        width: "minmax(110px, 1fr)",
        cell: ({ disk }) =>
          disk.InstanceId === "" ? "–" : <NameAndId name={names.get(disk.InstanceId) ?? ""} id={disk.InstanceId} />,
      },
      {
        id: "snapshots",
        title: t("disk.snapshots"),
        width: "minmax(104px, .8fr)",
        cell: ({ disk }) => (
          <Link to={`/snapshots?q=${disk.DiskId}`}>
            {disk.SnapshotCount === 0 ? "0" : `${disk.SnapshotCount} · ${bytes(disk.SnapshotSize * MIB)}`}
          </Link>
        ),
      },
      { id: "created", title: t("common.created"), width: "minmax(110px, .8fr)", cell: ({ disk }) => <Time text={disk.CreateTime} /> },
      { id: "zone", title: t("disk.zone"), width: "minmax(100px, .8fr)", optional: true, cell: ({ disk }) => disk.Placement.Zone },
      {
        id: "usage",
        title: t("disk.usage"),
        width: "minmax(100px, .7fr)",
        optional: true,
        cell: ({ disk }) => named(t, "disk.usage", disk.DiskUsage),
      },
      {
        id: "charge",
        title: t("disk.charge"),
        width: "minmax(110px, .8fr)",
        optional: true,
        cell: ({ disk }) => named(t, "disk.charge", disk.DiskChargeType),
      },
      {
        id: "tags",
        title: t("field.tags"),
        width: "minmax(110px, 1fr)",
        optional: true,
        cell: ({ disk }) => disk.Tags.map((tag) => `${tag.Key}=${tag.Value}`).join(", ") || "–",
      },
      {
        id: "actions",
        title: t("table.actions"),
        width: "150px",
        fixed: true,
        cell: (row) => {
          const [snapshot, ...more] = entries(row);
          return (
            <span className="row-actions">
              {snapshot && (
                <ActionButton size="small" variant="text" theme="primary" refusal={snapshot.refusal} onClick={snapshot.onSelect}>
                  {t("newSnap.short")}
                </ActionButton>
              )}
              <Menu label={t("table.more", { id: row.disk.DiskId })} entries={more}>
                <EllipsisIcon />
              </Menu>
            </span>
          );
        },
      },
    ],
    [t, entries, names, snapshotting],
  );
}
