// What is asked before a group is rolled back to or deleted.
import { useState } from "react";

import { call } from "../../api/client";
import { useChange, useDisks, useSnapshots, useSnapshotting, type GroupRow, type SnapshotRow } from "../../api/queries";
import { TypedName } from "../../parts/Confirm";
import { NameAndId, shownName } from "../../parts/Copyable";
import { Dialog } from "../../parts/Dialog";
import { CheckField } from "../../parts/Field";
import type { MenuEntry } from "../../parts/Menu";
import { useNotices } from "../../parts/Notices";
import { Loading } from "../../parts/Page";
import { refusalText } from "../../parts/refusal";
import { Time } from "../../parts/Time";
import { toggled } from "../../parts/toggled";
import { groupRefusal, snapshotFacts, snapshotRefusal, type Refusal } from "../../rules/rules";
import { useWords } from "../../words";
import { Frees, useFreed } from "../snapshots/Frees";
import { useRollBack } from "../snapshots/useRollBack";

export type OpenGroupDialog = { readonly kind: "rollBack" | "remove"; readonly row: GroupRow };

const KINDS = ["rollBack", "remove"] as const;

/** Every action on a group, with the reason why it would be refused now. */
export function useGroupEntries(open: (dialog: OpenGroupDialog) => void): (row: GroupRow) => readonly MenuEntry[] {
  const { t } = useWords();
  return (row) =>
    KINDS.map((kind) => ({
      text: t(`snapAction.${kind}`),
      refusal: groupRefusal(row.group.SnapshotGroupState),
      danger: true,
      onSelect: () => open({ kind, row }),
    }));
}

type Props = { readonly open: OpenGroupDialog | null; readonly onClose: () => void; readonly onRemoved?: () => void };

export function GroupDialog({ open, onClose, onRemoved }: Props) {
  if (open === null) return null;
  return open.kind === "rollBack" ? <RollBackDialog row={open.row} onClose={onClose} /> : <RemoveDialog row={open.row} onClose={onClose} onRemoved={onRemoved} />;
}

/** What a user types to confirm something about a group: its name, or the id of one that has none. */
const groupConfirmedBy = ({ group }: GroupRow): string => shownName(group.SnapshotGroupName, group.SnapshotGroupId);

/** The members of a group, each with the reason why its disk cannot be rolled back now. */
function useRollBackPairs(row: GroupRow) {
  const members = useSnapshots(row.group.SnapshotIdSet);
  const ids = members.data?.rows.map((member) => member.snapshot.DiskId) ?? [];
  const disks = useDisks({ ids }, ids.length > 0);
  const snapshotting = useSnapshotting();
  const pairs = members.data?.rows.map((member) => {
    const disk = disks.data === undefined ? undefined : (disks.data.rows.find((one) => one.disk.DiskId === member.snapshot.DiskId) ?? null);
    return { member, disk, refusal: snapshotRefusal("rollBack", snapshotFacts(member, disk, snapshotting)) };
  });
  return { pairs, known: disks.data !== undefined, error: members.error ?? disks.error };
}

