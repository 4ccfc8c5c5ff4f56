import { Link, useNavigate, useParams } from "react-router";
import { Button } from "tdesign-react/es/button";

import { useAnswer, useChange, useOperation, useSnapshot } from "../../api/queries";
import type { Operation, OperationPhase, OperationStep } from "../../api/types";
import { NameAndId, Ref } from "../../parts/Copyable";
import { ErrorNote } from "../../parts/ErrorNote";
import { useNotices } from "../../parts/Notices";
import { Card, Facts, Gone, OneHead, Pending, type Fact } from "../../parts/Page";
import { FindingTag, OperationTag } from "../../parts/StateTag";
import { Time } from "../../parts/Time";
import { isCancelled } from "../../rules/cancelled";
import { reasonText } from "../../rules/reasons";
import { bytes } from "../../units/bytes";
import { duration } from "../../units/durations";
import { named, useWords, type Translate } from "../../words";

import { badFinding, leftNoSnapshot, Took } from "./columns";
import { adviceOf, phasesOf } from "./phases";

/** One operation: where it is, how long it takes, and what to do where it failed. */
export default function OperationPage() {
  const { t } = useWords();
  const id = useParams()["id"] ?? "";
  const answer = useOperation(id);
  const control = useControl(id, answer.data);
  const history = useAnswer("drystone", "DescribeOperationHistory", { OperationId: id });
  const back = { to: "/operations", text: t("nav.operations") };
  if (answer.data === null) return <Gone title={t("op.gone", { id })} text={t("op.goneText")} back={back} />;
  if (answer.data === undefined) return <Pending answer={answer} />;
  const operation = answer.data;
  const spans = history.data?.PhaseSet ?? [];
  const phases = phasesOf(operation, spans.map(({ Phase }) => Phase));
  return (
    <>
      <OneHead name={named(t, "op.kind", operation.Kind)} id={id} what={t("op.id")} back={back} state={<OperationTag operation={operation} />} actions={control.buttons} />
      <ErrorNote error={answer.error ?? control.error} />
      <Failure operation={operation} />
      <div className="columns">
        <About operation={operation} />
        {phases.length > 0 && <Phases phases={phases} spans={spans} />}
      </div>
      {history.data !== undefined && <Steps steps={history.data.StepSet} cancelled={isCancelled(operation)} />}
    </>
  );
}

/** The buttons that end an operation or have it done again, and why the server refused. */
function useControl(id: string, operation: Operation | null | undefined) {
  const { t } = useWords();
  const notices = useNotices();
  const navigate = useNavigate();
  const cancel = useChange("drystone", "CancelOperation");
  const retry = useChange("drystone", "RetryOperation");
  const end = () => cancel.mutate({ OperationId: id }, { onSuccess: () => notices.show({ tone: "success", title: t("op.cancelling") }) });
  const again = () => retry.mutate({ OperationId: id }, { onSuccess: ({ OperationId }) => void navigate(`/operations/${OperationId}`) });
  const buttons = (
    <>
      {operation?.Cancellable && (
        <Button theme="danger" variant="outline" loading={cancel.isPending} onClick={end}>
          {t("op.cancel")}
        </Button>
      )}
      {operation?.Retriable && (
        <Button theme="default" variant="outline" loading={retry.isPending} onClick={again}>
          {t("op.retry")}
        </Button>
      )}
    </>
  );
  return { buttons, error: cancel.error ?? retry.error };
}

function About({ operation }: { readonly operation: Operation }) {
  const { t } = useWords();
  const { DiskId, SnapshotId, InstanceId, State, SentBytes, ToSendBytes } = operation;
  const snapshot = useSnapshot(SnapshotId ?? "").data?.snapshot;
  const facts: readonly (Fact | false)[] = [
    DiskId !== null && { name: t("rollback.disk"), value: <Ref id={DiskId} /> },
    SnapshotId !== null && { name: t("op.snapshot"), value: <NameAndId name={snapshot?.SnapshotName ?? ""} id={SnapshotId} {...(leftNoSnapshot(operation) ? {} : { to: `/snapshots/${SnapshotId}` })} /> },
    InstanceId !== null && { name: t("group.instance"), value: <Ref id={InstanceId} /> },
    { name: t("op.began"), value: <Time text={operation.CreateTime} exact /> },
    { name: t(State === "RUNNING" ? "op.changed" : "op.ended"), value: <Time text={operation.UpdateTime} exact /> },
    { name: t("op.took"), value: <Took operation={operation} /> },
    ToSendBytes !== null && { name: t("op.sent"), value: t("op.sentOf", { sent: bytes(SentBytes), all: bytes(ToSendBytes) }) },
    { name: t("op.tries"), hint: t("op.triesHint"), value: operation.Attempts },
  ];
  return (
    <Card title={t("op.about")}>
      <Facts facts={facts.filter((fact) => fact !== false)} />
    </Card>
  );
}

