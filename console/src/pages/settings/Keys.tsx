import { useState } from "react";
import { Button } from "tdesign-react/es/button";

import type { Key } from "../../api/types";
import { useAnswer, useConfirmedChange } from "../../api/queries";
import { useAddressed } from "../../parts/addressed";
import { asks } from "../../commands/asked";
import { useAsked } from "../../parts/asked";
import { OwnPassword } from "../../parts/Confirm";
import { Command, CopyButton } from "../../parts/Copyable";
import { Dialog } from "../../parts/Dialog";
import { CheckField } from "../../parts/Field";
import { Facts } from "../../parts/Page";
import { Tag } from "../../parts/StateTag";
import { Time } from "../../parts/Time";
import { useWords } from "../../words";
import { ListCard } from "./ListCard";

export function Keys() {
  const { t } = useWords();
  const answer = useAnswer("drystone", "DescribeKeys", {});
  const [creating, setCreating] = useState(false);
  useAddressed({ create: { onSelect: () => setCreating(true) } });
  const [revoking, setRevoking] = useState<Key | null>(null);
  const keys = answer.data?.KeySet ?? [];
  return (
    <ListCard
      title={t("settings.keys")}
      lead={t("keys.lead")}
      createText={t("keys.create")}
      onCreate={() => setCreating(true)}
      answer={answer}
      rows={keys.map((key) => (
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
    >
      {creating && <CreateDialog onClose={() => setCreating(false)} />}
      {revoking && <RevokeDialog secretId={revoking.SecretId} last={keys.length === 1} onClose={() => setRevoking(null)} />}
    </ListCard>
  );
}

/** A key that was just made; `of` is its account, where that is new too. */
export function NewKey({ made, of }: { readonly made: { readonly SecretId: string; readonly SecretKey: string }; readonly of?: string }) {
  const { t } = useWords();
  return (
    <>
      <p className="note note--warn">{t("keys.once")}</p>
      <Facts
        facts={[
          ...(of === undefined ? [] : [{ name: t("about.account"), value: <code>{of}</code> }]),
          { name: "SecretId", value: <Command text={made.SecretId} /> },
          { name: "SecretKey", value: <Command text={made.SecretKey} /> },
        ]}
      />
    </>
  );
}

function CreateDialog({ onClose }: { readonly onClose: () => void }) {
  const { t } = useWords();
  const [password, setPassword] = useState("");
  const create = useConfirmedChange("drystone", "CreateKey");
  if (create.data) {
    return (
      <Dialog title={t("keys.made")} onClose={onClose}>
        <NewKey made={create.data} />
      </Dialog>
    );
  }
  return (
    <Dialog title={t("keys.create")} onClose={onClose} onSubmit={() => create.mutate({ password, parameters: {} })} shows={asks("drystone", "CreateKey", {})} ready={password !== ""} busy={create.isPending} error={create.error}>
      <p>{t("keys.createText")}</p>
      <OwnPassword value={password} onChange={setPassword} />
    </Dialog>
  );
}

function RevokeDialog({ secretId, last, onClose }: { readonly secretId: string; readonly last: boolean; readonly onClose: () => void }) {
  const { t } = useWords();
  const [sure, setSure] = useState(!last);
  const revoke = useAsked("drystone", "DeleteKey", onClose, t("keys.revoked"));
  const parameters = { SecretId: secretId, ...(last ? { Force: true } : {}) };
  return (
    <Dialog {...revoke.dialog} title={t("keys.revokeTitle")} onSubmit={() => revoke.send(parameters)} shows={asks("drystone", "DeleteKey", parameters)} submitText={t("keys.revoke")} danger ready={sure}>
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
