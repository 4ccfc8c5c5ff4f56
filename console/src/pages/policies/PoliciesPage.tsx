import { useState } from "react";
import { Link, useNavigate, useParams } from "react-router";
import { Button } from "tdesign-react/es/button";

import { fetchPolicies, neverBusy, useAnswer, useChange, usePolicy } from "../../api/queries";
import type { PolicyDetail, PolicyRun } from "../../api/types";
import { ActionButton } from "../../parts/ActionButton";
import { useAddressed } from "../../parts/addressed";
import { NameAndId, nameText, Ref } from "../../parts/Copyable";
import type { Column } from "../../parts/DataTable";
import { ErrorNote } from "../../parts/ErrorNote";
import { AddIcon, TimeIcon } from "../../parts/icons";
import { ListPage, useListPage, type ListOf } from "../../parts/ListPage";
import { MoreMenu } from "../../parts/Menu";
import { Card, Facts, Gone, OneHead, Pending } from "../../parts/Page";
import { Tag } from "../../parts/StateTag";
import { Time } from "../../parts/Time";
import { parseTime } from "../../units/times";
import { named, useWords } from "../../words";
import { Calendar } from "./Calendar";
import { BindDialog, DeleteDialog, PolicyDialog } from "./PolicyDialogs";
import { keptText, scheduleText } from "./policyForm";

const POLICIES: ListOf<PolicyDetail> = {
  name: "policies",
  fetchPage: fetchPolicies,
  busy: neverBusy,
  idOf: (one) => one.PolicyId,
  exact: (text) => (text === "" ? [] : null),
  texts: (one, nameOf) => [one.PolicyName, one.PolicyId, ...one.DiskIds.flatMap((id) => [id, nameOf(id)])],
  filters: {},
  values: {
    name: (one) => one.PolicyName,
    active: (one) => (one.Active ? 1 : 0),
    disks: (one) => one.DiskIds.length,
    next: (one) => parseTime(one.NextTimes[0]),
    last: (one) => one.LastRuns.map((run) => run.State).join(", "),
  },
  units: {},
};

type Open = { readonly kind: "create" } | { readonly kind: "edit" | "bind" | "delete"; readonly policy: PolicyDetail };

function Dialogs({ open, onClose, onRemoved }: { readonly open: Open | null; readonly onClose: () => void; readonly onRemoved?: () => void }) {
  if (open === null) return null;
  if (open.kind === "create") return <PolicyDialog onClose={onClose} />;
  if (open.kind === "edit") return <PolicyDialog policy={open.policy} onClose={onClose} />;
  if (open.kind === "bind") return <BindDialog policy={open.policy} onClose={onClose} />;
  return <DeleteDialog policy={open.policy} onClose={onClose} {...(onRemoved === undefined ? {} : { onRemoved })} />;
}

export default function PoliciesPage() {
  const id = useParams()["id"];
  return id === undefined ? <Policies /> : <OnePolicy id={id} />;
}

function Policies() {
  const { t, locale } = useWords();
  const [open, setOpen] = useState<Open | null>(null);
  useAddressed({ create: { onSelect: () => setOpen({ kind: "create" }) } });
  const columns: readonly Column<PolicyDetail>[] = [
    { id: "name", title: t("common.nameAndId"), width: "minmax(150px, 1.3fr)", fixed: true, cell: (one) => <NameAndId name={one.PolicyName} id={one.PolicyId} to={`/policies/${one.PolicyId}`} /> },
    { id: "active", title: t("policy.active"), width: "minmax(70px, .5fr)", cell: (one) => <Switch policy={one} /> },
    { id: "when", title: t("policy.when"), width: "minmax(160px, 1.5fr)", cell: (one) => scheduleText(t, one, locale) },
    { id: "kept", title: t("policy.kept"), width: "minmax(110px, 1fr)", cell: (one) => keptText(t, one) },
    { id: "disks", title: t("policy.disks"), width: "minmax(70px, .5fr)", cell: (one) => <span className="number">{one.DiskIds.length}</span> },
    { id: "next", title: t("policy.next"), width: "minmax(110px, .8fr)", cell: (one) => (one.Active ? <Time text={one.NextTimes[0]} /> : "–") },
    { id: "last", title: t("policy.last"), width: "minmax(120px, .9fr)", cell: (one) => <LastRun runs={one.LastRuns} /> },
    {
      id: "actions",
      title: t("table.actions"),
      width: "72px",
      fixed: true,
      cell: (policy) => (
        <MoreMenu
          id={policy.PolicyId}
          entries={[
            { text: t("policy.edit"), onSelect: () => setOpen({ kind: "edit", policy }) },
            { text: t("policy.bind"), onSelect: () => setOpen({ kind: "bind", policy }) },
            { text: t("policy.delete"), danger: true, onSelect: () => setOpen({ kind: "delete", policy }) },
          ]}
        />
      ),
    },
  ];
  const create = (
    <Button theme="primary" icon={<AddIcon />} onClick={() => setOpen({ kind: "create" })}>
      {t("policy.create")}
    </Button>
  );
  return (
    <ListPage page={useListPage(POLICIES)} title={t("nav.policies")} lead={t("policy.lead")} actions={create} columns={columns} choices={[]} empty={{ icon: <TimeIcon />, title: t("policy.none"), text: t("policy.noneText"), action: create }}>
      <Dialogs open={open} onClose={() => setOpen(null)} />
    </ListPage>
  );
}

