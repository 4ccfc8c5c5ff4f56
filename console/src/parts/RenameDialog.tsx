import { useState } from "react";

import type { Shown } from "../commands/asked";
import { shownName } from "./Copyable";
import { Dialog } from "./Dialog";
import { NameField, nameIsTooLong } from "./Field";

type Props = {
  readonly title: string;
  readonly name: string;
  /** What the length of the name is counted in. */
  readonly unit: "bytes" | "characters";
  readonly asked: { readonly onClose: () => void; readonly busy: boolean; readonly error: Error | null };
  readonly onRename: (name: string) => void;
  readonly showsOf: (name: string) => Shown;
};

export function RenameDialog({ title, name: before, unit, asked, onRename, showsOf }: Props) {
  const [name, setName] = useState(shownName(before, ""));
  return (
    <Dialog {...asked} title={title} onSubmit={() => onRename(name)} shows={showsOf(name)} ready={name !== "" && !nameIsTooLong(name, unit)}>
      <NameField value={name} onChange={setName} unit={unit} />
    </Dialog>
  );
}
