import { useCallback, useMemo, useState } from "react";

import { fetchOperations, operationIsBusy, useLongList } from "../../api/queries";
import { useChosen } from "../../parts/chosen";
import { useColumns } from "../../parts/DataTable";
import { Choice } from "../../parts/Field";
import { TaskIcon } from "../../parts/icons";
import { LongList } from "../../parts/LongList";
import { PageHead } from "../../parts/Page";
import { named, useWords } from "../../words";
import { useOperationColumns } from "./columns";

const STATES = ["RUNNING", "DONE", "FAILED"] as const;
const KINDS = [
  "create_disk", "snapshot", "snapshot_group", "delete_snapshot", "rollback", "hydrate", "compare", "resize", "attach",
  "detach", "terminate", "initialize", "export", "import", "compact", "prove", "rewrite",
] as const;

export default function OperationsPage() {
  const { t } = useWords();
  const { chosen, choose } = useChosen({ replace: false });
  const [seen, setSeen] = useState<readonly [number, number]>([0, 20]);
  const state = chosen("state");
  const kind = chosen("kind");
  const where = useMemo(
    () => ({
      filters: [
        ...(state === "" ? [] : [{ Name: "state", Values: [state] }]),
        ...(kind === "" ? [] : [{ Name: "kind", Values: [kind] }]),
      ],
    }),
    [state, kind],
  );
  const list = useLongList("operations", where, seen, fetchOperations, operationIsBusy);
  const [columns, columnsMenu] = useColumns("operations", useOperationColumns());
  const onSeen = useCallback((rows: readonly [number, number]) => setSeen(rows), []);
  return (
    <div className="list-page">
      <PageHead title={t("nav.operations")} lead={t("op.lead")} />
      <div className="tools">
        <Choice
          label={t("op.filterState")}
          value={state}
          onChange={(value) => choose("state", value)}
          options={[{ value: "", text: t("op.anyState") }, ...STATES.map((one) => ({ value: one, text: t(`op.state.${one}`) }))]}
        />
        <Choice
          label={t("op.filterKind")}
          value={kind}
          onChange={(value) => choose("kind", value)}
          options={[{ value: "", text: t("op.anyKind") }, ...KINDS.map((one) => ({ value: one, text: named(t, "op.kind", one) }))]}
        />
        <span className="tools__space" />
        {list.total !== undefined && <span className="tools__count">{t("table.count", { count: list.total })}</span>}
        {columnsMenu}
      </div>
      <LongList
        list={list}
        label={t("nav.operations")}
        columns={columns}
        idOf={(operation) => operation.OperationId}
        onSeen={onSeen}
        filtered={state !== "" || kind !== ""}
        empty={{ icon: <TaskIcon />, title: t("op.none"), text: t("op.noneText") }}
      />
    </div>
  );
}
