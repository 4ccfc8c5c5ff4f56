// What is asked before a disk is changed.
import { useState } from "react";
import { useNavigate } from "react-router";

import type { Instance } from "../../api/types";
import { useChange, useInstances, type DiskRow } from "../../api/queries";
import { confirmedBy, TypedName } from "../../parts/Confirm";
import { NameAndId } from "../../parts/Copyable";
import { Dialog } from "../../parts/Dialog";
import { CheckField, ChoiceField, nameIsTooLong, TextField } from "../../parts/Field";
import { useNotices } from "../../parts/Notices";
import { gib } from "../../units/bytes";
import { useWords } from "../../words";
import { CreateSnapshotDialog } from "../snapshots/CreateSnapshotDialog";
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
      return <RenameDialog row={first} onClose={onClose} />;
    case "rewrite":
      return <RewriteDialog row={first} onClose={onClose} />;
    case "initialize":
      return <InitializeDialog row={first} onClose={onClose} />;
    case "terminate":
      return <TerminateDialog rows={open.rows} onClose={onClose} />;
  }
}

const ids = (rows: readonly DiskRow[]): readonly string[] => rows.map((row) => row.disk.DiskId);

function DiskList({ rows }: { readonly rows: readonly DiskRow[] }) {
  return (
    <ul className="what-list">
      {rows.map(({ disk }) => (
        <li key={disk.DiskId}>
          <NameAndId name={disk.DiskName} id={disk.DiskId} />
          <span>{gib(disk.DiskSize)}</span>
        </li>
      ))}
    </ul>
  );
}

