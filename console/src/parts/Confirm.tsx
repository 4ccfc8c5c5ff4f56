import { useWords } from "../words";
import { TextField } from "./Field";

type Props = { readonly expected: string; readonly typed: string; readonly onChange: (typed: string) => void };

/** A question that is answered by typing a name: for what cannot be taken back. */
export function TypedName({ expected, typed, onChange }: Props) {
  const { t } = useWords();
  return <TextField label={t("confirm.type", { name: expected })} value={typed} onChange={onChange} />;
}

/** What a user types to confirm something about a disk: its name, or the id of one that has none. */
export const confirmedBy = (disk: { readonly DiskId: string; readonly DiskName: string }): string =>
  disk.DiskName === "未命名" ? disk.DiskId : disk.DiskName;
