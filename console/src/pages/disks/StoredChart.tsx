import { useAnswer } from "../../api/queries";
import { AreaChart } from "../../parts/charts";
import { ErrorNote } from "../../parts/ErrorNote";
import { Card, Loading } from "../../parts/Page";
import { useNow } from "../../parts/Time";
import { DAYS_SHOWN, dayPoints, growthPerDay } from "../../rules/diskDays";
import { bytes } from "../../units/bytes";
import { dayText } from "../../units/times";
import { useWords } from "../../words";

/** What the store holds of a disk, day by day. */
export function StoredChart({ diskId }: { readonly diskId: string }) {
  const { t } = useWords();
  const now = useNow();
  const answer = useAnswer("drystone", "DescribeDiskSpace", { DiskIds: [diskId], Days: DAYS_SHOWN }, { everyMs: 60_000, staleMs: 30_000 });
  const space = answer.data?.DiskSpaceSet[0];
  const points = space === undefined ? [] : dayPoints(space, now, DAYS_SHOWN);
  const growth = growthPerDay(points);
  return (
    <Card title={t("space.title")} aside={<span className="card__aside">{t("space.lead")}</span>}>
      <ErrorNote error={answer.error} />
      {answer.data === undefined && answer.error === null && <Loading />}
      {space !== undefined && points.length < 2 && <p className="quiet">{t("space.later", { size: bytes(space.StoredBytes) })}</p>}
      {points.length >= 2 && (
        <>
          <AreaChart label={t("space.held")} points={points} format={bytes} formatTime={dayText} />
          <p className="field__hint">{growthText(t, growth)}</p>
        </>
      )}
    </Card>
  );
}

/** How fast it grows or shrinks, in words. */
export function growthText(t: ReturnType<typeof useWords>["t"], growth: number | null): string {
  if (growth === null) return "–";
  if (Math.abs(growth) < 1) return t("space.still");
  return t(growth > 0 ? "space.grows" : "space.shrinks", { size: bytes(Math.abs(growth)) });
}
