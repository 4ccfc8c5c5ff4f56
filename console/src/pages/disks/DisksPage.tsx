import { useState } from "react";
import { Link } from "react-router";
import { Button } from "tdesign-react/es/button";

import { diskIsBusy, fetchDisks, useSession, useSnapshotting, type DiskRow } from "../../api/queries";
import { ActionButton } from "../../parts/ActionButton";
import { useAddressed } from "../../parts/addressed";
import { NameAndId, Ref, shownName, tagsText, tagTexts } from "../../parts/Copyable";
import type { Column } from "../../parts/DataTable";
import { AddIcon, ServerIcon } from "../../parts/icons";
import { ListPage, useListPage, type ListOf } from "../../parts/ListPage";
import { MoreMenu } from "../../parts/Menu";
import { DiskTag } from "../../parts/StateTag";
import { Time } from "../../parts/Time";
import { ATTACH_MAX, diskFacts, disksRefusal, TERMINATE_MAX, type DiskAction, type Refusal } from "../../rules/rules";
import { gib, bytes, MIB } from "../../units/bytes";
import { parseTime } from "../../units/times";
import { named, useWords } from "../../words";
import { CreateDiskDialog } from "./CreateDiskDialog";
import { useDiskEntries } from "./actions";
import { DiskDialog, type OpenDiskDialog } from "./DiskDialogs";
import { ImportDialog } from "./ImportDialog";
import { exactFilters } from "./search";

const STATES = ["UNATTACHED", "ATTACHED", "ROLLBACKING", "EXPANDING", "TORECYCLE"] as const;
const DISKS: ListOf<DiskRow> = {
  name: "disks",
  fetchPage: fetchDisks,
  busy: diskIsBusy,
  idOf: (row) => row.disk.DiskId,
  exact: (text) => exactFilters("disk", text),
  texts: ({ disk }, nameOf) => [disk.DiskName, disk.DiskId, disk.InstanceId, nameOf(disk.InstanceId), ...tagTexts(disk.Tags)],
  filters: { state: "disk-state" },
  values: {
    name: ({ disk }) => shownName(disk.DiskName, ""),
    state: ({ disk }) => disk.DiskState,
    type: ({ disk }) => disk.DiskType,
    size: ({ disk }) => disk.DiskSize,
    instance: ({ disk }, nameOf) => `${nameOf(disk.InstanceId)} ${disk.InstanceId}`.trim(),
    snapshots: ({ disk }) => disk.SnapshotCount,
    created: ({ disk }) => parseTime(disk.CreateTime),
    zone: ({ disk }) => disk.Placement.Zone,
    usage: ({ disk }) => disk.DiskUsage,
    charge: ({ disk }) => disk.DiskChargeType,
    tags: ({ disk }) => tagTexts(disk.Tags).join(", "),
  },
  onServer: { name: "NAME", state: "STATE", type: "TYPE", size: "SIZE", created: "CREATE_TIME" },
  units: { size: "GiB" },
};