type PhasesProps = { readonly phases: ReturnType<typeof phasesOf>; readonly spans: readonly OperationPhase[] };

function Phases({ phases, spans }: PhasesProps) {
  const { t } = useWords();
  return (
    <Card title={t("op.phases")}>
      <ol className="phases">
        {phases.map(({ name, state }) => (
          <li key={name} className={`phases__${state}`} aria-current={state === "now" ? "step" : undefined}>
            <strong>{named(t, "op.phaseOf", name)}</strong> <small>
              {t(`op.phaseIs.${state}`)} {phaseTook(spans, name)}
            </small>
          </li>
        ))}
      </ol>
    </Card>
  );
}

/** How long a phase took, all the times that it was entered; nothing where that is not known. */
function phaseTook(spans: readonly OperationPhase[], name: string): string {
  const own = spans.filter(({ Phase }) => Phase === name);
  return own.length === 0 ? "" : `· ${duration(own.reduce((sum, { Seconds }) => sum + Seconds, 0) * 1000)}`;
}

/** What it did, step by step, the newest last. */
function Steps({ steps, cancelled }: { readonly steps: readonly OperationStep[]; readonly cancelled: boolean }) {
  const { t } = useWords();
  return (
    <Card title={t("op.history")}>
      <ol className="held">
        {steps.map(({ At, Phase, State, Attempts, ErrorMessage }, index) => (
          <li key={index}>
            <Time text={At} exact /> {stepText(t, Phase, State, cancelled)}
            {Attempts > 1 && ` · ${t("op.attempts", { count: Attempts })}`}
            {ErrorMessage !== "" && !(cancelled && State === "FAILED") && ` · ${reasonText(t, ErrorMessage)}`}
          </li>
        ))}
      </ol>
    </Card>
  );
}

/** What a step came to; the end of what was cancelled has the word that its state has. */
function stepText(t: Translate, phase: string, state: OperationStep["State"], cancelled: boolean): string {
  if (state === "RUNNING") return phase === "" ? t("op.state.RUNNING") : named(t, "op.phaseOf", phase);
  return state === "FAILED" && cancelled ? t("op.cancelled") : t(`op.state.${state}`);
}

function Failure({ operation }: { readonly operation: Operation }) {
  const { t } = useWords();
  const found = badFinding(operation);
  if (found !== null) {
    return (
      <div className="note note--warn">
        <FindingTag finding={found.finding} /> {found.reason}
      </div>
    );
  }
  if (operation.ErrorMessage === "") return null;
  if (isCancelled(operation)) return operation.State === "RUNNING" ? <div className="note note--warn" role="status">{t("op.cancelling")}</div> : null;
  const title = named(t, "error.code", operation.ErrorCode);
  const known = title !== operation.ErrorCode;
  return (
    <div className={operation.State === "FAILED" ? "error-note" : "note note--warn"} role="status">
      <div>
        <strong>{known ? title : operation.ErrorMessage}</strong>
        <p>
          {known && <>{operation.ErrorMessage} </>}
          <code>{operation.ErrorCode}</code>
        </p>
        <p>
          {t("op.todo")} {operation.State === "RUNNING" ? t("op.advice.wait") : t(`op.advice.${adviceOf(operation.ErrorCode)}`)}
          {operation.DiskId !== null && (
            <>
              {" "}
              <Link to={`/disks/${operation.DiskId}`}>{t("op.toDisk")}</Link>
            </>
          )}
        </p>
      </div>
    </div>
  );
}
