// What is asked before something is done with snapshots.
import { useMemo, useState } from "react";

import { RefusedError } from "../../api/client";
import { useChange, type SnapshotRow } from "../../api/queries";
import { asks } from "../../commands/asked";
import { useAsked } from "../../parts/asked";
import { NameAndId } from "../../parts/Copyable";
import { Dialog } from "../../parts/Dialog";
import { ExpiryField, expiryIsRight } from "../../parts/Field";
import { useNotices } from "../../parts/Notices";
import { RenameDialog } from "../../parts/RenameDialog";
import { bytes } from "../../units/bytes";
import { deadlineIn, parseTime } from "../../units/times";
import { useWords } from "../../words";
import { CreateDiskDialog } from "../disks/CreateDiskDialog";
import { Difference } from "./Difference";
import { ExportDialog } from "./ExportDialog";
import { Frees, useFreed } from "./Frees";
import { RestoreDialog } from "./RestoreDialog";
import { RollBackDialog } from "./RollBackDialog";

export type SnapshotDialogKind = "restore" | "createDisk" | "rollBack" | "rename" | "keep" | "export" | "remove" | "compare";
export type OpenSnapshotDialog = { readonly kind: SnapshotDialogKind; readonly rows: readonly SnapshotRow[] };

type Props = {
  readonly open: OpenSnapshotDialog | null;
  readonly onClose: () => void;
  /** Called when the snapshots are gone. */
  readonly onRemoved?: () => void;
};

export function SnapshotDialog({ open, onClose, onRemoved }: Props) {
  const first = open?.rows[0];
  if (open === null || first === undefined) return null;
  switch (open.kind) {
    case "restore":
      return <RestoreDialog row={first} onClose={onClose} />;
    case "createDisk":
      return <CreateDiskDialog from={first} onClose={onClose} />;
    case "rollBack":
      return <RollBackDialog row={first} onClose={onClose} />;
    case "rename":
      return <RenameSnapshotDialog row={first} onClose={onClose} />;
    case "keep":
      return <KeepDialog row={first} onClose={onClose} />;
    case "export":
      return <ExportDialog row={first} onClose={onClose} />;
    case "remove":
      return <RemoveDialog rows={open.rows} onClose={onClose} onRemoved={onRemoved} />;
    case "compare":
      return <CompareDialog rows={open.rows} onClose={onClose} />;
  }
}

type OneProps = { readonly row: SnapshotRow; readonly onClose: () => void };

function RenameSnapshotDialog({ row: { snapshot }, onClose }: OneProps) {
  const { t } = useWords();
  const rename = useAsked("cbs", "ModifySnapshotAttribute", onClose);
  const parameters = (SnapshotName: string) => ({ SnapshotId: snapshot.SnapshotId, SnapshotName });
  return <RenameDialog title={t("rename.snapshot")} name={snapshot.SnapshotName} kind="snapshot" asked={rename.dialog} onRename={(to) => rename.send(parameters(to))} showsOf={(to) => asks("cbs", "ModifySnapshotAttribute", parameters(to))} />;
}

function KeepDialog({ row, onClose }: OneProps) {
  const { t } = useWords();
  const [expiry, setExpiry] = useState(row.snapshot.IsPermanent ? "30" : "");
  const keep = useAsked("cbs", "ModifySnapshotAttribute", onClose, t("keep.done"));
  const id = { SnapshotId: row.snapshot.SnapshotId };
  const parameters = () => (expiry === "" ? { ...id, IsPermanent: true } : { ...id, Deadline: deadlineIn(Number(expiry), new Date()) });
  return (
    <Dialog {...keep.dialog} title={t("snapAction.keep")} onSubmit={() => keep.send(parameters())} shows={expiryIsRight(expiry) ? asks("cbs", "ModifySnapshotAttribute", parameters()) : null} ready={expiryIsRight(expiry)}>
      <p>
        <NameAndId name={row.snapshot.SnapshotName} id={row.snapshot.SnapshotId} />
      </p>
      <ExpiryField value={expiry} onChange={setExpiry} />
    </Dialog>
  );
}

type RemoveProps = { readonly rows: readonly SnapshotRow[]; readonly onClose: () => void; readonly onRemoved?: (() => void) | undefined };

function RemoveDialog({ rows, onClose, onRemoved }: RemoveProps) {
  const { t } = useWords();
  const notices = useNotices();
  const ids = rows.map((row) => row.snapshot.SnapshotId);
  const space = useFreed(ids);
  const remove = useChange("cbs", "DeleteSnapshots");
  const end = (gone: boolean) => {
    notices.show(
      gone
        ? { tone: "warning", title: t("remove.already") }
        : { tone: "success", title: t("remove.done", { count: rows.length, size: bytes(space.data?.ReclaimableBytes) }) },
    );
    onClose();
    onRemoved?.();
  };
  const submit = () =>
    remove.mutate(
      { SnapshotIds: ids },
      {
        onSuccess: () => end(false),
        onError: (error) => {
          // Somebody else was faster: what was wanted is the case.
          if (rows.length === 1 && error instanceof RefusedError && error.code === "InvalidSnapshotId.NotFound") end(true);
        },
      },
    );
  return (
    <Dialog
      title={t("remove.title", { count: rows.length })}
      onClose={onClose}
      onSubmit={submit}
      shows={asks("cbs", "DeleteSnapshots", { SnapshotIds: ids })}
      submitText={t("snapAction.remove")}
      danger
      busy={remove.isPending}
      error={remove.error}
    >
      <Frees rows={rows} freed={space} />
      <p className="field__hint">{t("remove.hint")}</p>
    </Dialog>
  );
}

function CompareDialog({ rows, onClose }: { readonly rows: readonly SnapshotRow[]; readonly onClose: () => void }) {
  const { t } = useWords();
  const [older, newer] = useMemo(() => {
    const at = (row: SnapshotRow) => parseTime(row.record?.TakenAt ?? row.snapshot.CreateTime)?.getTime() ?? 0;
    return [...rows].sort((a, b) => at(a) - at(b));
  }, [rows]);
  if (older === undefined || newer === undefined) return null;
  return (
    <Dialog title={t("diff.title")} onClose={onClose} wide>
      <div className="pair">
        <p>
          <small>{t("diff.from")}</small>
          <NameAndId name={older.snapshot.SnapshotName} id={older.snapshot.SnapshotId} />
        </p>
        <p>
          <small>{t("diff.to")}</small>
          <NameAndId name={newer.snapshot.SnapshotName} id={newer.snapshot.SnapshotId} />
        </p>
      </div>
      <Difference from={older.snapshot.SnapshotId} to={newer.snapshot.SnapshotId} />
    </Dialog>
  );
}