export default function DisksPage() {
  const { t } = useWords();
  const page = useListPage(DISKS);
  const { rows } = page;
  const [dialog, setDialog] = useState<OpenDiskDialog | null>(null);
  const [creating, setCreating] = useState(false);
  const [importing, setImporting] = useState(false);
  useAddressed({ create: { onSelect: () => setCreating(true) }, import: { onSelect: () => setImporting(true) } });
  const admin = useSession().data?.Admin === true;
  const snapshotting = useSnapshotting();
  const columns = useDiskColumns(snapshotting, setDialog);
  const refusal = (action: DiskAction, most: number): Refusal | null =>
    disksRefusal(action, rows.map((row) => diskFacts(row, snapshotting)), most);
  const together = rows.length > 1 && new Set(rows.map((row) => row.disk.InstanceId || row.disk.DiskId)).size > 1;
  const snapshotRefusal: Refusal | null = together
    ? { key: "why.notOneInstance" }
    : refusal(rows.length > 1 ? "createGroup" : "createSnapshot", TERMINATE_MAX);
  const create = (
    <Button theme="primary" icon={<AddIcon />} onClick={() => setCreating(true)}>
      {t("newDisk.button")}
    </Button>
  );
  const tools = [
    ["createSnapshot", snapshotRefusal],
    ["attach", refusal("attach", ATTACH_MAX)],
    ["detach", refusal("detach", ATTACH_MAX)],
    ["terminate", refusal("terminate", TERMINATE_MAX)],
  ] as const;
  return (
    <ListPage
      page={page}
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
      columns={columns}
      choices={[{ name: "state", label: t("common.filterState"), any: t("common.anyState"), options: STATES.map((value) => ({ value, text: t(`disk.state.${value}`) })) }]}
      tools={tools.map(([kind, why]) => (
        <ActionButton key={kind} refusal={why} onClick={() => setDialog({ kind, rows })}>
          {t(`diskAction.${kind}`)}
        </ActionButton>
      ))}
      empty={{ icon: <ServerIcon />, title: t("disks.none"), text: t("disks.noneText"), action: create }}
    >
      {importing && <ImportDialog onClose={() => setImporting(false)} />}
      {creating && <CreateDiskDialog onClose={() => setCreating(false)} />}
      <DiskDialog
        open={dialog}
        onClose={() => {
          setDialog(null);
          page.clear();
        }}
      />
    </ListPage>
  );
}

function useDiskColumns(snapshotting: ReadonlySet<string>, open: (dialog: OpenDiskDialog) => void): readonly Column<DiskRow>[] {
  const { t } = useWords();
  const entries = useDiskEntries(snapshotting, open);
  return [
    {
      id: "name",
      title: t("common.nameAndId"),
      width: "minmax(150px, 1.6fr)",
      fixed: true,
      cell: ({ disk }) => <NameAndId name={disk.DiskName} id={disk.DiskId} to={`/disks/${disk.DiskId}`} />,
    },
    {
      id: "state",
      title: t("common.state"),
      width: "minmax(166px, 1.2fr)",
      cell: (row) => <DiskTag row={row} snapshotting={snapshotting.has(row.disk.DiskId)} />,
    },
    { id: "type", title: t("disk.type"), width: "minmax(130px, 1fr)", cell: ({ disk }) => named(t, "disk.type", disk.DiskType) },
    { id: "size", title: t("disk.size"), width: "minmax(76px, .6fr)", cell: ({ disk }) => <span className="number">{gib(disk.DiskSize)}</span> },
    {
      id: "instance",
      title: t("disk.instance"),
      width: "minmax(110px, 1fr)",
      cell: ({ disk }) => (disk.InstanceId === "" ? "–" : <Ref id={disk.InstanceId} />),
    },
    {
      id: "snapshots",
      title: t("nav.snapshots"),
      width: "minmax(104px, .8fr)",
      cell: ({ disk }) => (
        <Link to={`/snapshots?q=${disk.DiskId}`}>
          {disk.SnapshotCount === 0 ? "0" : `${disk.SnapshotCount} · ${bytes(disk.SnapshotSize * MIB)}`}
        </Link>
      ),
    },
    { id: "created", title: t("common.created"), width: "minmax(110px, .8fr)", cell: ({ disk }) => <Time text={disk.CreateTime} /> },
    { id: "zone", title: t("disk.zone"), width: "minmax(100px, .8fr)", optional: true, cell: ({ disk }) => disk.Placement.Zone },
    { id: "usage", title: t("disk.usage"), width: "minmax(100px, .7fr)", optional: true, cell: ({ disk }) => named(t, "disk.usage", disk.DiskUsage) },
    { id: "charge", title: t("disk.charge"), width: "minmax(110px, .8fr)", optional: true, cell: ({ disk }) => named(t, "disk.charge", disk.DiskChargeType) },
    { id: "tags", title: t("field.tags"), width: "minmax(110px, 1fr)", optional: true, cell: ({ disk }) => tagsText(disk.Tags) },
    {
      id: "actions",
      title: t("table.actions"),
      width: "130px",
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
            <MoreMenu id={row.disk.DiskId} entries={more} />
          </span>
        );
      },
    },
  ];
}
