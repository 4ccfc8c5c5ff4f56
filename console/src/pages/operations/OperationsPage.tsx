import { fetchOperations, operationIsBusy } from "../../api/queries";
import type { Operation } from "../../api/types";
import { TaskIcon } from "../../parts/icons";
import { ListPage, useListPage, type ListOf } from "../../parts/ListPage";
import { named, useWords } from "../../words";
import { useOperationColumns } from "./columns";

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
  filters: { state: "state", kind: "kind" },
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
