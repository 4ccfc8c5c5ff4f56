import { useState } from "react";
import { Link } from "react-router";

import { useNames } from "../api/names";
import type { Tag } from "../api/types";
import { useWords, type Translate } from "../words";
import { CheckIcon, CopyIcon } from "./icons";

const SHOWN_MS = 1_500;

async function copy(text: string): Promise<boolean> {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    // Over plain http from another machine there is no clipboard: the user selects the text.
    return false;
  }
}

/** A button that copies a text. */
export function CopyButton({ text, what }: { readonly text: string; readonly what: string }) {
  const { t } = useWords();
  const [done, setDone] = useState(false);
  const onClick = async () => {
    if (!(await copy(text))) return;
    setDone(true);
    setTimeout(() => setDone(false), SHOWN_MS);
  };
  const label = done ? t("common.copied") : t("common.copy", { what });
  return (
    <button type="button" className="plain copy" aria-label={label} title={label} onClick={onClick}>
      {done ? <CheckIcon /> : <CopyIcon />}
    </button>
  );
}

/** A command to be typed elsewhere. */
export function Command({ text }: { readonly text: string }) {
  const { t } = useWords();
  return (
    <div className="command">
      <pre>{text}</pre>
      <CopyButton text={text} what={t("common.command")} />
    </div>
  );
}

/** Name above id, as lists show things; `to` is the page of what has them. */
export function NameAndId({ name, id, to }: { readonly name: string; readonly id: string; readonly to?: string }) {
  const { t } = useWords();
  const text = (
    <span className="name-id">
      {name !== "" && (
        <span className="name-id__name" title={nameText(t, name)}>
          {nameText(t, name)}
        </span>
      )}
      <code>{id}</code>
    </span>
  );
  return to === undefined ? text : <Link className="row-link" to={to}>{text}</Link>;
}

const PAGES = [["disk-", "/disks/"], ["snap-", "/snapshots/"], ["csnap-", "/groups/"]] as const;

/** A disk, an instance or a snapshot of which only the id is at hand: its name where it has one that is known, and a way there. */
export function Ref({ id }: { readonly id: string }) {
  const nameOf = useNames();
  const page = PAGES.find(([prefix]) => id.startsWith(prefix))?.[1];
  return <NameAndId name={nameOf(id)} id={id} to={page === undefined ? "/settings/instances" : page + id} />;
}

/** The same within a sentence. */
export function RefText({ id }: { readonly id: string }) {
  const { t } = useWords();
  const name = useNames()(id);
  return (
    <>
      {name !== "" && `${nameText(t, name)} `}
      <code>{id}</code>
    </>
  );
}

export const tagTexts = (tags: readonly Tag[]): readonly string[] => tags.map((tag) => `${tag.Key}=${tag.Value}`);
export const tagsText = (tags: readonly Tag[]): string => tagTexts(tags).join(", ") || "–";

const UNNAMED = "未命名";
/** The name, or words for the one that the service gives to what has none. */
export const shownName = (name: string, unnamed: string): string => (name === UNNAMED ? unnamed : name);

// As the console and the command line name the snapshot that they take before a rollback.
const SAFETY = /^(?:before rollback to (?<en>.+)|回滚到 (?<zh>.+) 之前)$/s;

/** A name as it is read: those that the service, the console and the command line give are in the reader's language. */
export function nameText(t: Translate, name: string): string {
  const groups = SAFETY.exec(name)?.groups;
  const of = groups?.["en"] ?? groups?.["zh"];
  return of === undefined ? shownName(name, t("common.unnamed")) : t("rollback.safetyName", { name: of });
}
