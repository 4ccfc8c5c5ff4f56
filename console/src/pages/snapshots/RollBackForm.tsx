import { useState, type ReactNode } from "react";

import { TypedName } from "../../parts/Confirm";
import { Dialog } from "../../parts/Dialog";
import { CheckField } from "../../parts/Field";
import { Time } from "../../parts/Time";
import { useWords } from "../../words";
import type { useRollBack } from "./useRollBack";

type Props = {
  readonly title: string;
  readonly onClose: () => void;
  readonly rolling: ReturnType<typeof useRollBack>;
  readonly diskIds: readonly string[];
  /** Begins the rollback of these disks. */
  readonly apply: () => Promise<unknown>;
  /** What is written into the names of the safety snapshots. */
  readonly to: string;
  readonly safetyText: string;
  /** What the user types to confirm; null while it is not known. */
  readonly expected: string | null;
  /** Whether the disks are known. */
  readonly ready: boolean;
  /** Why it would be refused now. */
  readonly refusal: string | null;
  readonly error: Error | null;
  readonly lostText: string;
  readonly since: string;
  /** More about what is lost. */
  readonly lostMore?: ReactNode;
  readonly children: ReactNode;
};

/** What is asked before disks are rolled back: what is lost, snapshots of the disks as they are now, and a name to be typed. */
export function RollBackForm(props: Props) {
  const { t } = useWords();
  const [typed, setTyped] = useState("");
  const [safety, setSafety] = useState(true);
  const { expected } = props;
  const { act, step } = props.rolling;
  // While it runs the disks are busy with the safety snapshots of this very dialog.
  const refusal = act.isPending ? null : props.refusal;
  const safetyName = safety ? t("rollback.safetyName", { name: props.to }) : null;
  return (
    <Dialog
      title={props.title}
      onClose={props.onClose}
      onSubmit={() => act.mutate({ diskIds: props.diskIds, safetyName, apply: props.apply })}
      submitText={t("snapAction.rollBack")}
      danger
      ready={props.ready && refusal === null && expected !== null && typed === expected}
      busy={act.isPending}
      // Whoever leaves while the safety snapshots are created has rolled back nothing.
      begun={step.name === "applying"}
      error={act.error ?? props.error}
    >
      {props.children}
      <div className="note note--warn">
        <strong>{t("rollback.lost")}</strong>
        <p>
          {props.lostText} <Time text={props.since} exact />
        </p>
        {props.lostMore !== undefined && <p>{props.lostMore}</p>}
      </div>
      {refusal !== null && <p className="field__error">{refusal}</p>}
      <CheckField checked={safety} onChange={setSafety}>
        {props.safetyText}
      </CheckField>
      {expected !== null && <TypedName expected={expected} typed={typed} onChange={setTyped} />}
      {step.name === "safety" && <p role="status">{t("rollback.safetyRuns", { percent: step.percent })}</p>}
    </Dialog>
  );
}
