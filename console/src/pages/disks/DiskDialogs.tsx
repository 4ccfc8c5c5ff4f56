// What is asked before a disk is changed.
import { useState } from "react";
import { useNavigate } from "react-router";

import type { Instance } from "../../api/types";
import { useChange, useInstances, type DiskRow } from "../../api/queries";
import { asks } from "../../commands/asked";
import { useAsked } from "../../parts/asked";
import { confirmedBy, TypedName } from "../../parts/Confirm";
import { Dialog } from "../../parts/Dialog";
import { CheckField, ChoiceField, TextField } from "../../parts/Field";
import { RenameDialog } from "../../parts/RenameDialog";
import { gib } from "../../units/bytes";
import { useWords } from "../../words";
import { CreateSnapshotDialog } from "../snapshots/CreateSnapshotDialog";
import { DiskList } from "./DiskList";
import { terminateParameters } from "./terminate";

export type DiskDialogKind = "createSnapshot" | "audit" | "attach" | "detach" | "resize" | "rename" | "rewrite" | "initialize" | "terminate";
export type OpenDiskDialog = { readonly kind: DiskDialogKind; readonly rows: readonly DiskRow[] };

type Props = { readonly rows: readonly DiskRow[]; readonly onClose: () => void };

export function DiskDialog({ open, onClose }: { readonly open: OpenDiskDialog | null; readonly onClose: () => void }) {
  const first = open?.rows[0];
  if (open === null || first === undefined) return null;
  switch (open.kind) {
    case "createSnapshot":
      return <CreateSnapshotDialog rows={open.rows} onClose={onClose} />;
    case "audit":
      return <AuditDialog row={first} onClose={onClose} />;
    case "attach":
      return <AttachDialog rows={open.rows} onClose={onClose} />;
    case "detach":
      return <DetachDialog rows={open.rows} onClose={onClose} />;
    case "resize":
      return <ResizeDialog row={first} onClose={onClose} />;
    case "rename":
      return <RenameDiskDialog row={first} onClose={onClose} />;
    case "rewrite":
      return <RewriteDialog row={first} onClose={onClose} />;
    case "initialize":
      return <InitializeDialog row={first} onClose={onClose} />;
    case "terminate":
      return <TerminateDialog rows={open.rows} onClose={onClose} />;
  }
}

const ids = (rows: readonly DiskRow[]): readonly string[] => rows.map((row) => row.disk.DiskId);

function AttachDialog({ rows, onClose }: Props) {
  const { t } = useWords();
  const instances = useInstances();
  const [chosen, setChosen] = useState("");
  const attach = useAsked("cbs", "AttachDisks", onClose, t("attach.done"));
  const all = instances.data?.InstanceSet ?? [];
  const fits = (one: Instance) => one.AttachedDiskCount + rows.length <= one.MaxAttachCount;
  const instance = all.find((one) => (chosen === "" ? fits(one) : one.InstanceId === chosen));
  const instanceId = instance?.InstanceId ?? "";
  const parameters = { InstanceId: instanceId, DiskIds: ids(rows) };
  const options = all.map((one) => ({
    value: one.InstanceId,
    text: `${one.InstanceName} (${one.InstanceId}) · ${t(`instance.kind.${one.Kind}`)} · ${one.AttachedDiskCount}/${one.MaxAttachCount}`,
    disabled: !fits(one),
  }));
  return (
    <Dialog
      {...attach.dialog}
      title={t("attach.title", { count: rows.length })}
      onSubmit={() => attach.send(parameters)}
      shows={asks("cbs", "AttachDisks", parameters)}
      submitText={t("diskAction.attach")}
      ready={instance !== undefined && fits(instance)}
      error={attach.dialog.error ?? instances.error}
    >
      <DiskList rows={rows} />
      <ChoiceField
        label={t("attach.instance")}
        value={instanceId}
        options={options}
        onChange={setChosen}
        hint={instance && t(instance.Kind === "HOST" ? "attach.hostHint" : "attach.nbdHint")}
      />
    </Dialog>
  );
}

function DetachDialog({ rows, onClose }: Props) {
  const { t } = useWords();
  const detach = useAsked("cbs", "DetachDisks", onClose, t("detach.done"));
  return (
    <Dialog
      {...detach.dialog}
      title={t("detach.title", { count: rows.length })}
      onSubmit={() => detach.send({ DiskIds: ids(rows) })}
      shows={asks("cbs", "DetachDisks", { DiskIds: ids(rows) })}
      submitText={t("diskAction.detach")}
    >
      <DiskList rows={rows} />
      <p className="note note--warn">{t("detach.warning")}</p>
    </Dialog>
  );
}

type OneProps = { readonly row: DiskRow; readonly onClose: () => void };

function AuditDialog({ row, onClose }: OneProps) {
  const { t } = useWords();
  const navigate = useNavigate();
  const audit = useChange("drystone", "AuditDisk");
  const submit = () =>
    audit.mutate({ DiskId: row.disk.DiskId }, { onSuccess: ({ SnapshotId }) => void navigate(`/snapshots/${SnapshotId}`) });
  return (
    <Dialog title={t("diskAction.audit")} onClose={onClose} onSubmit={submit} shows={asks("drystone", "AuditDisk", { DiskId: row.disk.DiskId })} submitText={t("audit.submit")} busy={audit.isPending} error={audit.error}>
      <DiskList rows={[row]} />
      <p>{t("audit.text")}</p>
    </Dialog>
  );
}