function Switch({ policy }: { readonly policy: PolicyDetail }) {
  const { t } = useWords();
  const change = useChange("cbs", "ModifyAutoSnapshotPolicyAttribute");
  return (
    <label className="switch">
      <input
        type="checkbox"
        role="switch"
        checked={change.isPending ? !policy.Active : policy.Active}
        disabled={change.isPending}
        onChange={() => change.mutate({ AutoSnapshotPolicyId: policy.PolicyId, IsActivated: !policy.Active })}
        aria-label={t("policy.switch", { name: nameText(t, policy.PolicyName) })}
      />
      <span aria-hidden="true" />
    </label>
  );
}

const TONES = { waiting: "busy", running: "busy", done: "good", skipped: "plain", failed: "bad" } as const;
const WORST = ["failed", "waiting", "running", "skipped", "done"] as const;

function LastRun({ runs }: { readonly runs: readonly PolicyRun[] }) {
  const { t } = useWords();
  const worst = WORST.find((state) => runs.some((run) => run.State === state));
  if (worst === undefined) return <>–</>;
  return (
    <span className="stacked">
      <Tag tone={TONES[worst]}>{t(`policy.state.${worst}`)}</Tag>
      <small>
        <Time text={runs[0]?.SlotTime} />
      </small>
    </span>
  );
}

const DAYS = 35;

function OnePolicy({ id }: { readonly id: string }) {
  const { t, locale } = useWords();
  const navigate = useNavigate();
  const answer = usePolicy(id);
  const [open, setOpen] = useState<Open | null>(null);
  const simulation = useAnswer("drystone", "DescribePolicySimulation", { PolicyId: id, Days: DAYS }, { everyMs: 60_000, enabled: answer.data != null });
  const runs = useAnswer("drystone", "DescribePolicyRuns", { Filters: [{ Name: "policy-id", Values: [id] }], Limit: 20 }, { enabled: answer.data != null });
  const back = { to: "/policies", text: t("nav.policies") };
  if (answer.data === null) return <Gone title={t("policy.gone", { id })} text={t("policy.goneText")} back={back} />;
  if (answer.data === undefined) return <Pending answer={answer} />;
  const policy = answer.data;
  return (
    <>
      <OneHead
        name={policy.PolicyName}
        id={id}
        what={t("policy.id")}
        back={back}
        state={<Tag tone={policy.Active ? "good" : "plain"}>{policy.Active ? t("policy.active") : t("policy.paused")}</Tag>}
        actions={
          <>
            <Switch policy={policy} />
            <ActionButton theme="primary" onClick={() => setOpen({ kind: "bind", policy })}>
              {t("policy.bind")}
            </ActionButton>
            <ActionButton onClick={() => setOpen({ kind: "edit", policy })}>{t("policy.edit")}</ActionButton>
            <ActionButton onClick={() => setOpen({ kind: "delete", policy })}>{t("policy.delete")}</ActionButton>
          </>
        }
      />
      <ErrorNote error={answer.error} />
      <div className="columns">
        <Card title={t("policy.about")}>
          <Facts
            facts={[
              { name: t("policy.when"), value: scheduleText(t, policy, locale) },
              { name: t("policy.zone"), value: policy.TimeZone },
              { name: t("policy.kept"), value: keptText(t, policy) },
              { name: t("policy.nextRuns"), value: policy.Active && policy.NextTimes.length > 0 ? <span className="stacked">{policy.NextTimes.slice(0, 5).map((time) => <Time key={time} text={time} exact />)}</span> : "–" },
              { name: t("common.created"), value: <Time text={policy.CreateTime} exact /> },
            ]}
          />
        </Card>
        <Card title={t("policy.disks")}>
          {policy.DiskIds.length === 0 ? (
            <p className="quiet">{t("policy.noDisks")}</p>
          ) : (
            <ul className="rows">
              {policy.DiskIds.map((disk) => (
                <li key={disk}>
                  <Ref id={disk} />
                </li>
              ))}
            </ul>
          )}
        </Card>
      </div>
      <Card title={t("policy.lastRuns")}>
        <Pending answer={runs} />
        {runs.data?.PolicyRunSet.length === 0 && <p className="quiet">{t("policy.noRuns")}</p>}
        <ul className="op-list">
          {runs.data?.PolicyRunSet.map((run) => (
            <li key={`${run.SlotTime} ${run.DiskId}`}>
              <Ref id={run.DiskId} />
              <Tag tone={TONES[run.State]}>{t(`policy.state.${run.State}`)}</Tag>
              <span>{run.Reason !== null ? named(t, "policy.reason", run.Reason) : run.SnapshotId === null ? "–" : <Link to={`/snapshots/${run.SnapshotId}`}>{run.SnapshotId}</Link>}</span>
              <Time text={run.SlotTime} />
              {run.State === "failed" && run.Detail !== "" && <small>{run.Detail}</small>}
            </li>
          ))}
        </ul>
      </Card>
      <Card title={t("policy.calendar")}>
        <Pending answer={simulation} />
        {simulation.data && <Calendar simulation={simulation.data} />}
      </Card>
      <Dialogs open={open} onClose={() => setOpen(null)} onRemoved={() => void navigate("/policies", { replace: true })} />
    </>
  );
}
