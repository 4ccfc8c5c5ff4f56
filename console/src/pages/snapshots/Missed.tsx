import type { SnapshotRecord } from "../../api/types";
import { missed } from "../../rules/quiesced";
import { named, useWords } from "../../words";

/** What the profile asks for and this snapshot did not get. */
export function Missed({ record }: { readonly record: SnapshotRecord | undefined }) {
  const { t } = useWords();
  const lines = missed(record);
  if (lines.length === 0) return null;
  return (
    <div className="note note--warn">
      <strong>{t("snap.missed", { reached: record?.Consistency ? named(t, "consistency", record.Consistency) : "–" })}</strong>
      <ul className="held">
        {lines.map((line) => (
          <li key={line}>{line}</li>
        ))}
      </ul>
    </div>
  );
}
