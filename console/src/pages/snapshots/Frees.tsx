import { useAnswer, type SnapshotRow } from "../../api/queries";
import { NameAndId } from "../../parts/Copyable";
import { bytes } from "../../units/bytes";
import { useWords } from "../../words";

const LISTED_MAX = 8;

/** What deleting snapshots would free; asked anew by each dialog that is opened. */
export function useFreed(ids: readonly string[]) {
  return useAnswer("drystone", "DescribeSnapshotSpace", { SnapshotIds: ids }, { everyMs: false, staleMs: 0 });
}

type Props = { readonly rows: readonly SnapshotRow[]; readonly freed: ReturnType<typeof useFreed> };

/** Snapshots that are about to be deleted, what each holds alone, and what deleting all of them frees: soon, and later. */
export function Frees({ rows, freed }: Props) {
  const { t } = useWords();
  // What is dead in packs that are mostly alive stays there until they are worth being written again.
  const laterBytes = freed.data ? freed.data.DeadBytes - freed.data.ReclaimableBytes : 0;
  return (
    <>
      <ul className="what-list">
        {rows.slice(0, LISTED_MAX).map(({ snapshot }) => (
          <li key={snapshot.SnapshotId}>
            <NameAndId name={snapshot.SnapshotName} id={snapshot.SnapshotId} />
            <span>{bytes(freed.data?.SnapshotSpaceSet.find((one) => one.SnapshotId === snapshot.SnapshotId)?.UniqueBytes)}</span>
          </li>
        ))}
        {rows.length > LISTED_MAX && <li>{t("remove.more", { count: rows.length - LISTED_MAX })}</li>}
      </ul>
      <p className="frees">
        {freed.data ? (
          <>
            {t("remove.frees")} <strong>{bytes(freed.data.ReclaimableBytes)}</strong>
          </>
        ) : freed.error ? (
          t("remove.freesUnknown")
        ) : (
          t("remove.counting")
        )}
      </p>
      {laterBytes > 0 && <p className="field__hint">{t("remove.freesLater", { size: bytes(laterBytes) })}</p>}
    </>
  );
}
