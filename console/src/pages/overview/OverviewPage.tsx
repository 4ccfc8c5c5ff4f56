import type { ReactNode } from "react";
import { Link, useSearchParams } from "react-router";

import type { Overview } from "../../api/answers";
import { useAnswer, useAttention } from "../../api/queries";
import { AreaChart, PartsBar } from "../../parts/charts";
import { ErrorNote } from "../../parts/ErrorNote";
import { Choice } from "../../parts/Field";
import { CameraIcon, ServerIcon } from "../../parts/icons";
import { Card, PageHead, Pending } from "../../parts/Page";
import { OperationTag } from "../../parts/StateTag";
import { Time } from "../../parts/Time";
import { bytes, number, percent } from "../../units/bytes";
import { parseTime, shortTime } from "../../units/times";
import { named, useWords } from "../../words";
import { AttentionCard } from "../events/AttentionCard";
import { FirstSteps } from "./FirstSteps";
import { Resource } from "../operations/columns";

const RECENT = 8;

export default function OverviewPage() {
  const { t } = useWords();
  const answer = useAnswer("drystone", "DescribeOverview", {}, { everyMs: 5_000 });
  return (
    <>
      <PageHead title={t("nav.overview")} lead={t("overview.lead")} />
      <Pending answer={answer} />
      {answer.data && <Content overview={answer.data} />}
    </>
  );
}

function Content({ overview }: { readonly overview: Overview }) {
  const { t, locale } = useWords();
  const attention = useAttention().data?.TotalCount ?? 0;
  if (overview.Disks === 0 && overview.SnapshotsCount === 0) {
    return (
      <>
        {/* A store may be held, or full of somebody else's data, before the first disk. */}
        {attention > 0 && <AttentionCard />}
        <FirstSteps overview={overview} />
      </>
    );
  }
  return (
    <>
      {overview.SnapshotsCount === 0 && <FirstSteps overview={overview} />}
      <div className="figures">
        <Figure icon={<ServerIcon />} name={t("nav.disks")} value={number(overview.Disks, locale)} to="/disks">
          {t("overview.disksSize", { size: bytes(overview.DisksBytes) })}
        </Figure>
        <Figure icon={<CameraIcon />} name={t("nav.snapshots")} value={number(overview.SnapshotsCount, locale)} to="/snapshots">
          {t("overview.logical", { size: bytes(overview.LogicalBytes) })}
        </Figure>
        <Figure name={t("overview.stored")} value={bytes(overview.StoredBytes)}>
          {t("overview.saved", { percent: Number(percent(overview.SavedByCompressionBytes, overview.ChangedBytes).toFixed(1)) })}
        </Figure>
        {overview.StoreBytesFree !== null && (
          <Figure name={t("overview.free")} value={bytes(overview.StoreBytesFree)}>
            {t("overview.freeHint")}
          </Figure>
        )}
      </div>
      <div className="columns">
        <div className="column">
          <Card title={t("overview.space")}>
            <PartsBar
              label={t("overview.space")}
              format={bytes}
              parts={[
                { name: t("overview.stored"), value: overview.StoredBytes, tone: "stored" },
                { name: t("overview.partCompression"), value: overview.SavedByCompressionBytes, tone: "compression" },
                { name: t("overview.partIncrements"), value: overview.SavedByIncrementsBytes, tone: "increments" },
              ]}
            />
            <p className="field__hint">{t("overview.spaceHint")}</p>
          </Card>
          <History />
        </div>
        <AttentionCard />
      </div>
      <Card title={t("overview.recent")} aside={<Link to="/operations">{t("overview.allOperations")}</Link>}>
        {overview.RecentOperations.length === 0 && <p className="quiet">{t("op.none")}</p>}
        <ul className="op-list">
          {overview.RecentOperations.slice(0, RECENT).map((operation) => (
            <li key={operation.OperationId}>
              <Link to={`/operations/${operation.OperationId}`}>{named(t, "op.kind", operation.Kind)}</Link>
              <OperationTag operation={operation} />
              <Resource operation={operation} />
              <Time text={operation.CreateTime} />
            </li>
          ))}
        </ul>
      </Card>
    </>
  );
}

type FigureProps = { readonly icon?: ReactNode; readonly name: string; readonly value: string; readonly to?: string; readonly children: ReactNode };

function Figure({ icon, name, value, to, children }: FigureProps) {
  const content = (
    <>
      <span className="figure__name">
        {icon}
        {name}
      </span>
      <strong>{value}</strong>
      <small>{children}</small>
    </>
  );
  return to === undefined ? (
    <div className="figure">{content}</div>
  ) : (
    <Link className="figure" to={to}>
      {content}
    </Link>
  );
}

const RANGES = [24, 168, 720, 2160] as const;

/** Figures over time; the page's address says how far back. */
function History() {
  const { t, locale } = useWords();
  const [address, setAddress] = useSearchParams();
  const hours = RANGES.find((one) => String(one) === address.get("hours")) ?? 168;
  const answer = useAnswer("drystone", "DescribeHistory", { Hours: hours }, { everyMs: 60_000, staleMs: 30_000 });
  const points = (answer.data?.Points ?? []).flatMap((point) => {
    const at = parseTime(point.At);
    return at === null ? [] : [{ at, point }];
  });
  return (
    <Card
      title={t("overview.history")}
      aside={
        <Choice
          label={t("overview.range")}
          value={String(hours)}
          options={RANGES.map((one) => ({ value: String(one), text: t(`overview.hours.${one}`) }))}
          onChange={(value) => setAddress({ hours: value }, { replace: true })}
        />
      }
    >
      <ErrorNote error={answer.error} />
      {points.length < 2 ? (
        <p className="quiet">{t("overview.historyLater")}</p>
      ) : (
        <div className="charts">
          <AreaChart
            label={t("overview.stored")}
            points={points.map(({ at, point }) => ({ at, value: point.StoredBytes }))}
            format={bytes}
            formatTime={shortTime}
          />
          <AreaChart
            label={t("overview.chartLogical")}
            points={points.map(({ at, point }) => ({ at, value: point.LogicalBytes }))}
            format={bytes}
            formatTime={shortTime}
          />
          <AreaChart
            label={t("overview.chartSnapshots")}
            points={points.map(({ at, point }) => ({ at, value: point.Snapshots }))}
            of="count"
            format={(value) => number(value, locale)}
            formatTime={shortTime}
          />
        </div>
      )}
    </Card>
  );
}
