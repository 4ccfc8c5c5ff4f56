import { Link } from "react-router";

import type { Event } from "../../api/types";
import { Ref } from "../../parts/Copyable";
import { Tag } from "../../parts/StateTag";
import { reasonText } from "../../rules/reasons";
import { bytes } from "../../units/bytes";
import { duration } from "../../units/durations";
import { named, useWords, type Translate } from "../../words";

/** What is to be said of an event beyond its kind, in the reader's language; "" where that is nothing. */
export function eventText(t: Translate, { Kind, SubjectId, Count, Facts }: Event): string {
  if (SubjectId === "" && Count > 1) return t("event.text.many", { count: Count });
  switch (Kind) {
    case "consistency_reduced":
      return t("event.text.consistency_reduced", { given: named(t, "consistency", Facts.Given ?? ""), asked: named(t, "consistency", Facts.Asked ?? "") });
    case "operation_failed":
    case "operation_stuck":
      return `${named(t, "op.kind", Facts.OperationKind ?? "")}.`;
    case "proof_failed":
      return `${named(t, "opening.finding", Facts.Given ?? "")}.`;
    case "tracking_wrong":
      return t("event.text.tracking_wrong", { count: Facts.Blocks ?? 0 });
    case "damage_mended":
      return t("event.text.damage_mended", { count: Facts.Blocks ?? 0 });
    case "object_damaged":
      return t("event.text.object_damaged", { count: Facts.Snapshots ?? 0 });
    case "daemon_died":
      return t("event.text.daemon_died", { count: Facts.Disks ?? 0 });
    case "space_low":
      return t("event.text.space_low", { size: bytes(Facts.FreeBytes ?? 0), place: named(t, "event.place", SubjectId) });
    case "clock_doubted":
      return t("event.text.clock_doubted", { time: duration(Math.abs(Facts.Seconds ?? 0) * 1000) });
    case "tracking_lost":
    case "snapshot_damaged":
    case "store_unreachable":
    case "store_refused":
    case "store_foreign":
    case "store_held":
      return named(t, "event.text", Kind);
    default:
      return "";
  }
}

/** An event in a sentence or two; the reason in the server's own words. */
export function EventText({ event }: { readonly event: Event }) {
  const { t } = useWords();
  const text = eventText(t, event);
  return (
    <>
      {text !== "" && <span>{text}</span>} {event.Facts.Reason !== "" && <small className="event__reason">{reasonText(t, event.Facts.Reason)}</small>}
    </>
  );
}

/** What an event is about, with a way there. */
export function EventSubject({ event }: { readonly event: Event }) {
  const { SubjectId, Facts } = event;
  if (/^(disk|snap)-/.test(SubjectId)) return <Ref id={SubjectId} />;
  const operation = /^op-/.test(SubjectId) ? SubjectId : null;
  if (operation !== null) {
    return (
      <Link className="row-link" to={`/operations/${operation}`}>
        <code>{operation}</code>
      </Link>
    );
  }
  if (Facts.DiskId !== null) return <Ref id={Facts.DiskId} />;
  return SubjectId === "" ? <>–</> : <code>{SubjectId}</code>;
}

/** Whether an event is over, or seen, and else how bad it is. */
export function EventTag({ event }: { readonly event: Event }) {
  const { t } = useWords();
  if (event.ResolvedTime !== null) return <Tag tone="plain">{t("event.over")}</Tag>;
  const bad = <Tag tone={event.Severity === "error" ? "bad" : "warn"}>{named(t, "event.severity", event.Severity)}</Tag>;
  if (event.AcknowledgedTime === null) return bad;
  return (
    <span className="state-cell">
      {bad}
      <small>{t("event.seen")}</small>
    </span>
  );
}
