import { fetchOperations, operationIsBusy } from "../../api/queries";
import type { Operation } from "../../api/types";
import { TaskIcon } from "../../parts/icons";
import { ListPage, useListPage, type ListOf } from "../../parts/ListPage";
import { parseTime } from "../../units/times";
import { named, useWords } from "../../words";
import { took, useOperationColumns } from "./columns";

const STATES = ["RUNNING", "DONE", "FAILED"] as const;
const KINDS = [
  "create_disk", "snapshot", "snapshot_group", "delete_snapshot", "rollback", "hydrate", "compare", "resize", "attach",
  "detach", "terminate", "initialize", "export", "import", "compact", "prove", "rewrite",
] as const;
const OPERATIONS: ListOf<Operation> = {
  name: "operations",
  fetchPage: fetchOperations,
  busy: operationIsBusy,
  idOf: (operation) => operation.OperationId,
  exact: (text) => (text === "" ? [] : /^(disk|snap)-[a-z0-9]{8}$/.test(text) ? [{ Name: "resource-id", Values: [text] }] : null),
  texts: (one, nameOf) => [
    one.OperationId, one.Kind, one.ErrorCode, one.ErrorMessage, ...[one.DiskId, one.SnapshotId, one.InstanceId].flatMap((id) => (id === null ? [] : [id, nameOf(id)])),
  ],
  filters: { state: "state", kind: "kind" },
  values: {
    kind: (one) => one.Kind,
    state: (one) => one.State,
    resource: (one, nameOf) => [one.DiskId, one.SnapshotId, one.InstanceId].flatMap((id) => (id === null ? [] : [nameOf(id), id])).join(" ").trim(),
    time: (one) => took(one),
    began: (one) => parseTime(one.CreateTime),
    trouble: (one) => [one.ErrorCode, one.ErrorMessage].join(" ").trim(),
    phase: (one) => one.Phase,
  },
  units: { time: "ms" },
};

export default function OperationsPage() {
  const { t } = useWords();
  return (
    <ListPage
      page={useListPage(OPERATIONS)}
      title={t("nav.operations")}
      lead={t("op.lead")}
      columns={useOperationColumns()}
      choices={[
        { name: "state", label: t("common.filterState"), any: t("common.anyState"), options: STATES.map((value) => ({ value, text: t(`op.state.${value}`) })) },
        { name: "kind", label: t("op.filterKind"), any: t("op.anyKind"), options: KINDS.map((value) => ({ value, text: named(t, "op.kind", value) })) },
      ]}
      empty={{ icon: <TaskIcon />, title: t("op.none"), text: t("op.noneText") }}
    />
  );
}
