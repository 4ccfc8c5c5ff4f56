import { Link } from "react-router";

import { useAnswer, useSession } from "../../api/queries";
import type { DiskSpace } from "../../api/types";
import { nameText } from "../../parts/Copyable";
import { Card, Pending } from "../../parts/Page";
import { useNow } from "../../parts/Time";
import { DAYS_SHOWN, dayPoints, daysAgo, growthPerDay } from "../../rules/diskDays";
import { bytes, number, percent } from "../../units/bytes";
import { useWords } from "../../words";
import { growthText } from "../disks/StoredChart";

const LISTED = 20;

/** Which disks fill the store, of all accounts, the largest first. */
export function StoredOfDisks() {
  const { t, locale } = useWords();
  const now = useNow();
  const own = useSession().data?.AccountId;
  const answer = useAnswer("drystone", "DescribeDiskSpace", { AllAccounts: true, Days: DAYS_SHOWN + 1, Limit: LISTED }, { everyMs: 60_000, staleMs: 30_000 });
  const held = useAnswer("drystone", "DescribeStore", {}).data?.LiveBytes ?? 0;
  const rows = answer.data?.DiskSpaceSet ?? [];
  return (
    <Card title={t("space.disks")}>
      <p className="quiet">{t("space.disksLead", { count: number(answer.data?.TotalCount ?? 0, locale), shown: rows.length })}</p>
      <Pending answer={answer} />
      {rows.length > 0 && (
        <div className="plain-table" tabIndex={0} role="region" aria-label={t("space.disks")}>
          <table>
            <thead>
              <tr>
                <th scope="col">{t("space.disk")}</th>
                <th scope="col">{t("space.held")}</th>
                <th scope="col">{t("space.share")}</th>
                <th scope="col">{t("space.weekAgo")}</th>
                <th scope="col">{t("space.monthAgo")}</th>
                <th scope="col">{t("space.growth")}</th>
              </tr>
            </thead>
            <tbody>
              {rows.map((row) => {
                const points = dayPoints(row, now, DAYS_SHOWN + 1);
                return (
                  <tr key={row.DiskId}>
                    <th scope="row">
                      <DiskOf row={row} own={row.AccountId === own} />
                    </th>
                    <td>{bytes(row.StoredBytes)}</td>
                    <td>{held > 0 ? `${percent(row.StoredBytes, held).toFixed(1)} %` : "–"}</td>
                    <td>{bytes(daysAgo(points, 7))}</td>
                    <td>{bytes(daysAgo(points, DAYS_SHOWN))}</td>
                    <td>{growthText(t, growthPerDay(points))}</td>
                  </tr>
                );
              })}
            </tbody>
          </table>
        </div>
      )}
    </Card>
  );
}

function DiskOf({ row, own }: { readonly row: DiskSpace; readonly own: boolean }) {
  const { t } = useWords();
  const id = <code>{row.DiskId}</code>;
  if (row.DiskName === null) return <>{id} {t("space.gone")}</>;
  const name = nameText(t, row.DiskName);
  // Other accounts' disks have no page here.
  return own ? <><Link to={`/disks/${row.DiskId}`}>{name}</Link> {id}</> : <>{name} {id} {row.AccountId}</>;
}
