// What is asked before a group is rolled back to or deleted.
import { useState } from "react";

import { call } from "../../api/client";
import { useDisks, useSnapshots, useSnapshotting, type GroupRow, type SnapshotRow } from "../../api/queries";
import { asks } from "../../commands/asked";
import { groupRollBackShown } from "../../commands/cli";
import { useAsked } from "../../parts/asked";
import { NameAndId, shownName } from "../../parts/Copyable";
import { Dialog } from "../../parts/Dialog";
import type { MenuEntry } from "../../parts/Menu";
import { Loading } from "../../parts/Page";
import { refusalText } from "../../parts/refusal";
import { toggled } from "../../parts/toggled";
import { groupRefusal, snapshotFacts, snapshotRefusal, type Refusal } from "../../rules/rules";
import { useWords } from "../../words";
import { Frees, useFreed } from "../snapshots/Frees";
import { RollBackForm } from "../snapshots/RollBackForm";
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

/** Before disks are rolled back to a group: all of its disks, or those that stay ticked. */
function RollBackDialog({ row, onClose }: { readonly row: GroupRow; readonly onClose: () => void }) {
  const { t } = useWords();
  const { group, record } = row;
  const [left, setLeft] = useState<ReadonlySet<string>>(new Set());
  const { pairs, known, error } = useRollBackPairs(row);
  const rolling = useRollBack(onClose);
  const expected = shownName(group.SnapshotGroupName, group.SnapshotGroupId);
  const wanted = pairs?.filter(({ member }) => !left.has(member.snapshot.SnapshotId)) ?? [];
  const ApplyDisks = wanted.map(({ member: { snapshot } }) => ({ SnapshotId: snapshot.SnapshotId, DiskId: snapshot.DiskId }));
  const parameters = { SnapshotGroupId: group.SnapshotGroupId, ApplyDisks };
  return (
    <RollBackForm
      title={t("group.rollBackTitle")}
      onClose={onClose}
      rolling={rolling}
      diskIds={ApplyDisks.map((one) => one.DiskId)}
      apply={() => call("cbs", "ApplySnapshotGroup", parameters)}
      showsOf={({ safetyName }) => groupRollBackShown(parameters, safetyName)}
      to={expected}
      safetyText={t("group.safety")}
      expected={expected}
      ready={known && wanted.length > 0}
      refusal={wanted.some(({ refusal }) => refusal !== null) ? t("group.refused") : null}
      error={error}
      lostText={t("group.lostText", { count: wanted.length })}
      since={record?.TakenAt ?? group.CreateTime}
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
              refusal={rolling.act.isPending ? null : refusal}
              ticked={!left.has(member.snapshot.SnapshotId)}
              onToggle={() => setLeft(toggled(left, member.snapshot.SnapshotId))}
            />
          ))}
        </ul>
      )}
    </RollBackForm>
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
  const { group } = row;
  const members = useSnapshots(group.SnapshotIdSet);
  const freed = useFreed(group.SnapshotIdSet);
  const count = group.SnapshotIdSet.length;
  const end = () => {
    onRemoved?.();
    onClose();
  };
  const remove = useAsked("cbs", "DeleteSnapshotGroup", end, t("group.removed", { count }));
  return (
    <Dialog
      {...remove.dialog}
      title={t("group.removeTitle")}
      onClose={onClose}
      onSubmit={() => remove.send({ SnapshotGroupId: group.SnapshotGroupId })}
      shows={asks("cbs", "DeleteSnapshotGroup", { SnapshotGroupId: group.SnapshotGroupId })}
      submitText={t("snapAction.remove")}
      danger
    >
      <p>
        <NameAndId name={group.SnapshotGroupName} id={group.SnapshotGroupId} />
      </p>
      <p>{t("group.removeText", { count })}</p>
      <Frees rows={members.data?.rows ?? []} freed={freed} />
    </Dialog>
  );
}
