import type { ReactNode } from "react";
import { Link } from "react-router";

import type { Overview } from "../../api/answers";
import type { Attention } from "../../api/types";
import { useAnswer } from "../../api/queries";
import { RefText } from "../../parts/Copyable";
import { AreaChart, PartsBar } from "../../parts/charts";
import { ErrorNote } from "../../parts/ErrorNote";
import { CameraIcon, CheckCircleIcon, ErrorCircleIcon, ServerIcon } from "../../parts/icons";
import { Card, PageHead, Pending } from "../../parts/Page";
import { OperationTag } from "../../parts/StateTag";
import { Time } from "../../parts/Time";
import { bytes, number, percent } from "../../units/bytes";
import { exactTime, parseTime } from "../../units/times";
import { named, useWords } from "../../words";
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
  if (overview.Disks === 0 && overview.SnapshotsCount === 0) {
    return (
      <>
        {/* A store may be held, or full of somebody else's data, before the first disk. */}
        {overview.Attention.length > 0 && <AttentionCard attention={overview.Attention} />}
        <FirstSteps overview={overview} />
      </>
    );
  }
  const saved = overview.SavedByIncrementsBytes + overview.SavedByCompressionBytes;
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
          {t("overview.saved", { percent: Number(percent(saved, overview.LogicalBytes).toFixed(1)) })}
        </Figure>
        {overview.StoreBytesFree !== null && (
          <Figure name={t("overview.free")} value={bytes(overview.StoreBytesFree)}>
            {t("overview.freeHint")}
          </Figure>
        )}
      </div>
      <div className="columns">
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
        <AttentionCard attention={overview.Attention} />
      </div>
      <History />
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

function attentionLink(id: string): string | null {
  if (id.startsWith("disk-")) return `/disks/${id}`;
  if (id.startsWith("snap-")) return `/snapshots/${id}`;
  if (id.startsWith("op-")) return `/operations/${id}`;
  return null;
}

function AttentionCard({ attention }: { readonly attention: readonly Attention[] }) {
  const { t } = useWords();
  return (
    <Card title={t("overview.attention")}>
      {attention.length === 0 ? (
        <p className="all-good">
          <CheckCircleIcon /> {t("overview.allGood")}
        </p>
      ) : (
        <ul className="attention">
          {attention.map((one) => {
            const id = one.ResourceId;
            const to = attentionLink(id);
            const what = <RefText id={id} />;
            return (
              <li key={`${one.Kind} ${id} ${one.Message}`}>
                <ErrorCircleIcon />
                <span>
                  {named(t, "attention", one.Kind)} {to === null ? what : <Link to={to}>{what}</Link>}
                  {/* What exactly, in the server's own words. */}
                  {!one.Kind.startsWith("snapshot_") && <small className="attention__detail">{one.Message}</small>}
                </span>
              </li>
            );
          })}
        </ul>
      )}
    </Card>
  );
}

function History() {
  const { t, locale } = useWords();
  const answer = useAnswer("drystone", "DescribeHistory", {}, { everyMs: 60_000, staleMs: 30_000 });
  const points = (answer.data?.Points ?? []).flatMap((point) => {
    const at = parseTime(point.At);
    return at === null ? [] : [{ at, point }];
  });
  return (
    <Card title={t("overview.history")}>
      <ErrorNote error={answer.error} />
      {points.length < 2 ? (
        <p className="quiet">{t("overview.historyLater")}</p>
      ) : (
        <div className="charts">
          <AreaChart
            label={t("overview.stored")}
            points={points.map(({ at, point }) => ({ at, value: point.StoredBytes }))}
            format={bytes}
            formatTime={exactTime}
          />
          <AreaChart
            label={t("overview.chartLogical")}
            points={points.map(({ at, point }) => ({ at, value: point.LogicalBytes }))}
            format={bytes}
            formatTime={exactTime}
          />
          <AreaChart
            label={t("overview.chartSnapshots")}
            points={points.map(({ at, point }) => ({ at, value: point.Snapshots }))}
            format={(value) => number(value, locale)}
            formatTime={exactTime}
          />
        </div>
      )}
    </Card>
  );
}
