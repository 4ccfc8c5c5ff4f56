import { NavLink, useParams } from "react-router";

import { useSession } from "../../api/queries";
import { PageHead } from "../../parts/Page";
import { useWords } from "../../words";
import { About } from "./About";
import { Accounts } from "./Accounts";
import { Instances } from "./Instances";
import { Keys } from "./Keys";
import { Password } from "./Password";
import { Quotas } from "./Quotas";
import { Store } from "./Store";

const PARTS = { keys: Keys, password: Password, quotas: Quotas, instances: Instances, accounts: Accounts, store: Store, about: About } as const;
const OF_ADMINISTRATORS: ReadonlySet<string> = new Set(["accounts", "store"]);
type Part = keyof typeof PARTS;

const isPart = (text: string | undefined): text is Part => text !== undefined && Object.hasOwn(PARTS, text);

export default function SettingsPage() {
  const { t } = useWords();
  const asked = useParams()["part"];
  const part = isPart(asked) ? asked : "keys";
  const Shown = PARTS[part];
  const admin = useSession().data?.Admin === true;
  return (
    <>
      <PageHead title={t("nav.settings")} />
      <nav className="tabs" aria-label={t("nav.settings")}>
        {(Object.keys(PARTS) as Part[]).filter((one) => admin || !OF_ADMINISTRATORS.has(one)).map((one) => (
          <NavLink
            key={one}
            to={`/settings/${one}`}
            className={one === part ? "active" : ""}
            aria-current={one === part ? "page" : undefined}
          >
            {t(`settings.${one}`)}
          </NavLink>
        ))}
      </nav>
      <Shown />
    </>
  );
}
