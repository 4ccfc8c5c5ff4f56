import { useState } from "react";
import { Button } from "tdesign-react/es/button";

import { fetchGroups, groupIsBusy, type GroupRow } from "../../api/queries";
import { useAddressed } from "../../parts/addressed";
import { NameAndId, Ref, shownName, tagsText, tagTexts } from "../../parts/Copyable";
import type { Column } from "../../parts/DataTable";
import { AddIcon, LayersIcon } from "../../parts/icons";
import { ListPage, useListPage, type ListOf } from "../../parts/ListPage";
import { MoreMenu } from "../../parts/Menu";
import { GroupTag } from "../../parts/StateTag";
import { Time } from "../../parts/Time";
import { duration } from "../../units/durations";
import { parseTime } from "../../units/times";
import { useWords } from "../../words";
import { CreateGroupDialog } from "./CreateGroupDialog";
import { GroupDialog, useGroupEntries, type OpenGroupDialog } from "./GroupDialogs";
import { exactGroups } from "./search";

const STATES = ["NORMAL", "CREATING", "ROLLBACKING"] as const;
const GROUPS: ListOf<GroupRow> = {
  name: "groups",
  fetchPage: fetchGroups,
  busy: groupIsBusy,
  idOf: (row) => row.group.SnapshotGroupId,
  exact: exactGroups,
  texts: ({ group, record }, nameOf) => [
    group.SnapshotGroupName, group.SnapshotGroupId, record?.InstanceId ?? "", nameOf(record?.InstanceId ?? ""), ...tagTexts(record?.Tags ?? []),
  ],
  filters: { state: "snapshot-group-state" },
  values: {
    name: ({ group }) => shownName(group.SnapshotGroupName, ""),
    state: ({ group }) => group.SnapshotGroupState,
    instance: ({ record }, nameOf) => `${nameOf(record?.InstanceId ?? "")} ${record?.InstanceId ?? ""}`.trim(),
    members: ({ group }) => group.SnapshotIdSet.length,
    pause: ({ record }) => record?.PauseMs ?? null,
    kept: ({ group }) => (group.IsPermanent ? null : parseTime(group.DeadlineTime)),
    taken: ({ group, record }) => parseTime(record?.TakenAt ?? group.CreateTime),
    tags: ({ record }) => tagTexts(record?.Tags ?? []).join(", "),
  },
  units: { pause: "ms" },
};

export default function GroupsPage() {
  const { t } = useWords();
  const [creating, setCreating] = useState(false);
  const [dialog, setDialog] = useState<OpenGroupDialog | null>(null);
  useAddressed({ create: { onSelect: () => setCreating(true) } });
  const create = (
    <Button theme="primary" icon={<AddIcon />} onClick={() => setCreating(true)}>
      {t("newGroup.button")}
    </Button>
  );
  return (
    <ListPage
      page={useListPage(GROUPS)}
      title={t("nav.groups")}
      lead={t("groups.lead")}
      actions={create}
      columns={useGroupColumns(setDialog)}
      choices={[{ name: "state", label: t("common.filterState"), any: t("common.anyState"), options: STATES.map((value) => ({ value, text: t(`snap.state.${value}`) })) }]}
      empty={{ icon: <LayersIcon />, title: t("groups.none"), text: t("groups.noneText"), action: create }}
    >
      {creating && <CreateGroupDialog onClose={() => setCreating(false)} />}
      <GroupDialog open={dialog} onClose={() => setDialog(null)} />
    </ListPage>
  );
}

function useGroupColumns(open: (dialog: OpenGroupDialog) => void): readonly Column<GroupRow>[] {
  const { t } = useWords();
  const entries = useGroupEntries(open);
  return [
    {
      id: "name",
      title: t("common.nameAndId"),
      width: "minmax(150px, 1.6fr)",
      fixed: true,
      cell: ({ group }) => <NameAndId name={group.SnapshotGroupName} id={group.SnapshotGroupId} to={`/groups/${group.SnapshotGroupId}`} />,
    },
    { id: "state", title: t("common.state"), width: "minmax(150px, 1fr)", cell: (row) => <GroupTag row={row} /> },
    { id: "instance", title: t("group.instance"), width: "minmax(120px, 1fr)", cell: ({ record }) => (record ? <Ref id={record.InstanceId} /> : "–") },
    { id: "members", title: t("group.members"), width: "minmax(80px, .6fr)", cell: ({ group }) => <span className="number">{group.SnapshotIdSet.length}</span> },
    { id: "pause", title: t("snap.freeze"), width: "minmax(110px, .8fr)", cell: ({ record }) => <span className="number">{duration(record?.PauseMs)}</span> },
    {
      id: "kept",
      title: t("snap.kept"),
      width: "minmax(110px, .8fr)",
      cell: ({ group }) => (group.IsPermanent ? t("expiry.never") : <Time text={group.DeadlineTime} />),
    },
    { id: "taken", title: t("snap.takenAt"), width: "minmax(110px, .8fr)", cell: ({ group, record }) => <Time text={record?.TakenAt ?? group.CreateTime} /> },
    { id: "tags", title: t("field.tags"), width: "minmax(110px, 1fr)", optional: true, cell: ({ record }) => tagsText(record?.Tags ?? []) },
    {
      id: "actions",
      title: t("table.actions"),
      width: "72px",
      fixed: true,
      cell: (row) => <MoreMenu id={row.group.SnapshotGroupId} entries={entries(row)} />,
    },
  ];
}
