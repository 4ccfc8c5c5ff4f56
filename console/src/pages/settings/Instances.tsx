import { useState } from "react";
import { Button } from "tdesign-react/es/button";

import type { QuiesceProfile } from "../../api/types";
import { useChange, useInstances, useProfiles, useSession } from "../../api/queries";
import { NameAndId } from "../../parts/Copyable";
import { Dialog } from "../../parts/Dialog";
import { ChoiceField, TextField } from "../../parts/Field";
import { AddIcon } from "../../parts/icons";
import { Card, Pending } from "../../parts/Page";
import { Time } from "../../parts/Time";
import { useWords } from "../../words";
import { ProfileButtons, stepsText } from "../quiesce/Profile";

export function Instances() {
  const { t } = useWords();
  const answer = useInstances();
  const profiles = useProfiles();
  const profileOf = (id: string) => profiles.data?.find((profile) => profile.ResourceId === id);
  const [creating, setCreating] = useState(false);
  const [removing, setRemoving] = useState<string | null>(null);
  const remove = useChange("drystone", "DeleteInstance");
  return (
    <Card
      title={t("settings.instances")}
      aside={
        <Button theme="primary" icon={<AddIcon />} onClick={() => setCreating(true)}>
          {t("instance.create")}
        </Button>
      }
    >
      <p className="quiet">{t("instance.lead")}</p>
      <Pending answer={answer} />
      <ul className="rows">
        {answer.data?.InstanceSet.map((one) => (
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
      </ul>
      {creating && <CreateDialog onClose={() => setCreating(false)} />}
      {removing !== null && (
        <Dialog
          title={t("instance.deleteTitle")}
          onClose={() => {
            setRemoving(null);
            remove.reset();
          }}
          onSubmit={() => remove.mutate({ InstanceId: removing }, { onSuccess: () => setRemoving(null) })}
          submitText={t("instance.delete")}
          danger
          busy={remove.isPending}
          error={remove.error}
        >
          <p>
            <code>{removing}</code>
          </p>
          <p>{t("instance.deleteText")}</p>
        </Dialog>
      )}
    </Card>
  );
}

function HeldText({ profile }: { readonly profile: QuiesceProfile | undefined }) {
  const { t } = useWords();
  return profile ? <small>{t("instance.held", { steps: stepsText(t, profile) })}</small> : null;
}

function CreateDialog({ onClose }: { readonly onClose: () => void }) {
  const { t } = useWords();
  const [name, setName] = useState("");
  const [kind, setKind] = useState("NBD");
  const admin = useSession().data?.Admin === true;
  const create = useChange("drystone", "CreateInstance");
  return (
    <Dialog
      title={t("instance.create")}
      onClose={onClose}
      onSubmit={() => create.mutate({ Kind: kind, ...(name === "" ? {} : { InstanceName: name }) }, { onSuccess: onClose })}
      busy={create.isPending}
      error={create.error}
    >
      <TextField label={t("field.name")} value={name} onChange={setName} placeholder={t("field.optional")} autofocus />
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
