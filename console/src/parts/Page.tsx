// What pages are made of.
import { useEffect, type ReactElement, type ReactNode } from "react";
import { Link } from "react-router";

import { useWords } from "../words";
import { CopyButton, nameText } from "./Copyable";
import { ErrorNote } from "./ErrorNote";
import { Hint } from "./Hint";
import { ChevronLeftIcon } from "./icons";

type HeadProps = {
  readonly title: string;
  readonly lead?: ReactNode;
  readonly actions?: ReactNode;
  readonly back?: { readonly to: string; readonly text: string };
};

export function PageHead({ title, lead, actions, back }: HeadProps) {
  useEffect(() => {
    document.title = `${title} · Drystone`;
  }, [title]);
  return (
    <header className="page-head">
      <div className="page-head__title">
        {back && (
          <Link to={back.to} className="page-head__back">
            <ChevronLeftIcon />
            {back.text}
          </Link>
        )}
        <h1>{title}</h1>
        {lead && <div className="page-head__lead">{lead}</div>}
      </div>
      {actions && <div className="page-head__actions">{actions}</div>}
    </header>
  );
}

type OneHeadProps = {
  readonly name: string;
  readonly id: string;
  /** What the id is of, for the button that copies it. */
  readonly what: string;
  readonly back: { readonly to: string; readonly text: string };
  readonly state: ReactNode;
  readonly actions: ReactNode;
};

/** The head of a page of one disk, snapshot or group. */
export function OneHead({ name, id, what, back, state, actions }: OneHeadProps) {
  const { t } = useWords();
  const lead = (
    <span className="lead-line">
      <code>{id}</code>
      <CopyButton text={id} what={what} />
      {state}
    </span>
  );
  return <PageHead title={nameText(t, name)} back={back} lead={lead} actions={actions} />;
}

type CardProps = { readonly title?: string; readonly aside?: ReactNode; readonly children: ReactNode; readonly className?: string };

export function Card({ title, aside, children, className = "" }: CardProps) {
  return (
    <section className={`card ${className}`} aria-label={title}>
      {title && (
        <header className="card__head">
          <h2>{title}</h2>
          {aside}
        </header>
      )}
      {children}
    </section>
  );
}

export type Fact = { readonly name: string; readonly value: ReactNode; readonly hint?: string };

/** Names and values, one pair under the other. */
export function Facts({ facts }: { readonly facts: readonly Fact[] }) {
  return (
    <dl className="facts">
      {facts.map((fact) => (
        <div key={fact.name}>
          <dt>
            {fact.name}
            {fact.hint !== undefined && <Hint of={fact.name} text={fact.hint} />}
          </dt>
          <dd>{fact.value}</dd>
        </div>
      ))}
    </dl>
  );
}

type EmptyProps = { readonly icon: ReactElement; readonly title: string; readonly text: string; readonly action?: ReactNode };

/** Where there is nothing yet: what would be here, and how to begin. */
export function Empty({ icon, title, text, action }: EmptyProps) {
  return (
    <div className="empty">
      <span className="empty__icon" aria-hidden="true">
        {icon}
      </span>
      <h2>{title}</h2>
      <p>{text}</p>
      {action}
    </div>
  );
}

export function Loading() {
  const { t } = useWords();
  return (
    <div className="loading" role="status">
      <span className="unseen">{t("common.loading")}</span>
      <i aria-hidden="true" />
      <i aria-hidden="true" />
      <i aria-hidden="true" />
    </div>
  );
}

/** That an answer is not there yet, or its error. */
export function Pending({ answer }: { readonly answer: { readonly data: unknown; readonly error: Error | null } }) {
  return answer.error === null && answer.data === undefined ? <Loading /> : <ErrorNote error={answer.error} />;
}

export function Gone({ title, text, back }: { readonly title: string; readonly text: string; readonly back: { to: string; text: string } }) {
  return (
    <>
      <PageHead title={title} back={back} />
      <div className="empty">
        <h2>{title}</h2>
        <p>{text}</p>
        <Link to={back.to}>{back.text}</Link>
      </div>
    </>
  );
}