/** Before several disks are made what they were: which, what will be lost, a way back, and the group's name to be typed. */
function RollBackDialog({ row, onClose }: { readonly row: GroupRow; readonly onClose: () => void }) {
  const { t } = useWords();
  const { group, record } = row;
  const [typed, setTyped] = useState("");
  const [safety, setSafety] = useState(true);
  const [left, setLeft] = useState<ReadonlySet<string>>(new Set());
  const { pairs, known, error } = useRollBackPairs(row);
  const { act, step } = useRollBack(onClose);
  const expected = groupConfirmedBy(row);
  const wanted = pairs?.filter(({ member }) => !left.has(member.snapshot.SnapshotId)) ?? [];
  // While it runs the disks are busy with the safety snapshots of this very dialog.
  const refused = !act.isPending && wanted.some(({ refusal }) => refusal !== null);
  const submit = () =>
    act.mutate({
      diskIds: wanted.map(({ member }) => member.snapshot.DiskId),
      safetyName: safety ? t("rollback.safetyName", { name: expected }) : null,
      apply: () =>
        call("cbs", "ApplySnapshotGroup", {
          SnapshotGroupId: group.SnapshotGroupId,
          ApplyDisks: wanted.map(({ member }) => ({ SnapshotId: member.snapshot.SnapshotId, DiskId: member.snapshot.DiskId })),
        }),
    });
  return (
    <Dialog
      title={t("group.rollBackTitle")}
      onClose={onClose}
      onSubmit={submit}
      submitText={t("rollback.submit")}
      danger
      ready={known && wanted.length > 0 && !refused && typed === expected}
      busy={act.isPending}
      error={act.error ?? error}
    >
      <p>{t("group.rollBackText")}</p>
      {pairs === undefined ? (
        error === null && <Loading />
      ) : (
        <ul className="what-list">
          {pairs.map(({ member, disk, refusal }) => (
            <Pair
              key={member.snapshot.SnapshotId}
              member={member}
              name={disk?.disk.DiskName ?? ""}
              refusal={act.isPending ? null : refusal}
              ticked={!left.has(member.snapshot.SnapshotId)}
              onToggle={() => setLeft(toggled(left, member.snapshot.SnapshotId))}
            />
          ))}
        </ul>
      )}
      <div className="note note--warn">
        <strong>{t("rollback.lost")}</strong>
        <p>
          {t("group.lostText", { count: wanted.length })} <Time text={record?.TakenAt ?? group.CreateTime} exact />.
        </p>
      </div>
      {refused && <p className="field__error">{t("group.refused")}</p>}
      <CheckField checked={safety} onChange={setSafety}>
        {t("group.safety")}
      </CheckField>
      <TypedName expected={expected} typed={typed} onChange={setTyped} />
      {step.name === "safety" && <p role="status">{t("rollback.safetyRuns", { percent: step.percent })}</p>}
    </Dialog>
  );
}

type PairProps = {
  readonly member: SnapshotRow;
  readonly name: string;
  readonly refusal: Refusal | null;
  readonly ticked: boolean;
  readonly onToggle: () => void;
};

function Pair({ member, name, refusal, ticked, onToggle }: PairProps) {
  const { t } = useWords();
  const { snapshot } = member;
  return (
    <li>
      <label className="check">
        <input type="checkbox" checked={ticked} onChange={onToggle} />
        <NameAndId name={name} id={snapshot.DiskId} />
      </label>
      <span className="stacked what-list__right">
        <code>{snapshot.SnapshotId}</code>
        {refusal !== null && <small className="field__error">{refusalText(t, refusal)}</small>}
      </span>
    </li>
  );
}

type RemoveProps = { readonly row: GroupRow; readonly onClose: () => void; readonly onRemoved?: (() => void) | undefined };

function RemoveDialog({ row, onClose, onRemoved }: RemoveProps) {
  const { t } = useWords();
  const notices = useNotices();
  const { group } = row;
  const members = useSnapshots(group.SnapshotIdSet);
  const freed = useFreed(group.SnapshotIdSet);
  const remove = useChange("cbs", "DeleteSnapshotGroup");
  const submit = () =>
    remove.mutate(
      { SnapshotGroupId: group.SnapshotGroupId },
      {
        onSuccess: () => {
          notices.show({ tone: "success", title: t("group.removed", { count: group.SnapshotIdSet.length }) });
          onRemoved?.();
          onClose();
        },
      },
    );
  return (
    <Dialog title={t("group.removeTitle")} onClose={onClose} onSubmit={submit} submitText={t("remove.submit")} danger busy={remove.isPending} error={remove.error}>
      <p>
        <NameAndId name={group.SnapshotGroupName} id={group.SnapshotGroupId} />
      </p>
      <p>{t("group.removeText", { count: group.SnapshotIdSet.length })}</p>
      <Frees rows={members.data?.rows ?? []} freed={freed} />
    </Dialog>
  );
}
