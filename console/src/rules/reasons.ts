import type { Translate } from "../words";

type Known = readonly [RegExp, (t: Translate, part: string) => string];

// What the server writes in its own words, in English only.
const KNOWN: readonly Known[] = [
  [/^It was cancelled\.$/, (t) => t("reason.cancelled")],
  [/^changes were tracked since the parent$/, (t) => t("reason.tracked")],
  [/^the disk has no snapshot to be compared with$/, (t) => t("reason.first")],
  [/^the parent is suspect: an audit found that tracking had missed changes$/, (t) => t("reason.suspectParent")],
  [/^tracking was lost: (.*)$/s, (t, why) => t("reason.lost", { why: reasonText(t, why) })],
  [/^rolling back to (\S+)$/, (t, snapshot) => t("reason.rollback", { snapshot })],
  [/^a rollback is under way$/, (t) => t("reason.rollbackRuns")],
  [/^the disk is being initialized$/, (t) => t("reason.initializing")],
  [/^the delta map of a deleted snapshot is unknown$/, (t) => t("reason.deletedParent")],
  [/^for an unknown reason$/, (t) => t("reason.unknown")],
];

/** A reason that the server gives, in the reader's language where it is a known one, else in the server's words. */
export function reasonText(t: Translate, text: string): string {
  for (const [pattern, said] of KNOWN) {
    const found = pattern.exec(text);
    if (found !== null) return said(t, found[1] ?? "");
  }
  return text;
}
