import type { Operation } from "../../api/types";
import { NameAndId, Ref } from "../../parts/Copyable";
import type { Column } from "../../parts/DataTable";
import { FindingTag, OperationTag } from "../../parts/StateTag";
import { Time, useNow } from "../../parts/Time";
import { isCancelled } from "../../rules/cancelled";
import { duration, remaining } from "../../units/durations";
import { parseTime } from "../../units/times";
import { named, useWords } from "../../words";

/** How long an operation took, ms; null while it runs. */
export function took({ State, CreateTime, UpdateTime }: Operation): number | null {
  const [from, to] = [parseTime(CreateTime), parseTime(UpdateTime)];
  return State === "RUNNING" || from === null || to === null ? null : Math.max(0, to.getTime() - from.getTime());
}

/** How long an operation took, or has taken and will take. */
export function Took({ operation }: { readonly operation: Operation }) {
  const { t } = useWords();
  const now = useNow();
  const all = took(operation);
  if (all !== null) return <>{all < 1000 ? t("op.underSecond") : duration(all)}</>;
  const soFar = Math.max(0, now.getTime() - (parseTime(operation.CreateTime) ?? now).getTime());
  const left = remaining(operation.Percent, soFar);
  return <>{left === null ? duration(soFar) : t("op.left", { time: duration(left) })}</>;
}

/** Whether the snapshot that an operation was to create is not there: it failed or was cancelled, and was undone. */
export const leftNoSnapshot = ({ Kind, State }: Operation): boolean => State === "FAILED" && (Kind === "snapshot" || Kind === "snapshot_group");

/** What an operation works on, with a way there. */
export function Resource({ operation }: { readonly operation: Operation }) {
  const { DiskId, SnapshotId, InstanceId } = operation;
  return (
    <span className="stacked">
      {DiskId !== null && <Ref id={DiskId} />}
      {SnapshotId !== null && (leftNoSnapshot(operation) ? <NameAndId name="" id={SnapshotId} /> : <Ref id={SnapshotId} />)}
      {DiskId === null && SnapshotId === null && (InstanceId === null ? "–" : <Ref id={InstanceId} />)}
    </span>
  );
}

/** What a proof of opening that is not good has found; null for everything else. */
export function badFinding(operation: Operation): { readonly finding: string; readonly reason: string } | null {
  const { Kind, Result } = operation;
  if (Kind !== "prove" || typeof Result !== "object" || Result === null || !("finding" in Result) || Result.finding === "opens") return null;
  return { finding: String(Result.finding), reason: "reason" in Result ? String(Result.reason) : "" };
}

/** What went wrong, or goes wrong in every attempt so far. */
export function Trouble({ operation }: { readonly operation: Operation }) {
  const { t } = useWords();
  const found = badFinding(operation);
  if (found !== null) {
    return (
      <span className="stacked">
        <FindingTag finding={found.finding} />
        <small>{found.reason}</small>
      </span>
    );
  }
  // Its state says it.
  if (isCancelled(operation)) return <>–</>;
  if (operation.ErrorMessage === "") return <>{operation.Attempts > 1 ? t("op.attempts", { count: operation.Attempts }) : "–"}</>;
  return (
    <span className="trouble">
      <span>{operation.ErrorMessage}</span>
      <code>{operation.ErrorCode}</code>
    </span>
  );
}

export function useOperationColumns(): readonly Column<Operation>[] {
  const { t } = useWords();
  return [
    {
      id: "kind",
      title: t("op.what"),
      width: "minmax(150px, 1.3fr)",
      fixed: true,
      cell: (operation) => (
        <NameAndId name={named(t, "op.kind", operation.Kind)} id={operation.OperationId} to={`/operations/${operation.OperationId}`} />
      ),
    },
    { id: "state", title: t("common.state"), width: "minmax(150px, 1fr)", cell: (operation) => <OperationTag operation={operation} /> },
    { id: "resource", title: t("op.resource"), width: "minmax(130px, 1fr)", cell: (operation) => <Resource operation={operation} /> },
    { id: "time", title: t("op.took"), width: "minmax(110px, .8fr)", cell: (operation) => <Took operation={operation} /> },
    { id: "began", title: t("op.began"), width: "minmax(120px, .8fr)", cell: (operation) => <Time text={operation.CreateTime} /> },
    { id: "trouble", title: t("op.trouble"), width: "minmax(180px, 2fr)", cell: (operation) => <Trouble operation={operation} /> },
    { id: "phase", title: t("op.phase"), width: "minmax(110px, .7fr)", optional: true, cell: (operation) => operation.Phase || "–" },
  ];
}
