import { useState } from "react";
import { Button } from "tdesign-react/es/button";

import type { QuiesceProfile } from "../../api/types";
import { useInstances, useProfiles, useSession } from "../../api/queries";
import { asks } from "../../commands/asked";
import { useAsked } from "../../parts/asked";
import { NameAndId, RefText } from "../../parts/Copyable";
import { Dialog } from "../../parts/Dialog";
import { ChoiceField, TextField } from "../../parts/Field";
import { Time } from "../../parts/Time";
import { useWords } from "../../words";
import { ProfileButtons, stepsText } from "../quiesce/Profile";
import { ListCard } from "./ListCard";

export function Instances() {
  const { t } = useWords();
  const answer = useInstances();
  const profiles = useProfiles();
  const profileOf = (id: string) => profiles.data?.find((profile) => profile.ResourceId === id);
  const [creating, setCreating] = useState(false);
  const [removing, setRemoving] = useState<string | null>(null);
  return (
    <ListCard
      title={t("settings.instances")}
      lead={t("instance.lead")}
      createText={t("instance.create")}
      onCreate={() => setCreating(true)}
      answer={answer}
      rows={answer.data?.InstanceSet.map((one) => (
        <li key={one.InstanceId}>
          <NameAndId name={one.InstanceName} id={one.InstanceId} />
          <span className="stacked">
            <span>{t(`instance.kind.${one.Kind}`)}</span>
            <small>
              {t("common.created")} <Time text={one.CreateTime} />
            </small>
          </span>
          <span className="stacked">
            <span>{t("instance.disks", { count: one.AttachedDiskCount, most: one.MaxAttachCount })}</span>
            <HeldText profile={profileOf(one.InstanceId)} />
          </span>
          <ProfileButtons resourceId={one.InstanceId} profile={profileOf(one.InstanceId)} />
          <Button variant="text" theme="danger" onClick={() => setRemoving(one.InstanceId)}>
            {t("instance.delete")}
          </Button>
        </li>
      ))}
    >
      {creating && <CreateDialog onClose={() => setCreating(false)} />}
      {removing !== null && <DeleteDialog id={removing} onClose={() => setRemoving(null)} />}
    </ListCard>
  );
}

function HeldText({ profile }: { readonly profile: QuiesceProfile | undefined }) {
  const { t } = useWords();
  return profile ? <small>{t("instance.held", { steps: stepsText(t, profile) })}</small> : null;
}

function DeleteDialog({ id, onClose }: { readonly id: string; readonly onClose: () => void }) {
  const { t } = useWords();
  const remove = useAsked("drystone", "DeleteInstance", onClose);
  return (
    <Dialog {...remove.dialog} title={t("instance.deleteTitle")} onSubmit={() => remove.send({ InstanceId: id })} shows={asks("drystone", "DeleteInstance", { InstanceId: id })} submitText={t("instance.delete")} danger>
      <p>
        <RefText id={id} />
      </p>
      <p>{t("instance.deleteText")}</p>
    </Dialog>
  );
}

function CreateDialog({ onClose }: { readonly onClose: () => void }) {
  const { t } = useWords();
  const [name, setName] = useState("");
  const [kind, setKind] = useState("NBD");
  const admin = useSession().data?.Admin === true;
  const create = useAsked("drystone", "CreateInstance", onClose);
  const parameters = { Kind: kind, ...(name === "" ? {} : { InstanceName: name }) };
  return (
    <Dialog
      {...create.dialog}
      title={t("instance.create")}
      onSubmit={() => create.send(parameters)}
      shows={asks("drystone", "CreateInstance", parameters)}
    >
      <TextField label={t("field.name")} value={name} onChange={setName} placeholder={t("field.optional")} />
      <ChoiceField
        label={t("instance.kindTitle")}
        value={kind}
        onChange={setKind}
        options={[
          { value: "NBD", text: t("instance.kind.NBD") },
          ...(admin ? [{ value: "HOST", text: t("instance.kind.HOST") }] : []),
        ]}
        hint={kind === "HOST" ? t("attach.hostHint") : t("attach.nbdHint")}
      />
    </Dialog>
  );
}
