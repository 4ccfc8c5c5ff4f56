import { useState } from "react";
import { useNavigate } from "react-router";

import { useChange, useDisks, useInstances, useSnapshotting, type DiskRow } from "../../api/queries";
import type { Tag } from "../../api/types";
import { asks } from "../../commands/asked";
import { NameAndId } from "../../parts/Copyable";
import { Dialog } from "../../parts/Dialog";
import { ChoiceField, NameField, nameIsTooLong, sentTags, TagsField } from "../../parts/Field";
import { Loading } from "../../parts/Page";
import { refusalText } from "../../parts/refusal";
import { toggled } from "../../parts/toggled";
import { diskFacts, diskRefusal } from "../../rules/rules";
import { gib } from "../../units/bytes";
import { useWords } from "../../words";
import { ProfileNotes } from "../quiesce/Profile";

/** One instant of several disks of one instance; all that can be taken are ticked at first. */
export function CreateGroupDialog({ onClose }: { readonly onClose: () => void }) {
  const { t } = useWords();
  const navigate = useNavigate();
  const instances = useInstances();
  const snapshotting = useSnapshotting();
  const [chosen, setChosen] = useState("");
  const [left, setLeft] = useState<ReadonlySet<string>>(new Set());
  const [name, setName] = useState("");
  const [tags, setTags] = useState<readonly Tag[]>([]);
  const create = useChange("cbs", "CreateSnapshotGroup");
  const all = instances.data?.InstanceSet ?? [];
  const instanceId = chosen || (all.find((one) => one.AttachedDiskCount > 0)?.InstanceId ?? all[0]?.InstanceId ?? "");
  const disks = useDisks({ filters: [{ Name: "instance-id", Values: [instanceId] }] }, instanceId !== "");
  const rows = disks.data?.rows ?? [];
  const refusalOf = (row: DiskRow) => diskRefusal("createGroup", diskFacts(row, snapshotting));
  const wanted = rows.filter((row) => refusalOf(row) === null && !left.has(row.disk.DiskId));
  const long = nameIsTooLong(name, "group");
  const parameters = {
    DiskIds: wanted.map((row) => row.disk.DiskId),
    ...(name === "" ? {} : { SnapshotGroupName: name }),
    ...(sentTags(tags).length === 0 ? {} : { Tags: sentTags(tags) }),
  };
  const submit = () => create.mutate(parameters, { onSuccess: (answer) => void navigate(`/groups/${answer.SnapshotGroupId}`) });
  return (
    <Dialog
      title={t("newGroup.button")}
      onClose={onClose}
      onSubmit={submit}
      shows={asks("cbs", "CreateSnapshotGroup", parameters)}
      submitText={t("newSnap.submit")}
      ready={wanted.length > 0 && !long}
      busy={create.isPending}
      error={create.error ?? instances.error ?? disks.error}
    >
      <ChoiceField
        label={t("group.instance")}
        value={instanceId}
        options={all.map((one) => ({ value: one.InstanceId, text: `${one.InstanceName} (${one.InstanceId}) · ${t("instance.disks", { count: one.AttachedDiskCount, most: one.MaxAttachCount })}` }))}
        onChange={(id) => {
          setChosen(id);
          setLeft(new Set());
        }}
      />
      <fieldset className="field">
        <legend className="field__label">{t("nav.disks")}</legend>
        {disks.data === undefined && disks.error === null && instanceId !== "" && <Loading />}
        {disks.data !== undefined && rows.length === 0 && <p className="quiet">{t("newGroup.noDisks")}</p>}
        {rows.length > 0 && (
          <ul className="what-list">
            {rows.map((row) => {
              const refusal = refusalOf(row);
              const { DiskId, DiskName, DiskSize } = row.disk;
              return (
                <li key={DiskId}>
                  <label className="check">
                    <input type="checkbox" disabled={refusal !== null} checked={refusal === null && !left.has(DiskId)} onChange={() => setLeft(toggled(left, DiskId))} />
                    <NameAndId name={DiskName} id={DiskId} />
                  </label>
                  <span>{refusal === null ? gib(DiskSize) : <small>{refusalText(t, refusal)}</small>}</span>
                </li>
              );
            })}
          </ul>
        )}
      </fieldset>
      <p className="field__hint">{t("newSnap.groupHint")}</p>
      <NameField label={t("newGroup.name")} value={name} onChange={setName} kind="group" optional />
      <TagsField tags={tags} onChange={setTags} />
      <ProfileNotes disks={wanted.map((row) => row.disk)} />
    </Dialog>
  );
}
