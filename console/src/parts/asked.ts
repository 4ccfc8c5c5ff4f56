import { useChange } from "../api/queries";
import type { ActionName, AnswerOf, ParametersOf, ServiceName } from "../api/answers";
import { useNotices } from "./Notices";

/**
 * The one action that a dialog asks for. When the server has accepted it, a notice says so and the dialog closes.
 *
 * @param done what the notice says; without it there is none
 * @returns `send` begins the action; `dialog` are the properties of the Dialog that depend on it
 */
export function useAsked<S extends ServiceName, A extends ActionName<S>>(
  service: S,
  action: A,
  onClose: () => void,
  done?: string | ((answer: AnswerOf<S, A>) => string),
) {
  const notices = useNotices();
  const change = useChange(service, action);
  const onSuccess = (answer: AnswerOf<S, A>) => {
    if (done !== undefined) notices.show({ tone: "success", title: typeof done === "string" ? done : done(answer) });
    onClose();
  };
  return {
    send: (parameters: ParametersOf<S, A>) => change.mutate(parameters, { onSuccess }),
    dialog: { onClose, busy: change.isPending, error: change.error },
  };
}
