import type { Operation } from "../../api/types";

// docs/states.md: the phases of each kind that has them, in order.
const PHASES: Partial<Readonly<Record<Operation["Kind"], readonly string[]>>> = {
  snapshot: ["FREEZING", "FROZEN", "SPOOLED", "COMMITTED"],
  snapshot_group: ["FREEZING", "FROZEN", "COMMITTED"],
  rollback: ["PLANNING", "WRITING"],
  hydrate: ["COPYING"],
  delete_snapshot: ["DELETING", "GHOST"],
  compare: ["COMPARING"],
  export: ["COPYING", "NAMING"],
  import: ["COPYING"],
  rewrite: ["COPYING", "COMPARING", "REPLACING"],
  prove: ["PROVING"],
};

export type PhaseState = "done" | "now" | "stopped" | "next";

/** The phases of an operation, each with whether it is behind it; one that is not of its kind's way comes last. */
export function phasesOf({ Kind, Phase, State }: Pick<Operation, "Kind" | "Phase" | "State">): readonly { readonly name: string; readonly state: PhaseState }[] {
  const way = PHASES[Kind] ?? [];
  if (State === "DONE") return way.map((name) => ({ name, state: "done" }));
  const here: PhaseState = State === "FAILED" ? "stopped" : "now";
  const at = way.indexOf(Phase);
  if (at < 0) return [...way.map((name) => ({ name, state: "next" as const })), ...(Phase === "" ? [] : [{ name: Phase, state: here }])];
  return way.map((name, index) => ({ name, state: index < at ? "done" : index === at ? here : "next" }));
}

type Advice = "space" | "quota" | "correct" | "busy" | "gone" | "internal" | "again";

const ADVICE: readonly (readonly [RegExp, Advice])[] = [
  [/^ResourceInsufficient\.OverQuota|^InsufficientSnapshotQuota|^LimitExceeded/, "quota"],
  [/^ResourceInsufficient/, "space"],
  [/^(Invalid|Missing)Parameter|^UnsupportedOperation$/, "correct"],
  [/NotFound/, "gone"],
  [/^Resource(Unavailable|InUse|Busy)|StateError/, "busy"],
  [/^InternalError/, "internal"],
];

/** What helps against an error with this code. */
export const adviceOf = (code: string): Advice => ADVICE.find(([pattern]) => pattern.test(code))?.[1] ?? "again";
