// The texts of the console, in the language that the browser asks for or the user chose.
import { createContext, useContext, useEffect, useMemo, useState, type ReactNode } from "react";

import { disks } from "./disks";
import { events } from "./events";
import { overview } from "./overview";
import { policies } from "./policies";
import { protection } from "./protection";
import { quiesce } from "./quiesce";
import { settings } from "./settings";
import { shell } from "./shell";
import { snapshots } from "./snapshots";
import { space } from "./space";

/** Every text, in English and Chinese. `{name}` is filled in; `{count#one|many}` chooses by a number. */
export const WORDS = { ...shell, ...disks, ...snapshots, ...quiesce, ...overview, ...events, ...policies, ...protection, ...settings, ...space };
export type WordKey = keyof typeof WORDS;
export type Language = "en" | "zh";
export const LANGUAGES: Readonly<Record<Language, string>> = { en: "English", zh: "简体中文" };
const LOCALES: Readonly<Record<Language, string>> = { en: "en", zh: "zh-CN" };
const STORED = "drystone.language";

/** The names in braces of a text; of `{count#one|many}`, count. */
type Names<Text extends string> = Text extends `${string}{${infer Name}}${infer Rest}`
  ? (Name extends `${infer Counted}#${string}` ? Counted : Name) | Names<Rest>
  : never;
type Values<Key extends WordKey> = Readonly<Record<Names<(typeof WORDS)[Key][0]>, string | number>>;
type Given<Key extends WordKey> = [Names<(typeof WORDS)[Key][0]>] extends [never] ? [] : [Values<Key>];
export type Translate = <Key extends WordKey>(key: Key, ...values: Given<Key>) => string;

/** Returns the text of a key with its names filled in. */
export function translator(language: Language): Translate {
  return (key, ...values) => {
    const filled: Readonly<Record<string, string | number>> = values[0] ?? {};
    return WORDS[key][language === "en" ? 0 : 1]
      .replace(/\{(\w+)#([^|}]*)\|((?:[^{}]|\{\w+\})*)\}/g, (_, name: string, one: string, many: string) =>
        Number(filled[name]) === 1 ? one : many,
      )
      .replace(/\{(\w+)\}/g, (whole, name: string) => String(filled[name] ?? whole));
  };
}

export const isWordKey = (key: string): key is WordKey => Object.hasOwn(WORDS, key);

/** The text for a value that the server names, such as a state; the value itself where there is none. */
export function named(t: Translate, prefix: string, value: string): string {
  const key = `${prefix}.${value}`;
  return isWordKey(key) ? (t as (key: WordKey) => string)(key) : value;
}

export function preferredLanguage(stored: string | null, browser: readonly string[]): Language {
  if (stored === "en" || stored === "zh") return stored;
  const first = browser.find((language) => /^(en|zh)\b/i.test(language));
  return first?.toLowerCase().startsWith("zh") ? "zh" : "en";
}

type Words = {
  readonly t: Translate;
  readonly language: Language;
  /** For Intl. */
  readonly locale: string;
  readonly setLanguage: (language: Language) => void;
};

const WordsContext = createContext<Words | null>(null);

export function WordsProvider({ children }: { readonly children: ReactNode }) {
  const [language, setLanguage] = useState(() => preferredLanguage(localStorage.getItem(STORED), navigator.languages));
  useEffect(() => {
    document.documentElement.lang = LOCALES[language];
  }, [language]);
  const words = useMemo(
    () => ({
      t: translator(language),
      language,
      locale: LOCALES[language],
      setLanguage: (chosen: Language) => {
        localStorage.setItem(STORED, chosen);
        document.documentElement.lang = LOCALES[chosen];
        setLanguage(chosen);
      },
    }),
    [language],
  );
  return <WordsContext.Provider value={words}>{children}</WordsContext.Provider>;
}

export function useWords(): Words {
  const words = useContext(WordsContext);
  if (words === null) throw new Error("no WordsProvider");
  return words;
}
