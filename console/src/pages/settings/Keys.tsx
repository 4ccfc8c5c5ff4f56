import { useState } from "react";
import { Button } from "tdesign-react/es/button";

import type { Key } from "../../api/types";
import { useAnswer, useChange, useConfirmedChange } from "../../api/queries";
import { Command, CopyButton } from "../../parts/Copyable";
import { Dialog } from "../../parts/Dialog";
import { CheckField, TextField } from "../../parts/Field";
import { AddIcon } from "../../parts/icons";
import { useNotices } from "../../parts/Notices";
import { Card, Facts, Pending } from "../../parts/Page";
import { Tag } from "../../parts/StateTag";
import { Time } from "../../parts/Time";
import { useWords } from "../../words";

export function Keys() {
  const { t } = useWords();
  const answer = useAnswer("drystone", "DescribeKeys", {});
  const [creating, setCreating] = useState(false);
  const [revoking, setRevoking] = useState<Key | null>(null);
  const keys = answer.data?.KeySet ?? [];
  return (
    <Card
      title={t("settings.keys")}
      aside={
        <Button theme="primary" icon={<AddIcon />} onClick={() => setCreating(true)}>
          {t("keys.create")}
        </Button>
      }
    >
      <p className="quiet">{t("keys.lead")}</p>
      <Pending answer={answer} />
      <ul className="rows">
        {keys.map((key) => (
          <li key={key.SecretId}>
            <span className="stacked">
              <span>
                <code className="selectable">{key.SecretId}</code> <CopyButton text={key.SecretId} what="SecretId" />
              </span>
              <small>
                {t("common.created")} <Time text={key.CreateTime} />
                {key.MadeBy !== null && ` · ${t("keys.madeBy", { who: key.MadeBy })}`}
              </small>
            </span>
            <Tag tone={key.Enabled ? "good" : "plain"}>{key.Enabled ? t("keys.enabled") : t("keys.disabled")}</Tag>
            <Button variant="text" theme="danger" onClick={() => setRevoking(key)}>
              {t("keys.revoke")}
            </Button>
          </li>
        ))}
      </ul>
      {creating && <CreateDialog onClose={() => setCreating(false)} />}
      {revoking && <RevokeDialog secretId={revoking.SecretId} last={keys.length === 1} onClose={() => setRevoking(null)} />}
    </Card>
  );
}

function CreateDialog({ onClose }: { readonly onClose: () => void }) {
  const { t } = useWords();
  const [password, setPassword] = useState("");
  const create = useConfirmedChange("drystone", "CreateKey");
  if (create.data) {
    return (
      <Dialog title={t("keys.made")} onClose={onClose}>
        <p className="note note--warn">{t("keys.once")}</p>
        <Facts
          facts={[
            { name: "SecretId", value: <Command text={create.data.SecretId} /> },
            { name: "SecretKey", value: <Command text={create.data.SecretKey} /> },
          ]}
        />
      </Dialog>
    );
  }
  return (
    <Dialog title={t("keys.create")} onClose={onClose} onSubmit={() => create.mutate({ password, parameters: {} })} ready={password !== ""} busy={create.isPending} error={create.error}>
      <p>{t("keys.createText")}</p>
      <TextField label={t("confirm.password")} type="password" value={password} onChange={setPassword} autocomplete="current-password" autofocus />
    </Dialog>
  );
}

function RevokeDialog({ secretId, last, onClose }: { readonly secretId: string; readonly last: boolean; readonly onClose: () => void }) {
  const { t } = useWords();
  const notices = useNotices();
  const [sure, setSure] = useState(!last);
  const revoke = useChange("drystone", "DeleteKey");
  const submit = () =>
    revoke.mutate(
      { SecretId: secretId, ...(last ? { Force: true } : {}) },
      {
        onSuccess: () => {
          notices.show({ tone: "success", title: t("keys.revoked") });
          onClose();
        },
      },
    );
  return (
    <Dialog title={t("keys.revokeTitle")} onClose={onClose} onSubmit={submit} submitText={t("keys.revoke")} danger ready={sure} busy={revoke.isPending} error={revoke.error}>
      <p>
        <code>{secretId}</code>
      </p>
      <p className="note note--warn">{t("keys.revokeWarning")}</p>
      {last && (
        <CheckField checked={sure} onChange={setSure}>
          {t("keys.last")}
        </CheckField>
      )}
    </Dialog>
  );
}
