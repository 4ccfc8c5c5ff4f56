import { useAnswer } from "../../api/queries";
import type { StoreStatus as Status } from "../../api/answers";
import type { StoreDay } from "../../api/types";
import { AreaChart } from "../../parts/charts";
import { Command } from "../../parts/Copyable";
import { Card, Facts, Pending } from "../../parts/Page";
import { Tag } from "../../parts/StateTag";
import { Time } from "../../parts/Time";
import { bytes, number } from "../../units/bytes";
import { dayText, parseTime } from "../../units/times";
import { named, useWords } from "../../words";

/** Where the store is, whether it answers, and whose it is. */
export function StoreStatus() {
  const answer = useAnswer("drystone", "DescribeStoreStatus", {});
  const { t } = useWords();
  const status = answer.data;
  return (
    <>
      <Card title={t("store.place")}>
        <Pending answer={answer} />
        {status && <Place status={status} />}
      </Card>
      {status && status.PlaceKind === "bucket" && <Requests days={status.DaySet} />}
      {status && <Growth status={status} />}
    </>
  );
}

function Place({ status }: { readonly status: Status }) {
  const { t, locale } = useWords();
  const answers = status.State === "answers";
  return (
    <>
      {!answers && (
        <div className="note note--warn">
          <p>{named(t, "store.todo", status.State)}</p>
          <small>{status.Fault}</small>
        </div>
      )}
      <Facts
        facts={[
          { name: named(t, "store.placeKind", status.PlaceKind), value: <code className="wrap">{status.Place}</code> },
          { name: t("common.state"), value: <Tag tone={answers ? "good" : "bad"}>{named(t, "store.state", status.State)}</Tag> },
          ...(answers ? [] : [{ name: t("store.faultSince"), value: <Time text={status.FaultSince} exact /> }]),
          { name: t("store.reached"), hint: t("store.reachedHint"), value: <Time text={status.ReachedTime} exact /> },
          {
            name: t("store.lastFault"),
            value: status.LastFault === null ? t("store.noFault") : (
              <span className="stacked">
                <span>{status.LastFault}</span>
                <small>
                  <Time text={status.LastFaultTime} exact /> – <Time text={status.LastFaultEndTime} exact />
                </small>
              </span>
            ),
          },
          {
            name: t("store.owner"), hint: t("store.ownerHint"),
            value: t(status.State === "foreign" ? "store.ownerOther" : "store.ownerThis", { epoch: number(status.Epoch, locale) }),
          },
        ]}
      />
      <p className="field__hint">{t("store.check")}</p>
      <Command text="drystone store check" />
    </>
  );
}

const COLUMNS = ["WriteRequests", "ReadRequests", "ListRequests", "DeleteRequests", "SentBytes", "ReceivedBytes", "Errors"] as const;

/** What was asked of a bucket by day, the newest first: what its owner is charged for. */
function Requests({ days }: { readonly days: readonly StoreDay[] }) {
  const { t, locale } = useWords();
  return (
    <Card title={t("store.requests")}>
      <p className="quiet">{t("store.requestsLead")}</p>
      {days.length === 0 ? (
        <p className="quiet">{t("store.noRequests")}</p>
      ) : (
        <div className="plain-table" tabIndex={0} role="region" aria-label={t("store.requests")}>
          <table>
            <thead>
              <tr>
                <th scope="col">{t("store.day")}</th>
                {COLUMNS.map((column) => (
                  <th scope="col" key={column}>
                    {named(t, "store.column", column)}
                  </th>
                ))}
              </tr>
            </thead>
            <tbody>
              {[...days].reverse().map((day) => (
                <tr key={day.Day}>
                  <th scope="row">{day.Day}</th>
                  {COLUMNS.map((column) => (
                    <td key={column}>{column.endsWith("Bytes") ? bytes(day[column]) : number(day[column], locale)}</td>
                  ))}
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
    </Card>
  );
}

/** How much is stored and free by day, and how long that lasts. */
function Growth({ status }: { readonly status: Status }) {
  const { t, locale } = useWords();
  const points = status.SpaceDaySet.flatMap((day) => {
    const at = parseTime(`${day.Day}T00:00:00+00:00`);
    return at === null ? [] : [{ at, day }];
  });
  const left = status.DaysUntilFull;
  return (
    <Card title={t("store.growth")}>
      <p className="quiet">{left === null ? t("store.fullNever") : t("store.full", { count: number(Math.floor(left), locale) })}</p>
      {points.length >= 2 && (
        <div className="charts">
          <AreaChart label={t("overview.stored")} points={points.map(({ at, day }) => ({ at, value: day.StoredBytes }))} format={bytes} formatTime={dayText} />
          <AreaChart label={t("store.freeSpace")} points={points.map(({ at, day }) => ({ at, value: day.FreeBytes }))} format={bytes} formatTime={dayText} />
        </div>
      )}
    </Card>
  );
}
