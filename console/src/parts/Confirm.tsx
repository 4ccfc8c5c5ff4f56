import { useWords } from "../words";
import { shownName } from "./Copyable";
import { TextField } from "./Field";

type Props = { readonly expected: string; readonly typed: string; readonly onChange: (typed: string) => void };

/** A question that is answered by typing a name: for what cannot be undone. */
export function TypedName({ expected, typed, onChange }: Props) {
  const { t } = useWords();
  return <TextField label={t("confirm.type", { name: expected })} value={typed} onChange={onChange} />;
}

/** What a user types to confirm something about a disk: its name, or the id of one that has none. */
export const confirmedBy = (disk: { readonly DiskId: string; readonly DiskName: string }): string => shownName(disk.DiskName, disk.DiskId);

/** The password of who is logged in, given again. */
export function OwnPassword({ value, onChange }: { readonly value: string; readonly onChange: (password: string) => void }) {
  const { t } = useWords();
  return <TextField label={t("confirm.password")} type="password" value={value} onChange={onChange} autocomplete="current-password" />;
}
