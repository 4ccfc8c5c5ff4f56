import { neverBusy, fetchEvents, useChange } from "../../api/queries";
import type { Event } from "../../api/types";
import { ActionButton } from "../../parts/ActionButton";
import type { Column } from "../../parts/DataTable";
import { ErrorNote } from "../../parts/ErrorNote";
import { NotificationIcon } from "../../parts/icons";
import { ListPage, useListPage, type ListOf } from "../../parts/ListPage";
import { useNotices } from "../../parts/Notices";
import { Time } from "../../parts/Time";
import { parseTime } from "../../units/times";
import { named, useWords } from "../../words";
import { EventSubject, EventTag, EventText } from "./EventText";

const KINDS = [
  "snapshot_failed", "consistency_reduced", "operation_failed", "operation_stuck", "disk_unfit", "tracking_lost", "tracking_wrong",
  "snapshot_damaged", "snapshot_suspect", "proof_failed", "run_failed", "run_skipped", "runs_missed", "object_damaged", "damage_mended", "space_low", "store_unreachable",
  "store_refused", "store_foreign", "store_held", "backup_failed", "clock_doubted", "daemon_died",
] as const;
const EVENTS: ListOf<Event> = {
  name: "events",
  fetchPage: fetchEvents,
  busy: neverBusy,
  idOf: (event) => event.EventId,
  exact: (text) => (text === "" ? [] : /^(disk|snap|op)-[a-z0-9]{8}$/.test(text) ? [{ Name: "subject-id", Values: [text] }] : null),
  texts: (event, nameOf) => [event.EventId, event.Kind, event.SubjectId, event.Message, nameOf(event.SubjectId)],
  filters: { resolved: "resolved", severity: "severity", kind: "kind" },
  values: {
    kind: (event) => event.Kind,
    state: (event) => (event.ResolvedTime !== null ? "over" : event.AcknowledgedTime !== null ? "acknowledged" : event.Severity),
    subject: (event, nameOf) => `${nameOf(event.SubjectId)} ${event.SubjectId}`.trim(),
    facts: (event) => event.Message,
    count: (event) => event.Count,
    last: (event) => parseTime(event.LastSeenTime),
    first: (event) => parseTime(event.FirstSeenTime),
    over: (event) => parseTime(event.ResolvedTime ?? ""),
  },
  units: {},
};

export default function EventsPage() {
  const { t } = useWords();
  const page = useListPage(EVENTS);
  const notices = useNotices();
  const acknowledge = useChange("drystone", "AcknowledgeEvents");
  const columns: readonly Column<Event>[] = [
    {
      id: "kind", title: t("event.what"), width: "minmax(190px, 1.4fr)", fixed: true,
      cell: (event) => (
        <span className="name-id">
          <span className="name-id__name">{named(t, "event.kind", event.Kind)}</span>
          <code>{event.EventId}</code>
        </span>
      ),
    },
    { id: "state", title: t("common.state"), width: "minmax(110px, .7fr)", cell: (event) => <EventTag event={event} /> },
    { id: "subject", title: t("event.subject"), width: "minmax(140px, 1fr)", cell: (event) => <EventSubject event={event} /> },
    { id: "facts", title: t("event.facts"), width: "minmax(260px, 3fr)", cell: (event) => <span className="event__text"><EventText event={event} /></span> },
    { id: "count", title: t("event.count"), width: "minmax(70px, .4fr)", cell: (event) => event.Count },
    { id: "last", title: t("event.last"), width: "minmax(120px, .8fr)", cell: (event) => <Time text={event.LastSeenTime} /> },
    { id: "first", title: t("event.first"), width: "minmax(120px, .8fr)", optional: true, cell: (event) => <Time text={event.FirstSeenTime} /> },
    { id: "over", title: t("event.over"), width: "minmax(120px, .8fr)", optional: true, cell: (event) => (event.ResolvedTime === null ? "–" : <Time text={event.ResolvedTime} />) },
  ];
  const ids = page.rows.filter((event) => event.AcknowledgedTime === null).map((event) => event.EventId);
  const submit = () =>
    acknowledge.mutate(
      { EventIds: ids },
      {
        onSuccess: () => {
          notices.show({ tone: "success", title: t("event.acknowledged", { count: ids.length }) });
          page.clear();
        },
      },
    );
  return (
    <ListPage
      page={page}
      title={t("nav.events")}
      lead={t("events.lead")}
      columns={columns}
      choices={[
        { name: "resolved", label: t("event.filterTime"), any: t("event.anyTime"), options: ["false", "true"].map((value) => ({ value, text: named(t, "event.resolved", value) })) },
        { name: "severity", label: t("event.filterSeverity"), any: t("event.anySeverity"), options: ["error", "warning"].map((value) => ({ value, text: named(t, "event.severity", value) })) },
        { name: "kind", label: t("event.filterKind"), any: t("event.anyKind"), options: KINDS.map((value) => ({ value, text: named(t, "event.kind", value) })) },
      ]}
      tools={
        <ActionButton theme="primary" refusal={ids.length === 0 ? { key: "why.nothingSelected" } : null} onClick={submit}>
          {t("event.acknowledge")}
        </ActionButton>
      }
      empty={{ icon: <NotificationIcon />, title: t("events.none"), text: t("events.noneText") }}
    >
      <ErrorNote error={acknowledge.error} />
    </ListPage>
  );
}
