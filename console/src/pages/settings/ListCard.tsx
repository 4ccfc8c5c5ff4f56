import type { ReactNode } from "react";
import { Button } from "tdesign-react/es/button";

import { AddIcon } from "../../parts/icons";
import { Card, Pending } from "../../parts/Page";

type Props = {
  readonly title: string;
  readonly lead: string;
  readonly createText: string;
  readonly onCreate: () => void;
  readonly answer: { readonly data: unknown; readonly error: Error | null };
  /** A list item for each row. */
  readonly rows: ReactNode;
  /** The dialogs. */
  readonly children: ReactNode;
};

/** A short list of things of one kind, and the button that makes one more. */
export function ListCard({ title, lead, createText, onCreate, answer, rows, children }: Props) {
  return (
    <Card
      title={title}
      aside={
        <Button theme="primary" icon={<AddIcon />} onClick={onCreate}>
          {createText}
        </Button>
      }
    >
      <p className="quiet">{lead}</p>
      <Pending answer={answer} />
      <ul className="rows">{rows}</ul>
      {children}
    </Card>
  );
}
