import { useState } from "react";
import { Link } from "react-router";
import { Button } from "tdesign-react/es/button";

import type { Instance, QuiesceProfile } from "../../api/types";
import { fetchInstances, neverBusy, useProfiles, useSession } from "../../api/queries";
import { useAddressed } from "../../parts/addressed";
import { asks } from "../../commands/asked";
import { useAsked } from "../../parts/asked";
import { NameAndId, RefText } from "../../parts/Copyable";
import type { Column } from "../../parts/DataTable";
import { Dialog } from "../../parts/Dialog";
import { ChoiceField, TextField } from "../../parts/Field";
import { AddIcon, ServerIcon } from "../../parts/icons";
import { ListPage, useListPage, type ListOf } from "../../parts/ListPage";
import { Time } from "../../parts/Time";
import { parseTime } from "../../units/times";
import { useWords } from "../../words";
import { ProfileButtons, stepsText } from "../quiesce/Profile";

const INSTANCES: ListOf<Instance> = {
  name: "instances",
  fetchPage: fetchInstances,
  busy: neverBusy,
  idOf: (one) => one.InstanceId,
  exact: (text) => (text === "" ? [] : null),
  texts: (one) => [one.InstanceName, one.InstanceId, one.Kind],
  filters: {},
  values: {
    name: (one) => one.InstanceName,
    kind: (one) => one.Kind,
    disks: (one) => one.AttachedDiskCount,
    created: (one) => parseTime(one.CreateTime),
  },
  units: {},
};

export function Instances() {
  const { t } = useWords();
  const profiles = useProfiles();
  const profileOf = (id: string) => profiles.data?.find((profile) => profile.ResourceId === id);
  const [creating, setCreating] = useState(false);
  useAddressed({ create: { onSelect: () => setCreating(true) } });
  const [removing, setRemoving] = useState<string | null>(null);
  const columns: readonly Column<Instance>[] = [
    { id: "name", title: t("common.nameAndId"), width: "minmax(150px, 1.4fr)", fixed: true, cell: (one) => <NameAndId name={one.InstanceName} id={one.InstanceId} /> },
    { id: "kind", title: t("instance.kindTitle"), width: "minmax(80px, .6fr)", cell: (one) => t(`instance.kind.${one.Kind}`) },
    { id: "disks", title: t("nav.disks"), width: "minmax(110px, .8fr)", cell: (one) => <Link to={`/disks?q=${one.InstanceId}`}>{t("instance.disks", { count: one.AttachedDiskCount, most: one.MaxAttachCount })}</Link> },
    { id: "held", title: t("profile.title"), width: "minmax(280px, 2fr)", cell: (one) => <Profiles id={one.InstanceId} profile={profileOf(one.InstanceId)} /> },
    { id: "created", title: t("common.created"), width: "minmax(110px, .8fr)", cell: (one) => <Time text={one.CreateTime} /> },
    {
      id: "actions",
      title: t("table.actions"),
      width: "90px",
      fixed: true,
      cell: (one) => (
        <Button size="small" variant="text" theme="danger" onClick={() => setRemoving(one.InstanceId)}>
          {t("instance.delete")}
        </Button>
      ),
    },
  ];
  const create = (
    <Button theme="primary" icon={<AddIcon />} onClick={() => setCreating(true)}>
      {t("instance.create")}
    </Button>
  );
  return (
    <ListPage
      inside
      page={useListPage(INSTANCES)}
      title={t("settings.instances")}
      lead={t("instance.lead")}
      actions={create}
      columns={columns}
      choices={[]}
      empty={{ icon: <ServerIcon />, title: t("instance.none"), text: t("instance.lead"), action: create }}
    >
      {creating && <CreateDialog onClose={() => setCreating(false)} />}
      {removing !== null && <DeleteDialog id={removing} onClose={() => setRemoving(null)} />}
    </ListPage>
  );
}

function Profiles({ id, profile }: { readonly id: string; readonly profile: QuiesceProfile | undefined }) {
  return (
    <span className="stacked">
      <HeldText profile={profile} />
      <ProfileButtons resourceId={id} profile={profile} />
    </span>
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
