import { useMutation } from "@tanstack/react-query";
import { useEffect, useState, type ReactNode } from "react";
import { NavLink, useLocation } from "react-router";

import { logOut, type Session } from "../api/client";
import { useAttention, useRunning } from "../api/queries";
import { LANGUAGES, useWords, type Language } from "../words";
import {
  CameraIcon, DashboardIcon, LayersIcon, ServerIcon, MenuIcon, MoonIcon, NotificationIcon, SecuredIcon, SettingIcon, SunnyIcon, TaskIcon, TimeIcon, TranslateIcon,
  UserCircleIcon,
} from "./icons";
import { Logo } from "./Logo";
import { Menu } from "./Menu";
import { Palette } from "./Palette";
import { useTheme, type Theme } from "./theme";

const PAGES = [
  { to: "/", key: "nav.overview", Icon: DashboardIcon },
  { to: "/disks", key: "nav.disks", Icon: ServerIcon },
  { to: "/snapshots", key: "nav.snapshots", Icon: CameraIcon },
  { to: "/groups", key: "nav.groups", Icon: LayersIcon },
  { to: "/policies", key: "nav.policies", Icon: TimeIcon },
  { to: "/protection", key: "nav.protection", Icon: SecuredIcon },
  { to: "/operations", key: "nav.operations", Icon: TaskIcon },
  { to: "/events", key: "nav.events", Icon: NotificationIcon },
  { to: "/settings", key: "nav.settings", Icon: SettingIcon },
] as const;

type Props = { readonly session: Session; readonly reachable: boolean; readonly children: ReactNode };

/** What is around every page: where one is, where one can go, and whether the server answers. */
export function Shell({ session, reachable, children }: Props) {
  const { t } = useWords();
  const [open, setOpen] = useState(false);
  const running = useRunning().length;
  const { pathname } = useLocation();
  useEffect(() => setOpen(false), [pathname]);
  return (
    <div className={open ? "shell shell--open" : "shell"}>
      <a className="skip" href="#content">
        {t("nav.skip")}
      </a>
      <header className="bar">
        <button
          type="button"
          className="plain bar__menu"
          aria-label={t("nav.menu")}
          aria-expanded={open}
          onClick={() => setOpen(!open)}
        >
          <MenuIcon />
        </button>
        <NavLink to="/" className="bar__brand" aria-label="Drystone">
          <Logo />
          <span>Drystone</span>
        </NavLink>
        <span className="bar__region" title={t("nav.region")}>
          {session.Region}
        </span>
        <span className="bar__space" />
        <Palette />
        <Bell />
        <LanguageMenu />
        <ThemeMenu />
        <AccountMenu session={session} />
      </header>
      <nav className="side" aria-label={t("nav.label")}>
        {PAGES.map(({ to, key, Icon }) => (
          <NavLink key={to} to={to} end={to === "/"} className="side__link">
            <Icon />
            <span>{t(key)}</span>
            {key === "nav.operations" && running > 0 && (
              <span className="side__count" aria-label={t("nav.running", { count: running })}>
                {running}
              </span>
            )}
          </NavLink>
        ))}
        <small className="side__version">Drystone {session.Version}</small>
      </nav>
      {/* A click beside the open menu of a phone closes it; the keyboard has the button. */}
      {open && <div className="shade" onClick={() => setOpen(false)} aria-hidden="true" />}
      <main id="content" className="content" tabIndex={-1}>
        {!reachable && (
          <div className="banner" role="alert">
            {t("error.unreachableBanner")}
          </div>
        )}
        {children}
      </main>
    </div>
  );
}

/** How many events need attention, and a way there. */
function Bell() {
  const { t } = useWords();
  const count = useAttention().data?.TotalCount ?? 0;
  const label = count === 0 ? t("nav.events") : t("nav.attention", { count });
  return (
    <NavLink to="/events?resolved=false" className="icon-button bell" aria-label={label} title={label}>
      <NotificationIcon />
      {count > 0 && (
        <span className="bell__count" aria-hidden="true">
          {count > 99 ? "99+" : count}
        </span>
      )}
    </NavLink>
  );
}

export function LanguageMenu() {
  const { t, language, setLanguage } = useWords();
  const entries = (Object.keys(LANGUAGES) as Language[]).map((code) => ({
    text: LANGUAGES[code],
    checked: code === language,
    onSelect: () => setLanguage(code),
  }));
  return (
    <Menu label={t("nav.language")} entries={entries} className="icon-button">
      <TranslateIcon />
    </Menu>
  );
}

const THEMES: readonly Theme[] = ["light", "dark", "system"];

export function ThemeMenu() {
  const { t } = useWords();
  const [theme, setTheme] = useTheme();
  const entries = THEMES.map((one) => ({ text: t(`theme.${one}`), checked: one === theme, onSelect: () => setTheme(one) }));
  return (
    <Menu label={t("nav.theme")} entries={entries} className="icon-button">
      {theme === "dark" ? <MoonIcon /> : <SunnyIcon />}
    </Menu>
  );
}

function AccountMenu({ session }: { readonly session: Session }) {
  const { t } = useWords();
  const leave = useMutation({
    mutationFn: logOut,
    // Also when the server had forgotten the session already. A page that is loaded anew holds nothing of the old one.
    onSettled: () => globalThis.location.assign("/console/login"),
  });
  const entries = [{ text: t("nav.logOut"), onSelect: () => leave.mutate() }];
  return (
    <Menu label={t("nav.account", { name: session.Name })} entries={entries} className="icon-button account">
      <UserCircleIcon />
      <span className="account__name">{session.Name}</span>
    </Menu>
  );
}
