import { useState } from "react";
import { Button } from "tdesign-react/es/button";

import type { Account } from "../../api/types";
import { useAnswer, useConfirmedChange, useSession } from "../../api/queries";
import { asks } from "../../commands/asked";
import { OwnPassword } from "../../parts/Confirm";
import { Command, NameAndId } from "../../parts/Copyable";
import { Dialog } from "../../parts/Dialog";
import { TextField } from "../../parts/Field";
import { Tag } from "../../parts/StateTag";
import { Time } from "../../parts/Time";
import { useWords } from "../../words";
import { NewKey } from "./Keys";
import { ListCard } from "./ListCard";

/** Accounts that keep their disks and snapshots apart. For administrators. */
export function Accounts() {
  const { t } = useWords();
  const admin = useSession().data?.Admin === true;
  const answer = useAnswer("drystone", "DescribeAccounts", { Limit: 100 }, { enabled: admin });
  const [creating, setCreating] = useState(false);
  const [resetting, setResetting] = useState<Account | null>(null);
  if (!admin) return <p className="quiet">{t("why.notAdmin")}</p>;
  return (
    <ListCard
      title={t("settings.accounts")}
      lead={t("account.lead")}
      createText={t("account.create")}
      onCreate={() => setCreating(true)}
      answer={answer}
      rows={answer.data?.AccountSet.map((one) => (
        <li key={one.AccountId}>
          <NameAndId name={one.AccountName} id={one.AccountId} />
          <span className="stacked">
            <span>{one.Admin && <Tag tone="good">{t("account.admin")}</Tag>}</span>
            <small>
              {t("common.created")} <Time text={one.CreateTime} />
            </small>
          </span>
          <Button variant="text" theme="primary" onClick={() => setResetting(one)}>
            {t("account.password")}
          </Button>
        </li>
      ))}
    >
      {creating && <CreateDialog onClose={() => setCreating(false)} />}
      {resetting && <PasswordDialog account={resetting} onClose={() => setResetting(null)} />}
    </ListCard>
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
