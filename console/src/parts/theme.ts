import { useEffect, useState } from "react";

export type Theme = "light" | "dark" | "system";
const STORED = "drystone.theme";
const DARK = "(prefers-color-scheme: dark)";

function stored(): Theme {
  const text = localStorage.getItem(STORED);
  return text === "light" || text === "dark" ? text : "system";
}

function show(theme: Theme): void {
  const dark = theme === "dark" || (theme === "system" && matchMedia(DARK).matches);
  document.documentElement.setAttribute("theme-mode", dark ? "dark" : "light");
}

/** Shows the theme that was chosen before, or the system's; called before anything is drawn. */
export function showStoredTheme(): void {
  show(stored());
}

export function useTheme(): readonly [Theme, (theme: Theme) => void] {
  const [theme, setTheme] = useState(stored);
  useEffect(() => {
    const system = matchMedia(DARK);
    const follow = () => show(theme);
    follow();
    system.addEventListener("change", follow);
    return () => system.removeEventListener("change", follow);
  }, [theme]);
  return [
    theme,
    (chosen) => {
      localStorage.setItem(STORED, chosen);
      setTheme(chosen);
    },
  ];
}
