import { useAnswer } from "../../api/queries";
import { DiskMap } from "../../parts/charts";
import { ErrorNote } from "../../parts/ErrorNote";
import { Loading } from "../../parts/Page";
import { bytes, percent } from "../../units/bytes";
import { useWords } from "../../words";

/** Where a disk differs between two of its snapshots; without `from`, what `to` holds at all. */
export function Difference({ from, to }: { readonly from: string | null; readonly to: string }) {
  const { t } = useWords();
  const answer = useAnswer(
    "drystone",
    "DescribeSnapshotDifference",
    from === null ? { To: to } : { From: from, To: to },
    // Neither snapshot changes ever.
    { everyMs: false, staleMs: Infinity },
  );
  if (answer.error) return <ErrorNote error={answer.error} />;
  if (answer.data === undefined) return <Loading />;
  const { Buckets, BucketBytes, SizeBytes } = answer.data;
  const changed = Buckets.reduce((sum, one) => sum + one, 0);
  const touched = Buckets.filter((one) => one > 0).length;
  const share = percent(changed, SizeBytes);
  const sum = t(from === null ? "diff.holds" : "diff.sum", {
    changed: bytes(changed),
    size: bytes(SizeBytes),
    percent: share < 0.1 && share > 0 ? "< 0.1" : Number(share.toFixed(1)),
  });
  return (
    <div className="difference">
      <p>{sum}</p>
      <DiskMap
        label={`${sum} ${t("diff.spread", { touched, count: Buckets.length })}`}
        buckets={Buckets}
        bucketBytes={BucketBytes}
        describe={(index) => `${bytes(index * BucketBytes)} – ${bytes((index + 1) * BucketBytes)}: ${bytes(Buckets[index])}`}
      />
      <p className="field__hint">{t("diff.legend", { size: bytes(BucketBytes) })}</p>
    </div>
  );
}
