import { useState } from "react";

import type { Named } from "../api/queries";
import type { Shown } from "../commands/asked";
import { shownName } from "./Copyable";
import { Dialog } from "./Dialog";
import { NameField, nameIsTooLong } from "./Field";

type Props = {
  readonly title: string;
  readonly name: string;
  readonly kind: Named;
  readonly asked: { readonly onClose: () => void; readonly busy: boolean; readonly error: Error | null };
  readonly onRename: (name: string) => void;
  readonly showsOf: (name: string) => Shown;
};

export function RenameDialog({ title, name: shown, kind, asked, onRename, showsOf }: Props) {
  const before = shownName(shown, "");
  const [name, setName] = useState(before);
  return (
    <Dialog {...asked} title={title} onSubmit={() => onRename(name)} shows={showsOf(name)} ready={name !== "" && !nameIsTooLong(name, kind)}>
      <NameField value={name} onChange={setName} kind={kind} before={before} />
    </Dialog>
  );
}
