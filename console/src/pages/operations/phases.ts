import type { Operation } from "../../api/types";
import { isCancelled } from "../../rules/cancelled";

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

export type PhaseState = "done" | "now" | "stopped" | "cancelled" | "undone" | "next";
type Staged = Pick<Operation, "Kind" | "Phase" | "State" | "ErrorCode">;

/** The phases of an operation, each with whether it is behind it. What was `entered`, in order, says how far one came that is undone: the phase of undoing comes last. */
export function phasesOf(operation: Staged, entered: readonly string[]): readonly { readonly name: string; readonly state: PhaseState }[] {
  const { Kind, Phase, State } = operation;
  const way = PHASES[Kind] ?? [];
  if (State === "DONE") return way.map((name) => ({ name, state: "done" }));
  const broken: PhaseState = isCancelled(operation) ? "cancelled" : "stopped";
  const undoing = Phase !== "" && !way.includes(Phase);
  const at = undoing ? Math.max(-1, ...entered.map((name) => way.indexOf(name))) : way.indexOf(Phase);
  const here: PhaseState = undoing || State === "FAILED" ? broken : "now";
  const phases = way.map((name, index) => ({ name, state: index < at ? ("done" as const) : index === at ? here : ("next" as const) }));
  return undoing ? [...phases, { name: Phase, state: State === "FAILED" ? "undone" : "now" }] : phases;
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
