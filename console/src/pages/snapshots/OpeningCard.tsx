import { useQueryClient } from "@tanstack/react-query";
import { useEffect, useRef } from "react";

import { useChange, useOperationsOf, useSession, type SnapshotRow } from "../../api/queries";
import { ActionButton } from "../../parts/ActionButton";
import { ErrorNote } from "../../parts/ErrorNote";
import { Card } from "../../parts/Page";
import { FindingTag, Progress } from "../../parts/StateTag";
import { Time } from "../../parts/Time";
import { proofRefusal } from "../../rules/rules";
import { duration } from "../../units/durations";
import { parseTime } from "../../units/times";
import { useWords } from "../../words";

/** Whether the snapshot was opened on a throw-away clone, what that showed, and a button that does it now. */
export function OpeningCard({ row }: { readonly row: SnapshotRow }) {
  const { t } = useWords();
  const { snapshot, record } = row;
  const session = useSession();
  const client = useQueryClient();
  const prove = useChange("drystone", "ProveSnapshot");
  const operations = useOperationsOf(snapshot.SnapshotId).data?.rows;
  const newest = operations?.find((one) => one.Kind === "prove");
  const running = newest?.State === "RUNNING" ? newest : undefined;
  const proving = running !== undefined;
  const mark = operations === undefined ? null : `${newest?.OperationId ?? ""} ${newest?.State ?? ""}`;
  const before = useRef(mark);
  useEffect(() => {
    // It has ended, maybe before it was seen to run: the record has its result.
    if (before.current !== null && before.current !== mark && !proving) void client.invalidateQueries({ queryKey: ["snapshots"] });
    before.current = mark;
  }, [client, mark, proving]);
  const opening = record?.Opening ?? null;
  const took = opening === null ? null : (parseTime(opening.EndTime)?.getTime() ?? 0) - (parseTime(opening.BeginTime)?.getTime() ?? 0);
  const refusal = proofRefusal({ state: snapshot.SnapshotState, proving: proving || prove.isPending }, session.data?.Admin === true, session.data?.Proofs === true);
  return (
    <Card
      title={t("opening.title")}
      aside={
        <ActionButton size="small" refusal={refusal} onClick={() => prove.mutate({ SnapshotId: snapshot.SnapshotId })}>
          {t("opening.prove")}
        </ActionButton>
      }
    >
      <div className="opening">
        <ErrorNote error={prove.error} />
        {running && (
          <p role="status">
            {t("opening.running")} <Progress percent={running.Percent} label={t("opening.running")} />
          </p>
        )}
        {opening === null ? (
          !proving && <p className="quiet">{t("opening.never")}</p>
        ) : (
          <>
            <p className="lead-line">
              <FindingTag finding={opening.Finding} /> <Time text={opening.EndTime} />
              <small>{t("opening.took", { time: duration(took) })}</small>
            </p>
            {opening.Reason !== "" && <p className={opening.Finding === "damaged" ? "note note--warn" : "note"}>{opening.Reason}</p>}
            <ul className="op-list">
              {opening.Steps.map((step, index) => (
                <li key={index}>
                  <strong>{step.Title}</strong>
                  <FindingTag finding={step.Finding} />
                  <span>{duration(step.Seconds * 1000)}</span>
                  {step.Detail !== "" && <small>{step.Detail}</small>}
                </li>
              ))}
            </ul>
          </>
        )}
      </div>
    </Card>
  );
}
