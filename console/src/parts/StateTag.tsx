import type { ReactNode } from "react";

import type { Operation } from "../api/types";
import type { DiskRow, GroupRow, SnapshotRow } from "../api/queries";
import { isCancelled } from "../rules/cancelled";
import { missed } from "../rules/quiesced";
import { named, useWords } from "../words";

export type Tone = "good" | "plain" | "busy" | "bad" | "warn";

const DISK_TONES: Readonly<Record<string, Tone>> = { ATTACHED: "good", UNATTACHED: "plain", TORECYCLE: "warn" };
const SNAPSHOT_TONES: Readonly<Record<string, Tone>> = { NORMAL: "good" };
const FINDING_TONES: Readonly<Record<string, Tone>> = { opens: "good", damaged: "bad" };
const OPERATION_TONES: Readonly<Record<string, Tone>> = { DONE: "good", FAILED: "bad" };

export function Tag({ tone, children }: { readonly tone: Tone; readonly children: string }) {
  return (
    <span className={`state state--${tone}`}>
      <i aria-hidden="true" />
      {children}
    </span>
  );
}

export function Progress({ percent, label }: { readonly percent: number; readonly label: string }) {
  return (
    <span className="progress">
      <progress max={100} value={percent} aria-label={label} />
      <span>{percent}%</span>
    </span>
  );
}

export function DiskTag({ row, snapshotting = false }: { readonly row: DiskRow; readonly snapshotting?: boolean }) {
  const { t } = useWords();
  const state = row.disk.DiskState;
  return (
    <span className="state-cell">
      <Tag tone={DISK_TONES[state] ?? "busy"}>{named(t, "disk.state", state)}</Tag>
      {state === "ROLLBACKING" && <Progress percent={row.disk.RollbackPercent} label={t("disk.state.ROLLBACKING")} />}
      {row.detail?.Hydrating && (
        <span className="filling">
          <Progress percent={row.detail.HydrationPercent} label={t("disk.hydrating")} /> <small>{t("disk.filling")}</small>
        </span>
      )}
      {snapshotting && <small>{t("disk.snapshotting")}</small>}
    </span>
  );
}

type SnapshotStateProps = { readonly state: string; readonly percent: number; readonly children?: ReactNode };

function SnapshotStateTag({ state, percent, children }: SnapshotStateProps) {
  const { t } = useWords();
  return (
    <span className="state-cell">
      <Tag tone={SNAPSHOT_TONES[state] ?? "busy"}>{named(t, "snap.state", state)}</Tag>
      {state === "CREATING" && <Progress percent={percent} label={t("snap.state.CREATING")} />}
      {children}
    </span>
  );
}

export function SnapshotTag({ row: { snapshot, record } }: { readonly row: SnapshotRow }) {
  const { t } = useWords();
  return (
    <SnapshotStateTag state={snapshot.SnapshotState} percent={snapshot.Percent}>
      {record?.Damaged && <Tag tone="bad">{t("snap.damaged")}</Tag>}
      {missed(record).length > 0 && <Tag tone="warn">{t("snap.steppedDown")}</Tag>}
      {record?.Suspect && <Tag tone="warn">{t("snap.suspect")}</Tag>}
    </SnapshotStateTag>
  );
}

export function GroupTag({ row: { group } }: { readonly row: GroupRow }) {
  return <SnapshotStateTag state={group.SnapshotGroupState} percent={group.Percent} />;
}

/** What a proof that a snapshot opens has shown. */
export function FindingTag({ finding }: { readonly finding: string }) {
  const { t } = useWords();
  return <Tag tone={FINDING_TONES[finding] ?? "warn"}>{named(t, "opening.finding", finding)}</Tag>;
}

export function OperationTag({ operation }: { readonly operation: Operation }) {
  const { t } = useWords();
  if (isCancelled(operation)) return <Tag tone={operation.State === "RUNNING" ? "busy" : "plain"}>{t(operation.State === "RUNNING" ? "op.cancelling" : "op.cancelled")}</Tag>;
  return (
    <span className="state-cell">
      <Tag tone={OPERATION_TONES[operation.State] ?? "busy"}>{named(t, "op.state", operation.State)}</Tag>
      {operation.State === "RUNNING" && <Progress percent={operation.Percent} label={t("op.progress")} />}
    </span>
  );
}
