import { useMutation, useQueryClient } from "@tanstack/react-query";
import { useEffect, useState, type FormEvent } from "react";
import { useLocation, useNavigate } from "react-router";
import { Button } from "tdesign-react/es/button";

import { fetchSession, logIn } from "../../api/client";
import { ErrorNote } from "../../parts/ErrorNote";
import { TextField } from "../../parts/Field";
import { Logo } from "../../parts/Logo";
import { LanguageMenu, ThemeMenu } from "../../parts/Shell";
import { useWords } from "../../words";
import { returnPath } from "./returnPath";

export default function LoginPage() {
  const { t } = useWords();
  const location = useLocation();
  const navigate = useNavigate();
  const client = useQueryClient();
  const [account, setAccount] = useState("admin");
  const [password, setPassword] = useState("");
  const expired = (location.state as { expired?: boolean } | null)?.expired === true;
  useEffect(() => {
    document.title = `${t("login.title")} · Drystone`;
  }, [t]);
  const enter = useMutation({
    mutationFn: async () => {
      await logIn(account, password);
      client.clear();
      client.setQueryData(["session"], await fetchSession());
    },
    onSuccess: () => navigate(returnPath(location.state), { replace: true }),
    onError: () => setPassword(""),
  });
  const submit = (event: FormEvent) => {
    event.preventDefault();
    if (account !== "" && password !== "") enter.mutate();
  };
  return (
    <div className="login">
      <div className="login__tools">
        <LanguageMenu />
        <ThemeMenu />
      </div>
      <main className="login__card">
        <Logo />
        <h1>Drystone</h1>
        <p>{t("login.lead")}</p>
        {expired && !enter.isError && (
          <div className="note" role="status">
            {t("login.expired")}
          </div>
        )}
        <form onSubmit={submit}>
          <TextField label={t("login.account")} value={account} onChange={setAccount} autocomplete="username" name="account" />
          <TextField
            label={t("login.password")}
            type="password"
            value={password}
            onChange={setPassword}
            autocomplete="current-password"
            name="password"
            autofocus
          />
          <ErrorNote error={enter.error} />
          <Button type="submit" tag="button" theme="primary" block size="large" loading={enter.isPending}>
            {t("login.title")}
          </Button>
        </form>
        <small>{t("login.hint")}</small>
      </main>
    </div>
  );
}
