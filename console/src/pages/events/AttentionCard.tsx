import { Link } from "react-router";

import { useAttention, useChange, useUnprotected } from "../../api/queries";
import type { Event } from "../../api/types";
import { CheckCircleIcon, ErrorCircleIcon } from "../../parts/icons";
import { ErrorNote } from "../../parts/ErrorNote";
import { Card } from "../../parts/Page";
import { Time } from "../../parts/Time";
import { named, useWords } from "../../words";
import { EventSubject, EventText } from "./EventText";

const SHOWN = 8;

/** What is not over and nobody has acknowledged, and how many disks are unprotected. */
export function AttentionCard() {
  const { t } = useWords();
  const answer = useAttention();
  const unprotected = useUnprotected();
  const events = answer.data?.EventSet ?? [];
  const more = (answer.data?.TotalCount ?? 0) - Math.min(SHOWN, events.length);
  return (
    <Card title={t("overview.attention")} aside={<Link to="/events">{t("events.all")}</Link>}>
      <ErrorNote error={answer.error} />
      {answer.data !== undefined && events.length === 0 && unprotected === 0 && (
        <p className="all-good">
          <CheckCircleIcon /> {t("overview.allGood")}
        </p>
      )}
      <ul className="attention">
        {unprotected !== undefined && unprotected > 0 && (
          <li>
            <ErrorCircleIcon />
            <Link className="attention__text" to="/protection?protected=false">
              {t("overview.unprotected", { count: unprotected })}
            </Link>
          </li>
        )}
        {events.slice(0, SHOWN).map((event) => (
          <One key={event.EventId} event={event} />
        ))}
      </ul>
      {more > 0 && <Link to="/events?resolved=false">{t("events.more", { count: more })}</Link>}
    </Card>
  );
}

function One({ event }: { readonly event: Event }) {
  const { t } = useWords();
  const acknowledge = useChange("drystone", "AcknowledgeEvents");
  const what = named(t, "event.kind", event.Kind);
  return (
    <li className={event.Severity === "error" ? "attention--error" : undefined}>
      <ErrorCircleIcon />
      <span className="attention__text">
        <strong>{what}</strong> <EventText event={event} />
        <span className="attention__line">
          {event.SubjectId !== "" && <EventSubject event={event} />}
          <Time text={event.LastSeenTime} />
          {event.SubjectId !== "" && event.Count > 1 && <small>{t("event.times", { count: event.Count })}</small>}
        </span>
        <ErrorNote error={acknowledge.error} />
      </span>
      <button
        type="button"
        className="link"
        aria-label={t("event.acknowledgeOf", { what: `${what} ${event.SubjectId}` })}
        disabled={acknowledge.isPending}
        onClick={() => acknowledge.mutate({ EventIds: [event.EventId] })}
      >
        {t("event.acknowledge")}
      </button>
    </li>
  );
}
