import { useMutation } from "@tanstack/react-query";
import { useState, type FormEvent } from "react";
import { Button } from "tdesign-react/es/button";

import { changePassword } from "../../api/client";
import { ErrorNote } from "../../parts/ErrorNote";
import { TextField } from "../../parts/Field";
import { useNotices } from "../../parts/Notices";
import { Card } from "../../parts/Page";
import { useWords } from "../../words";

export function Password() {
  const { t } = useWords();
  const notices = useNotices();
  const [old, setOld] = useState("");
  const [fresh, setFresh] = useState("");
  const [again, setAgain] = useState("");
  const differs = again !== "" && again !== fresh;
  const change = useMutation({
    mutationFn: () => changePassword(old, fresh),
    onSuccess: () => {
      notices.show({ tone: "success", title: t("password.done") });
      setOld("");
      setFresh("");
      setAgain("");
    },
  });
  const ready = old !== "" && fresh !== "" && again === fresh;
  const submit = (event: FormEvent) => {
    event.preventDefault();
    if (ready) change.mutate();
  };
  return (
    <Card title={t("settings.password")}>
      <form className="form" onSubmit={submit}>
        <TextField label={t("password.old")} type="password" value={old} onChange={setOld} autocomplete="current-password" />
        <TextField label={t("password.new")} type="password" value={fresh} onChange={setFresh} autocomplete="new-password" hint={t("password.hint")} />
        <TextField
          label={t("password.again")}
          type="password"
          value={again}
          onChange={setAgain}
          autocomplete="new-password"
          error={differs ? t("password.differs") : null}
        />
        <ErrorNote error={change.error} />
        <Button type="submit" tag="button" theme="primary" disabled={!ready} loading={change.isPending}>
          {t("password.submit")}
        </Button>
      </form>
    </Card>
  );
}