function RewriteDialog({ row, onClose }: OneProps) {
  const { t } = useWords();
  const rewrite = useAsked("drystone", "RewriteDisk", onClose, t("rewrite.done"));
  return (
    <Dialog {...rewrite.dialog} title={t("rewrite.title")} onSubmit={() => rewrite.send({ DiskId: row.disk.DiskId })} shows={asks("drystone", "RewriteDisk", { DiskId: row.disk.DiskId })} submitText={t("diskAction.rewrite")}>
      <DiskList rows={[row]} />
      <p>{t("rewrite.text")}</p>
    </Dialog>
  );
}

function ResizeDialog({ row, onClose }: OneProps) {
  const { t } = useWords();
  const [text, setText] = useState(String(row.disk.DiskSize + 10));
  const resize = useAsked("cbs", "ResizeDisk", onClose, t("resize.done"));
  const size = Number(text);
  const right = Number.isInteger(size) && size > row.disk.DiskSize && size <= 32_000;
  return (
    <Dialog
      {...resize.dialog}
      title={t("resize.title")}
      onSubmit={() => resize.send({ DiskId: row.disk.DiskId, DiskSize: size })}
      shows={asks("cbs", "ResizeDisk", { DiskId: row.disk.DiskId, DiskSize: size })}
      submitText={t("diskAction.resize")}
      ready={right}
    >
      <DiskList rows={[row]} />
      <TextField
        label={t("resize.size")}
        type="number"
        value={text}
        onChange={setText}
        suffix="GiB"
        error={right ? null : t("resize.bad", { now: gib(row.disk.DiskSize) })}
        hint={t("resize.hint")}
      />
    </Dialog>
  );
}

function RenameDiskDialog({ row: { disk }, onClose }: OneProps) {
  const { t } = useWords();
  const rename = useAsked("cbs", "ModifyDiskAttributes", onClose);
  const parameters = (DiskName: string) => ({ DiskIds: [disk.DiskId], DiskName });
  return <RenameDialog title={t("rename.disk")} name={disk.DiskName} kind="disk" asked={rename.dialog} onRename={(to) => rename.send(parameters(to))} showsOf={(to) => asks("cbs", "ModifyDiskAttributes", parameters(to))} />;
}

function InitializeDialog({ row, onClose }: OneProps) {
  const { t } = useWords();
  const [typed, setTyped] = useState("");
  const initialize = useAsked("cbs", "InitializeDisks", onClose, t("initialize.done"));
  const source = row.detail?.SourceSnapshotId ?? null;
  return (
    <Dialog
      {...initialize.dialog}
      title={t("initialize.title")}
      onSubmit={() => initialize.send({ DiskIds: [row.disk.DiskId] })}
      shows={asks("cbs", "InitializeDisks", { DiskIds: [row.disk.DiskId] })}
      submitText={t("diskAction.initialize")}
      danger
      ready={typed === confirmedBy(row.disk)}
    >
      <DiskList rows={[row]} />
      <p className="note note--warn">
        {source === null ? t("initialize.empty") : t("initialize.toSource", { id: source })}
      </p>
      <TypedName expected={confirmedBy(row.disk)} typed={typed} onChange={setTyped} />
    </Dialog>
  );
}

function TerminateDialog({ rows, onClose }: Props) {
  const { t } = useWords();
  const [typed, setTyped] = useState("");
  const [ticked, setTicked] = useState<boolean | null>(null);
  const terminate = useAsked("cbs", "TerminateDisks", onClose, t("terminate.done", { count: rows.length }));
  const parameters = terminateParameters(rows, ticked);
  const snapshots = rows.reduce((sum, row) => sum + row.disk.SnapshotCount, 0);
  const only = rows.length === 1 ? rows[0] : undefined;
  const expected = only ? confirmedBy(only.disk) : String(rows.length);
  return (
    <Dialog
      {...terminate.dialog}
      title={t("terminate.title", { count: rows.length })}
      onSubmit={() => terminate.send(parameters)}
      shows={asks("cbs", "TerminateDisks", parameters)}
      submitText={t("diskAction.terminate")}
      danger
      ready={typed === expected}
    >
      <DiskList rows={rows} />
      <p className="note note--warn">{t("terminate.warning", { count: rows.length })}</p>
      {snapshots > 0 && (
        <>
          {parameters.DeleteSnapshot === 0 && <p>{t("terminate.snapshotsStay", { count: snapshots })}</p>}
          {parameters.DeleteSnapshot === undefined && <p>{t("terminate.asChosen")}</p>}
          <CheckField checked={parameters.DeleteSnapshot === 1} onChange={setTicked}>
            {t("terminate.withSnapshots")}
          </CheckField>
        </>
      )}
      {only ? (
        <TypedName expected={expected} typed={typed} onChange={setTyped} />
      ) : (
        <TextField label={t("confirm.count", { count: rows.length })} value={typed} onChange={setTyped} />
      )}
    </Dialog>
  );
}
