import { useState } from "react";
import { Button } from "tdesign-react/es/button";

import type { Account } from "../../api/types";
import { useAnswer, useConfirmedChange, useSession } from "../../api/queries";
import { Command, NameAndId } from "../../parts/Copyable";
import { Dialog } from "../../parts/Dialog";
import { TextField } from "../../parts/Field";
import { AddIcon } from "../../parts/icons";
import { Card, Facts, Pending } from "../../parts/Page";
import { Tag } from "../../parts/StateTag";
import { Time } from "../../parts/Time";
import { useWords } from "../../words";

/** Accounts that keep their disks and snapshots apart. For administrators. */
export function Accounts() {
  const { t } = useWords();
  const admin = useSession().data?.Admin === true;
  const answer = useAnswer("drystone", "DescribeAccounts", { Limit: 100 }, { enabled: admin });
  const [creating, setCreating] = useState(false);
  const [resetting, setResetting] = useState<Account | null>(null);
  if (!admin) return <p className="quiet">{t("why.notAdmin")}</p>;
  return (
    <Card
      title={t("settings.accounts")}
      aside={
        <Button theme="primary" icon={<AddIcon />} onClick={() => setCreating(true)}>
          {t("account.create")}
        </Button>
      }
    >
      <p className="quiet">{t("account.lead")}</p>
      <Pending answer={answer} />
      <ul className="rows">
        {answer.data?.AccountSet.map((one) => (
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
      </ul>
      {creating && <CreateDialog onClose={() => setCreating(false)} />}
      {resetting && <PasswordDialog account={resetting} onClose={() => setResetting(null)} />}
    </Card>
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
        <p className="note note--warn">{t("keys.once")}</p>
        <Facts
          facts={[
            { name: t("about.account"), value: <code>{create.data.AccountId}</code> },
            { name: "SecretId", value: <Command text={create.data.SecretId} /> },
            { name: "SecretKey", value: <Command text={create.data.SecretKey} /> },
          ]}
        />
        <p>{t("account.madeHint")}</p>
      </Dialog>
    );
  }
  return (
    <Dialog title={t("account.create")} onClose={onClose} onSubmit={() => create.mutate({ password, parameters: { AccountName: name } })} ready={name !== "" && password !== ""} busy={create.isPending} error={create.error}>
      <TextField label={t("field.name")} value={name} onChange={setName} autofocus />
      <TextField label={t("confirm.password")} type="password" value={password} onChange={setPassword} autocomplete="current-password" />
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
      ready={password !== ""}
      submitText={t("account.password")}
      danger
      busy={set.isPending}
      error={set.error}
    >
      <p>{t("account.passwordText")}</p>
      <TextField label={t("confirm.password")} type="password" value={password} onChange={setPassword} autocomplete="current-password" autofocus />
    </Dialog>
  );
}
