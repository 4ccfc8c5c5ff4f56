// A change as it is asked of the API: what a dialog sends, and what it shows as commands.
import type { ActionName, ParametersOf } from "../api/answers";
import type { Services } from "../api/types";

/** Those that the console asks. */
type ServiceName = "cbs" | "drystone";
type ChangeOf<S extends ServiceName> = { [A in ActionName<S>]: Services[S][A] extends { changes: true } ? A : never }[ActionName<S>];
type AskedOf<S extends ServiceName> = { [A in ChangeOf<S>]: { readonly service: S; readonly action: A; readonly parameters: ParametersOf<S, A> } }[ChangeOf<S>];
export type Asked = { [S in ServiceName]: AskedOf<S> }[ServiceName];

/** The change that a dialog asks for with what is entered now. */
export function asks<S extends ServiceName, A extends ChangeOf<S>>(service: S, action: A, parameters: ParametersOf<S, A>): Asked {
  // One of the union's members, which TypeScript cannot tell of a generic action.
  return { service, action, parameters } as unknown as Asked;
}

/** Calls in their order, and the lines of the command line that do the same; one call says it itself. */
export type Shown = Asked | { readonly calls: readonly Asked[]; readonly lines: readonly string[] };

export const callsOf = (shown: Shown): readonly Asked[] => ("calls" in shown ? shown.calls : [shown]);
