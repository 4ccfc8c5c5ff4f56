import { Button } from "tdesign-react/es/button";

import { useAnswer, useChange, useSession } from "../../api/queries";
import { ErrorNote } from "../../parts/ErrorNote";
import { useNotices } from "../../parts/Notices";
import { Card, Facts, Pending } from "../../parts/Page";
import { Time } from "../../parts/Time";
import { bytes, number } from "../../units/bytes";
import { useWords } from "../../words";
import { StoredOfDisks } from "./StoredOfDisks";
import { StoreStatus } from "./StoreStatus";

/** The store of all snapshots: what it takes, what could be freed, and when it was last proven. For administrators. */
export function Store() {
  const { t } = useWords();
  const admin = useSession().data?.Admin === true;
  if (!admin) return <p className="quiet">{t("why.notAdmin")}</p>;
  return (
    <>
      <StoreStatus />
      <StoredOfDisks />
      <div className="columns">
        <Space />
        <Health />
      </div>
    </>
  );
}

function Space() {
  const { t, locale } = useWords();
  const notices = useNotices();
  const answer = useAnswer("drystone", "DescribeStore", {});
  const collect = useChange("drystone", "CollectGarbage");
  const confirm = useChange("drystone", "ConfirmStore");
  const store = answer.data;
  const begin = () =>
    collect.mutate({}, { onSuccess: (begun) => notices.show({ tone: "success", title: t(begun.OperationId === null ? "store.nothingToFree" : "store.freeing") }) });
  return (
    <Card
      title={t("store.space")}
      aside={
        <Button theme="default" variant="outline" size="small" loading={collect.isPending} onClick={begin}>
          {t("store.free")}
        </Button>
      }
    >
      <ErrorNote error={collect.error ?? confirm.error} />
      <Pending answer={answer} />
      {store !== undefined && store.Held !== "" && (
        <div className="note note--warn">
          <p>{t("store.held", { reason: store.Held })}</p>
          <Button theme="default" size="small" loading={confirm.isPending} onClick={() => confirm.mutate({})}>
            {t("store.confirm")}
          </Button>
        </div>
      )}
      {store && (
        <Facts
          facts={[
            { name: t("overview.stored"), value: bytes(store.StoredBytes) },
            { name: t("store.packBytes"), value: bytes(store.PackBytes) },
            { name: t("store.mapBytes"), hint: t("store.mapBytesHint"), value: bytes(store.MapBytes + store.SnapshotBytes) },
            { name: t("store.cache"), hint: t("store.cacheHint"), value: bytes(store.CacheBytes) },
            { name: t("store.packs"), value: number(store.PackCount, locale) },
            { name: t("store.live"), value: bytes(store.LiveBytes) },
            { name: t("store.dead"), hint: t("store.deadHint", { percent: store.Threshold }), value: bytes(store.DeadBytes) },
            { name: t("store.reclaimable"), value: bytes(store.ReclaimableBytes) },
            { name: t("store.waiting"), hint: t("store.waitingHint"), value: bytes(store.WaitingBytes) },
          ]}
        />
      )}
    </Card>
  );
}

function Health() {
  const { t, locale } = useWords();
  const notices = useNotices();
  const answer = useAnswer("drystone", "DescribeStoreHealth", {});
  const scrub = useChange("drystone", "ScrubStore");
  const health = answer.data;
  return (
    <Card
      title={t("store.health")}
      aside={
        <Button
          theme="default"
          variant="outline"
          size="small"
          loading={scrub.isPending}
          onClick={() => scrub.mutate({}, { onSuccess: () => notices.show({ tone: "success", title: t("store.scrubbing") }) })}
        >
          {t("store.scrub")}
        </Button>
      }
    >
      <p className="quiet">{t("store.healthLead")}</p>
      <ErrorNote error={scrub.error} />
      <Pending answer={answer} />
      {health && (
        <Facts
          facts={[
            { name: t("store.oldestProof"), value: <Time text={health.OldestProofTime} exact /> },
            { name: t("store.due"), value: t("store.dueOf", { due: number(health.PacksDue, locale), count: number(health.PackCount, locale) }) },
            { name: t("store.asked"), value: <Time text={health.RequestedAt} exact /> },
            { name: t("store.damaged"), value: number(health.DamagedSnapshotCount, locale) },
            { name: t("store.suspect"), value: number(health.SuspectSnapshotCount, locale) },
          ]}
        />
      )}
    </Card>
  );
}
