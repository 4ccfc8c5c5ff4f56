import { useEffect, useId, useRef, type FormEvent, type ReactNode } from "react";
import { Button } from "tdesign-react/es/button";

import type { Shown } from "../commands/asked";
import { useWords } from "../words";
import { ErrorNote } from "./ErrorNote";
import { CloseIcon } from "./icons";
import { ShowCommand } from "./ShowCommand";

type Props = Asking & {
  readonly title: string;
  readonly children: ReactNode;
  readonly onClose: () => void;
  readonly submitText?: string;
  readonly danger?: boolean;
  /** Whether what is entered can be submitted. */
  readonly ready?: boolean;
  readonly busy?: boolean;
  /** Nothing can be cancelled any more. Without it: while it is busy. */
  readonly begun?: boolean;
  readonly error?: Error | null;
  readonly wide?: boolean;
};

type Asking =
  | {
      /** Called when the form is submitted; without it the dialog only shows something. */
      readonly onSubmit: () => void;
      /** What it would ask of the API now, to be shown as commands; null where it changes nothing. */
      readonly shows: Shown | null;
    }
  | { readonly onSubmit?: undefined; readonly shows?: undefined };

/** Where the focus begins, best first: in a field, at a box to tick, at what can be done. Never at the cross. */
const FIRST = [
  ".dialog__body :is(input:not([type=checkbox], :disabled), select:not(:disabled), textarea:not(:disabled))",
  ".dialog__body input:not(:disabled)",
  // What cannot be undone is not what Enter does at once.
  "form:not(.dialog__danger) > .dialog__foot button[type=submit]:not(:disabled)",
  ".dialog__foot button",
];

/**
 * A dialog over the page. It is the browser's own element, which keeps focus inside, makes the rest of the page inert,
 * closes on Escape and gives the focus back: what TDesign's dialog does not do.
 */
export function Dialog(props: Props) {
  const { t } = useWords();
  const element = useRef<HTMLDialogElement>(null);
  const titleId = useId();
  useEffect(() => {
    const dialog = element.current;
    dialog?.showModal();
    // The browser's own choice is the first thing that takes the focus: the cross.
    const first = FIRST.map((selector) => dialog?.querySelector<HTMLElement>(selector)).find((found) => found);
    first?.focus();
    return () => dialog?.close();
  }, []);
  const submit = (event: FormEvent) => {
    event.preventDefault();
    if (props.ready !== false && !props.busy) props.onSubmit?.();
  };
  return (
    <dialog
      ref={element}
      className={props.wide ? "dialog dialog--wide" : "dialog"}
      aria-labelledby={titleId}
      onCancel={(event) => {
        event.preventDefault();
        if (!props.busy) props.onClose();
      }}
    >
      <form onSubmit={submit} noValidate className={props.danger ? "dialog__danger" : undefined}>
        <header className="dialog__head">
          <h2 id={titleId}>{props.title}</h2>
          <button type="button" className="plain" aria-label={t("common.close")} onClick={props.onClose}>
            <CloseIcon />
          </button>
        </header>
        <div className="dialog__body">
          {props.children}
          <ErrorNote error={props.error} />
          {props.shows && <ShowCommand shown={props.shows} />}
        </div>
        <footer className="dialog__foot">
          <Button variant="outline" theme="default" onClick={props.onClose}>
            {props.onSubmit && !(props.begun ?? props.busy) ? t("common.cancel") : t("common.close")}
          </Button>
          {props.onSubmit && (
            <Button
              type="submit"
              tag="button"
              theme={props.danger ? "danger" : "primary"}
              disabled={props.ready === false}
              loading={props.busy ?? false}
            >
              {props.submitText ?? t("common.submit")}
            </Button>
          )}
        </footer>
      </form>
    </dialog>
  );
}
