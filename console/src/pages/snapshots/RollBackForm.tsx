import { useState, type ReactNode } from "react";

import { useNames } from "../../api/names";
import type { Shown } from "../../commands/asked";
import { TypedName } from "../../parts/Confirm";
import { shownName } from "../../parts/Copyable";
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
  /** What it would do now, to be shown as commands. */
  readonly showsOf: (how: { readonly safetyName: string | null; readonly instanceId: string | null; readonly attachAgain: boolean }) => Shown;
  readonly safetyText: string;
  /** What the user types to confirm; null while it is not known. */
  readonly expected: string | null;
  /** Whether the disks are known. */
  readonly ready: boolean;
  /** Why it would be refused now. */
  readonly refusal: string | null;
  readonly error: Error | null;
  /** A disk that is attached, and the instance that has it: it is detached before. */
  readonly attached?: { readonly diskId: string; readonly instanceId: string } | null;
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
  const [attachAgain, setAttachAgain] = useState(true);
  const nameOf = useNames();
  const { expected } = props;
  // While it runs the disk is detached; what was to be done stays as it was said.
  const [found, setFound] = useState(props.attached ?? null);
  if (found === null && props.attached) setFound(props.attached);
  const around = found === null ? null : { ...found, detach: props.attached != null, attachAgain };
  const { act, step } = props.rolling;
  // While it runs the disks are busy with the safety snapshots of this very dialog.
  const refusal = act.isPending ? null : props.refusal;
  const safetyName = safety ? t("rollback.safetyName", { name: props.to }) : null;
  return (
    <Dialog
      title={props.title}
      onClose={props.onClose}
      onSubmit={() => act.mutate({ diskIds: props.diskIds, safetyName, apply: props.apply, around })}
      shows={props.showsOf({ safetyName, instanceId: found?.instanceId ?? null, attachAgain })}
      submitText={t("snapAction.rollBack")}
      danger
      ready={props.ready && refusal === null && expected !== null && typed === expected}
      busy={act.isPending}
      // Whoever leaves while the safety snapshots are created has rolled back nothing.
      begun={step.name !== "asked" && step.name !== "safety"}
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
      {found !== null && (
        <>
          <p className="note note--warn">{t("rollback.detaches", { instance: shownName(nameOf(found.instanceId), found.instanceId) })}</p>
          <CheckField checked={attachAgain} onChange={setAttachAgain}>
            {t("rollback.attachAgain")}
          </CheckField>
        </>
      )}
      {expected !== null && <TypedName expected={expected} typed={typed} onChange={setTyped} />}
      {step.name === "detaching" && <p role="status">{t("rollback.detaching")}</p>}
      {step.name === "applying" && around?.attachAgain === true && <p role="status">{t("rollback.applying")}</p>}
      {step.name === "attaching" && <p role="status">{t("rollback.attaching")}</p>}
      {step.name === "safety" && <p role="status">{t("rollback.safetyRuns", { percent: step.percent })}</p>}
    </Dialog>
  );
}