function AttachDialog({ rows, onClose }: Props) {
  const { t } = useWords();
  const notices = useNotices();
  const instances = useInstances();
  const [chosen, setChosen] = useState("");
  const attach = useChange("cbs", "AttachDisks");
  const all = instances.data?.InstanceSet ?? [];
  const fits = (one: Instance) => one.AttachedDiskCount + rows.length <= one.MaxAttachCount;
  const instance = all.find((one) => (chosen === "" ? fits(one) : one.InstanceId === chosen));
  const instanceId = instance?.InstanceId ?? "";
  const options = all.map((one) => ({
    value: one.InstanceId,
    text: `${one.InstanceName} (${one.InstanceId}) · ${t(`instance.kind.${one.Kind}`)} · ${one.AttachedDiskCount}/${one.MaxAttachCount}`,
    disabled: !fits(one),
  }));
  const submit = () =>
    attach.mutate(
      { InstanceId: instanceId, DiskIds: ids(rows) },
      {
        onSuccess: () => {
          notices.show({ tone: "success", title: t("attach.done") });
          onClose();
        },
      },
    );
  return (
    <Dialog
      title={t("attach.title")}
      onClose={onClose}
      onSubmit={submit}
      submitText={t("attach.submit")}
      ready={instance !== undefined && fits(instance)}
      busy={attach.isPending}
      error={attach.error ?? instances.error}
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
  const notices = useNotices();
  const detach = useChange("cbs", "DetachDisks");
  const submit = () =>
    detach.mutate(
      { DiskIds: ids(rows) },
      {
        onSuccess: () => {
          notices.show({ tone: "success", title: t("detach.done") });
          onClose();
        },
      },
    );
  return (
    <Dialog
      title={t("detach.title")}
      onClose={onClose}
      onSubmit={submit}
      submitText={t("detach.submit")}
      busy={detach.isPending}
      error={detach.error}
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
    <Dialog title={t("audit.title")} onClose={onClose} onSubmit={submit} submitText={t("audit.submit")} busy={audit.isPending} error={audit.error}>
      <DiskList rows={[row]} />
      <p>{t("audit.text")}</p>
    </Dialog>
  );
}

function RewriteDialog({ row, onClose }: OneProps) {
  const { t } = useWords();
  const notices = useNotices();
  const rewrite = useChange("drystone", "RewriteDisk");
  const submit = () =>
    rewrite.mutate(
      { DiskId: row.disk.DiskId },
      {
        onSuccess: () => {
          notices.show({ tone: "success", title: t("rewrite.done") });
          onClose();
        },
      },
    );
  return (
    <Dialog title={t("rewrite.title")} onClose={onClose} onSubmit={submit} submitText={t("rewrite.submit")} busy={rewrite.isPending} error={rewrite.error}>
      <DiskList rows={[row]} />
      <p>{t("rewrite.text")}</p>
    </Dialog>
  );
}

function ResizeDialog({ row, onClose }: OneProps) {
  const { t } = useWords();
  const notices = useNotices();
  const [text, setText] = useState(String(row.disk.DiskSize + 10));
  const resize = useChange("cbs", "ResizeDisk");
  const size = Number(text);
  const right = Number.isInteger(size) && size > row.disk.DiskSize && size <= 32_000;
  const submit = () =>
    resize.mutate(
      { DiskId: row.disk.DiskId, DiskSize: size },
      {
        onSuccess: () => {
          notices.show({ tone: "success", title: t("resize.done") });
          onClose();
        },
      },
    );
  return (
    <Dialog
      title={t("resize.title")}
      onClose={onClose}
      onSubmit={submit}
      submitText={t("resize.submit")}
      ready={right}
      busy={resize.isPending}
      error={resize.error}
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
        autofocus
      />
    </Dialog>
  );
}

function RenameDialog({ row, onClose }: OneProps) {
  const { t } = useWords();
  const [name, setName] = useState(row.disk.DiskName);
  const rename = useChange("cbs", "ModifyDiskAttributes");
  const long = nameIsTooLong(name, "bytes");
  return (
    <Dialog
      title={t("rename.disk")}
      onClose={onClose}
      onSubmit={() => rename.mutate({ DiskIds: [row.disk.DiskId], DiskName: name }, { onSuccess: onClose })}
      ready={name !== "" && !long}
      busy={rename.isPending}
      error={rename.error}
    >
      <TextField label={t("field.name")} value={name} onChange={setName} error={long ? t("field.nameLong") : null} autofocus />
    </Dialog>
  );
}

function InitializeDialog({ row, onClose }: OneProps) {
  const { t } = useWords();
  const notices = useNotices();
  const [typed, setTyped] = useState("");
  const initialize = useChange("cbs", "InitializeDisks");
  const source = row.detail?.SourceSnapshotId ?? null;
  const submit = () =>
    initialize.mutate(
      { DiskIds: [row.disk.DiskId] },
      {
        onSuccess: () => {
          notices.show({ tone: "success", title: t("initialize.done") });
          onClose();
        },
      },
    );
  return (
    <Dialog
      title={t("initialize.title")}
      onClose={onClose}
      onSubmit={submit}
      submitText={t("initialize.submit")}
      danger
      ready={typed === confirmedBy(row.disk)}
      busy={initialize.isPending}
      error={initialize.error}
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
  const notices = useNotices();
  const [typed, setTyped] = useState("");
  const [ticked, setTicked] = useState<boolean | null>(null);
  const terminate = useChange("cbs", "TerminateDisks");
  const parameters = terminateParameters(rows, ticked);
  const snapshots = rows.reduce((sum, row) => sum + row.disk.SnapshotCount, 0);
  const only = rows.length === 1 ? rows[0] : undefined;
  const expected = only ? confirmedBy(only.disk) : String(rows.length);
  const submit = () =>
    terminate.mutate(parameters, {
      onSuccess: () => {
        notices.show({ tone: "success", title: t("terminate.done", { count: rows.length }) });
        onClose();
      },
    });
  return (
    <Dialog
      title={t("terminate.title", { count: rows.length })}
      onClose={onClose}
      onSubmit={submit}
      submitText={t("terminate.submit")}
      danger
      ready={typed === expected}
      busy={terminate.isPending}
      error={terminate.error}
    >
      <DiskList rows={rows} />
      <p className="note note--warn">{t("terminate.warning")}</p>
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
