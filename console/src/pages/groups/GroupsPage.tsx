import { useCallback, useMemo, useState } from "react";
import { Link } from "react-router";
import { Button } from "tdesign-react/es/button";

import { fetchGroups, groupIsBusy, useLongList, type GroupRow } from "../../api/queries";
import { useChosen } from "../../parts/chosen";
import { NameAndId } from "../../parts/Copyable";
import { useColumns, type Column } from "../../parts/DataTable";
import { Choice } from "../../parts/Field";
import { AddIcon, EllipsisIcon, LayersIcon } from "../../parts/icons";
import { LongList } from "../../parts/LongList";
import { Menu } from "../../parts/Menu";
import { PageHead } from "../../parts/Page";
import { SearchBox } from "../../parts/SearchBox";
import { GroupTag } from "../../parts/StateTag";
import { Time } from "../../parts/Time";
import { duration } from "../../units/durations";
import { useWords } from "../../words";
import { CreateGroupDialog } from "./CreateGroupDialog";
import { GroupDialog, useGroupEntries, type OpenGroupDialog } from "./GroupDialogs";
import { groupFilters } from "./search";

const STATES = ["NORMAL", "CREATING", "ROLLBACKING"] as const;

export default function GroupsPage() {
  const { t } = useWords();
  const { chosen, choose } = useChosen({ replace: true });
  const [seen, setSeen] = useState<readonly [number, number]>([0, 20]);
  const [creating, setCreating] = useState(false);
  const [dialog, setDialog] = useState<OpenGroupDialog | null>(null);
  const text = chosen("q");
  const state = chosen("state");
  const where = useMemo(
    () => ({ filters: [...groupFilters(text), ...(state === "" ? [] : [{ Name: "snapshot-group-state", Values: [state] }])] }),
    [text, state],
  );
  const list = useLongList("groups", where, seen, fetchGroups, groupIsBusy);
  const open = useCallback((next: OpenGroupDialog) => setDialog(next), []);
  const [columns, columnsMenu] = useColumns("groups", useGroupColumns(open));
  const onSeen = useCallback((rows: readonly [number, number]) => setSeen(rows), []);
  const filtered = text !== "" || state !== "";
  const create = (
    <Button theme="primary" icon={<AddIcon />} onClick={() => setCreating(true)}>
      {t("newGroup.button")}
    </Button>
  );
  return (
    <div className="list-page">
      <PageHead title={t("nav.groups")} lead={t("groups.lead")} actions={create} />
      <div className="tools">
        <SearchBox value={text} onChange={(value) => choose("q", value)} hint={t("groups.searchHint")} />
        <Choice
          label={t("snap.filterState")}
          value={state}
          onChange={(value) => choose("state", value)}
          options={[{ value: "", text: t("snap.anyState") }, ...STATES.map((one) => ({ value: one, text: t(`snap.state.${one}`) }))]}
        />
        <span className="tools__space" />
        {list.total !== undefined && <span className="tools__count">{t("table.count", { count: list.total })}</span>}
        {columnsMenu}
      </div>
      <LongList
        list={list}
        label={t("nav.groups")}
        columns={columns}
        idOf={(row) => row.group.SnapshotGroupId}
        onSeen={onSeen}
        filtered={filtered}
        empty={{ icon: <LayersIcon />, title: t("groups.none"), text: t("groups.noneText"), action: create }}
      />
      {creating && <CreateGroupDialog onClose={() => setCreating(false)} />}
      <GroupDialog open={dialog} onClose={() => setDialog(null)} />
    </div>
  );
}

function useGroupColumns(open: (dialog: OpenGroupDialog) => void): readonly Column<GroupRow>[] {
  const { t } = useWords();
  const entries = useGroupEntries(open);
  return useMemo(
    () => [
      {
        id: "name",
        title: t("snap.nameAndId"),
        width: "minmax(150px, 1.6fr)",
        fixed: true,
        cell: ({ group }) => (
          <Link className="row-link" to={`/groups/${group.SnapshotGroupId}`}>
            <NameAndId name={group.SnapshotGroupName} id={group.SnapshotGroupId} />
          </Link>
        ),
      },
      { id: "state", title: t("snap.stateTitle"), width: "minmax(150px, 1fr)", cell: (row) => <GroupTag row={row} /> },
      {
        id: "instance",
        title: t("group.instance"),
        width: "minmax(120px, 1fr)",
        cell: ({ record }) => <code>{record?.InstanceId ?? "–"}</code>,
      },
      {
        id: "members",
        title: t("group.members"),
        width: "minmax(80px, .6fr)",
        cell: ({ group }) => <span className="number">{group.SnapshotIdSet.length}</span>,
      },
      {
        id: "pause",
        title: t("group.pause"),
        width: "minmax(110px, .8fr)",
        cell: ({ record }) => <span className="number">{duration(record?.PauseMs)}</span>,
      },
      {
        id: "kept",
        title: t("snap.kept"),
        width: "minmax(110px, .8fr)",
        cell: ({ group }) => (group.IsPermanent ? t("snap.forEver") : <Time text={group.DeadlineTime} />),
      },
      {
        id: "taken",
        title: t("snap.takenAt"),
        width: "minmax(110px, .8fr)",
        cell: ({ group, record }) => <Time text={record?.TakenAt ?? group.CreateTime} />,
      },
      {
        id: "tags",
        title: t("field.tags"),
        width: "minmax(110px, 1fr)",
        optional: true,
        cell: ({ record }) => record?.Tags.map((tag) => `${tag.Key}=${tag.Value}`).join(", ") || "–",
      },
      {
        id: "actions",
        title: t("table.actions"),
        width: "72px",
        fixed: true,
        cell: (row) => (
          <Menu label={t("table.more", { id: row.group.SnapshotGroupId })} entries={entries(row)}>
            <EllipsisIcon />
          </Menu>
        ),
      },
    ],
    [t, entries],
  );
}
