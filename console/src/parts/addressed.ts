import { useEffect } from "react";
import { useSearchParams } from "react-router";

import { useWords } from "../words";
import type { MenuEntry } from "./Menu";
import { useNotices } from "./Notices";
import { refusalText } from "./refusal";

/** Entries of a menu by what they do. */
export const byKind = <E extends { readonly kind: string }>(entries: readonly E[]): Readonly<Record<string, E>> => Object.fromEntries(entries.map((entry) => [entry.kind, entry]));

/**
 * Does what the page's address asks for with `do`, once: a page that is loaded again does not do it again.
 *
 * @param entries what can be done here, by name; undefined while that is not known
 */
export function useAddressed(entries: Readonly<Record<string, Pick<MenuEntry, "onSelect" | "refusal">>> | undefined): void {
  const { t } = useWords();
  const notices = useNotices();
  const [address, setAddress] = useSearchParams();
  const wanted = address.get("do");
  const known = entries !== undefined;
  useEffect(() => {
    if (wanted === null || entries === undefined) return;
    setAddress(
      (old) => {
        old.delete("do");
        return old;
      },
      { replace: true },
    );
    const entry = entries[wanted];
    if (entry?.refusal) notices.show({ tone: "warning", title: refusalText(t, entry.refusal) });
    else entry?.onSelect();
    // `entries` are new with every drawing; that they are known is what counts.
    // eslint-disable-next-line react-hooks/exhaustive-deps
  }, [wanted, known]);
}
