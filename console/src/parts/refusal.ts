import type { Refusal } from "../rules/rules";
import { named, type Translate } from "../words";

/** Says in words why something is not allowed now. */
export function refusalText(t: Translate, refusal: Refusal): string {
  if (refusal.key === "why.state") return t("why.state", { state: named(t, "disk.state", refusal.state ?? "") });
  return t(refusal.key);
}
