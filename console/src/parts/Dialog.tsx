import { useEffect, useId, useRef, type FormEvent, type ReactNode } from "react";
import { Button } from "tdesign-react/es/button";

import { useWords } from "../words";
import { ErrorNote } from "./ErrorNote";
import { CloseIcon } from "./icons";

type Props = {
  readonly title: string;
  readonly children: ReactNode;
  readonly onClose: () => void;
  /** Called when the form is submitted; without it the dialog only shows something. */
  readonly onSubmit?: () => void;
  readonly submitText?: string;
  readonly danger?: boolean;
  /** Whether what is entered can be submitted. */
  readonly ready?: boolean;
  readonly busy?: boolean;
  readonly error?: Error | null;
  readonly wide?: boolean;
};

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
      <form onSubmit={submit} noValidate>
        <header className="dialog__head">
          <h2 id={titleId}>{props.title}</h2>
          <button type="button" className="plain" aria-label={t("common.close")} onClick={props.onClose}>
            <CloseIcon />
          </button>
        </header>
        <div className="dialog__body">
          {props.children}
          <ErrorNote error={props.error} />
        </div>
        <footer className="dialog__foot">
          <Button variant="outline" theme="default" onClick={props.onClose}>
            {props.onSubmit ? t("common.cancel") : t("common.close")}
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
