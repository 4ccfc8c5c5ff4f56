// What Ctrl-K finds: places that are always there, and what is done with what is searched for.
import { matches } from "./arrange";

export type Place = { readonly text: string; readonly to: string };

/** The places of which each word that is typed is a part. */
export const places = (all: readonly Place[], typed: string): readonly Place[] => (typed === "" ? all : all.filter(({ text }) => matches([text], typed)));

/**
 * Splits what is typed into an action and what it is done with: `resize db` is the action whose name has `resize`, and `db`.
 *
 * @param actions what the actions are called
 * @returns the actions that have a word of it in their names, and the words that are left; where none is left, no action
 */
export function split<A extends { readonly text: string }>(actions: readonly A[], typed: string): { readonly actions: readonly A[]; readonly rest: string } {
  const words = typed.split(/\s+/).filter((word) => word !== "");
  const hits = actions.map((action) => ({ action, of: words.filter((word) => word.length > 1 && matches([action.text], word)) }));
  const most = Math.max(0, ...hits.map(({ of }) => of.length));
  const best = most === 0 ? [] : hits.filter(({ of }) => of.length === most);
  const taken = new Set(best.flatMap(({ of }) => of));
  const rest = words.filter((word) => !taken.has(word)).join(" ");
  return rest === "" || best.length === 0 ? { actions: [], rest: typed.trim() } : { actions: best.map(({ action }) => action), rest };
}
