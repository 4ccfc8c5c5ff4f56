import { NavLink, useParams } from "react-router";

import { PageHead } from "../../parts/Page";
import { useWords } from "../../words";
import { About } from "./About";
import { Instances } from "./Instances";
import { Keys } from "./Keys";
import { Password } from "./Password";
import { Quotas } from "./Quotas";

const PARTS = { keys: Keys, password: Password, quotas: Quotas, instances: Instances, about: About } as const;
type Part = keyof typeof PARTS;

const isPart = (text: string | undefined): text is Part => text !== undefined && Object.hasOwn(PARTS, text);

export default function SettingsPage() {
  const { t } = useWords();
  const asked = useParams()["part"];
  const part = isPart(asked) ? asked : "keys";
  const Shown = PARTS[part];
  return (
    <>
      <PageHead title={t("nav.settings")} />
      <nav className="tabs" aria-label={t("nav.settings")}>
        {(Object.keys(PARTS) as Part[]).map((one) => (
          <NavLink key={one} to={`/settings/${one}`} className={one === part ? "active" : ""} aria-current={one === part ? "page" : undefined}>
            {t(`settings.${one}`)}
          </NavLink>
        ))}
      </nav>
      <Shown />
    </>
  );
}
