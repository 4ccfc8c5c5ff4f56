import { useState } from "react";
import { Button } from "tdesign-react/es/button";

import type { Account } from "../../api/types";
import { fetchAccounts, neverBusy, useConfirmedChange, useSession } from "../../api/queries";
import { useAddressed } from "../../parts/addressed";
import { asks } from "../../commands/asked";
import { OwnPassword } from "../../parts/Confirm";
import { Command, NameAndId } from "../../parts/Copyable";
import type { Column } from "../../parts/DataTable";
import { Dialog } from "../../parts/Dialog";
import { TextField } from "../../parts/Field";
import { AddIcon, UserCircleIcon } from "../../parts/icons";
import { ListPage, useListPage, type ListOf } from "../../parts/ListPage";
import { Tag } from "../../parts/StateTag";
import { Time } from "../../parts/Time";
import { parseTime } from "../../units/times";
import { useWords } from "../../words";
import { NewKey } from "./Keys";

const ACCOUNTS: ListOf<Account> = {
  name: "accounts",
  fetchPage: fetchAccounts,
  busy: neverBusy,
  idOf: (one) => one.AccountId,
  exact: (text) => (text === "" ? [] : null),
  texts: (one) => [one.AccountName, one.AccountId],
  filters: {},
  values: { name: (one) => one.AccountName, admin: (one) => (one.Admin ? 1 : 0), created: (one) => parseTime(one.CreateTime) },
  units: {},
};

/** Accounts that keep their disks and snapshots apart. For administrators. */
export function Accounts() {
  const { t } = useWords();
  const admin = useSession().data?.Admin === true;
  return admin ? <AccountList /> : <p className="quiet">{t("why.notAdmin")}</p>;
}

function AccountList() {
  const { t } = useWords();
  const [creating, setCreating] = useState(false);
  useAddressed({ create: { onSelect: () => setCreating(true) } });
  const [resetting, setResetting] = useState<Account | null>(null);
  const columns: readonly Column<Account>[] = [
    { id: "name", title: t("common.nameAndId"), width: "minmax(180px, 1.6fr)", fixed: true, cell: (one) => <NameAndId name={one.AccountName} id={one.AccountId} /> },
    { id: "admin", title: t("account.role"), width: "minmax(120px, 1fr)", cell: (one) => (one.Admin ? <Tag tone="good">{t("account.admin")}</Tag> : "–") },
    { id: "created", title: t("common.created"), width: "minmax(120px, 1fr)", cell: (one) => <Time text={one.CreateTime} /> },
    {
      id: "actions",
      title: t("table.actions"),
      width: "140px",
      fixed: true,
      cell: (one) => (
        <Button size="small" variant="text" theme="primary" onClick={() => setResetting(one)}>
          {t("account.password")}
        </Button>
      ),
    },
  ];
  const create = (
    <Button theme="primary" icon={<AddIcon />} onClick={() => setCreating(true)}>
      {t("account.create")}
    </Button>
  );
  return (
    <ListPage
      inside
      page={useListPage(ACCOUNTS)}
      title={t("settings.accounts")}
      lead={t("account.lead")}
      actions={create}
      columns={columns}
      choices={[]}
      empty={{ icon: <UserCircleIcon />, title: t("settings.accounts"), text: t("account.lead"), action: create }}
    >
      {creating && <CreateDialog onClose={() => setCreating(false)} />}
      {resetting && <PasswordDialog account={resetting} onClose={() => setResetting(null)} />}
    </ListPage>
  );
}

function CreateDialog({ onClose }: { readonly onClose: () => void }) {
  const { t } = useWords();
  const [name, setName] = useState("");
  const [password, setPassword] = useState("");
  const create = useConfirmedChange("drystone", "CreateAccount");
  if (create.data) {
    return (
      <Dialog title={t("account.made")} onClose={onClose}>
        <NewKey made={create.data} of={create.data.AccountId} />
        <p>{t("account.madeHint")}</p>
      </Dialog>
    );
  }
  return (
    <Dialog title={t("account.create")} onClose={onClose} onSubmit={() => create.mutate({ password, parameters: { AccountName: name } })} shows={asks("drystone", "CreateAccount", { AccountName: name })} ready={name !== "" && password !== ""} busy={create.isPending} error={create.error}>
      <TextField label={t("field.name")} value={name} onChange={setName} />
      <OwnPassword value={password} onChange={setPassword} />
    </Dialog>
  );
}

function PasswordDialog({ account, onClose }: { readonly account: Account; readonly onClose: () => void }) {
  const { t } = useWords();
  const [password, setPassword] = useState("");
  const set = useConfirmedChange("drystone", "SetAccountPassword");
  if (set.data?.Password) {
    return (
      <Dialog title={t("account.passwordMade", { name: account.AccountName })} onClose={onClose}>
        <p className="note note--warn">{t("account.passwordOnce")}</p>
        <Command text={set.data.Password} />
      </Dialog>
    );
  }
  return (
    <Dialog
      title={t("account.passwordTitle", { name: account.AccountName })}
      onClose={onClose}
      onSubmit={() => set.mutate({ password, parameters: { AccountId: account.AccountId } })}
      shows={asks("drystone", "SetAccountPassword", { AccountId: account.AccountId })}
      ready={password !== ""}
      submitText={t("account.password")}
      danger
      busy={set.isPending}
      error={set.error}
    >
      <p>{t("account.passwordText")}</p>
      <OwnPassword value={password} onChange={setPassword} />
    </Dialog>
  );
}
